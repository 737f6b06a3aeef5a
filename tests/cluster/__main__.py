"""`python -m tests.cluster [WAY ...] [--without WAY]`: the same clips by every way; is the content the same?

Exit code 0 only if every way ran and all content hashes are the same. `--without` names a way that need not run here.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from schemas.dataset import Dataset
from tests.cluster import Unavailable
from tests.cluster.clips import cut_clips
from tests.cluster.processes import end_processes_with

WAYS = {
    "loop": "plain loop",
    "one_worker": "one worker",
    "two_workers": "two workers",
    "portable": "Beam portable, two pools",
    "spark": "Spark, local-cluster",
    "slurm": "Slurm, array of three, merged",
    "s3": "an S3 bucket",
}
_MARK = "HUMANDEPTH_CLUSTER_WAY"
"""A variable that all processes of a way inherit, so that none of them outlives it."""
LIMIT_S = 900.0
"""For one way: with six clips each takes one to two minutes of two cores."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a way."""

    way: str
    seconds: float = 0.0
    units: int = 0
    kept: int = 0
    content_hash: str = ""
    note: str = ""
    """Why it did not run, or what went wrong."""


def main(arguments: Sequence[str]) -> int:
    """Goes the ways, prints the table and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"of {', '.join(WAYS)} (default: all)")
    parser.add_argument("--without", action="append", default=[], metavar="WAY", choices=list(WAYS))
    options = parser.parse_args(arguments)
    if unknown := set(options.ways) - set(WAYS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    ways = [way for way in WAYS if way not in options.without and (way in options.ways or not options.ways)]
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="hd-cluster-") as folder:
        clips = cut_clips(Path(folder) / "clips")
        for way in ways:
            print(f"{WAYS[way]} ...", file=sys.stderr, flush=True)
            outcomes.append(go(way, clips, Path(folder) / way))
    print_table(outcomes, options.without)
    return 0 if is_same(outcomes) else 1


def go(way: str, clips: Sequence[Path], folder: Path) -> Outcome:
    """A way, in a process of its own, with all that it starts."""
    if importlib.util.find_spec(f"tests.cluster.{way}") is None:
        return Outcome(way=way, note=f"missing: there is no tests/cluster/{way}.py")
    folder.mkdir(parents=True)
    answer, log = folder / "answer.json", folder / "log"
    words = [sys.executable, "-c", _CHILD, way, str(answer), str(folder), *map(str, clips)]
    begin_s = time.monotonic()
    with open(log, "wb") as sink:
        environment = {**os.environ, _MARK: str(folder)}
        process = subprocess.Popen(words, stdout=sink, stderr=sink, start_new_session=True, env=environment)
        try:
            process.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return Outcome(way=way, note=f"not done within {LIMIT_S:.0f} s")
        finally:
            process.poll()
            end_processes_with(_MARK, str(folder))
            process.wait()
    seconds = time.monotonic() - begin_s
    facts = json.loads(answer.read_text()) if answer.exists() else {}
    if not facts:
        print(log.read_text(errors="replace")[-3000:], file=sys.stderr)
        facts = {"note": f"failed with exit code {process.returncode}: its last lines are above"}
    return Outcome(way=way, seconds=seconds, **facts)


_CHILD = "import sys; from tests.cluster.__main__ import answer; answer(*sys.argv[1:])"


def answer(way: str, answer_path: str, folder: str, *clips: str) -> None:
    """What a way gave, as JSON: in the process that goes it."""
    module = importlib.import_module(f"tests.cluster.{way}")
    try:
        root = module.run_dataset([Path(clip) for clip in clips], Path(folder))
    except Unavailable as error:
        facts: dict[str, object] = {"note": f"cannot run here: {error}"}
    else:
        dataset = Dataset.open(root)
        kept = sum(record.outcome == "kept" for record in dataset.records)
        facts = {"units": len(dataset.records), "kept": kept, "content_hash": dataset.content_hash()}
        if problems := dataset.verify():
            facts["note"] = f"damaged: {problems[0]}"
    Path(answer_path).write_text(json.dumps(facts))


def is_same(outcomes: Sequence[Outcome]) -> bool:
    """Whether every way ran and gave the same content, with something in it."""
    hashes = {outcome.content_hash for outcome in outcomes}
    return len(hashes) == 1 and "" not in hashes and all(not each.note and each.kept for each in outcomes)


def print_table(outcomes: Sequence[Outcome], without: Sequence[str] = ()) -> None:
    """A line for each way."""
    expected = next((each.content_hash for each in outcomes if each.content_hash), "")
    table = Table("way", "units", "seconds", "content hash", "same")
    for each in outcomes:
        ran = bool(each.content_hash)
        same = ("yes" if each.content_hash == expected and not each.note else "NO") if ran else "did not run"
        numbers = (f"{each.kept}/{each.units}", f"{each.seconds:.0f}") if ran else ("", "")
        table.add_row(WAYS[each.way], *numbers, each.content_hash[:16], same)
    console = Console(width=100)
    console.print(table)
    for each in outcomes:
        if each.note:
            console.print(f"{WAYS[each.way]}: {each.note}", markup=False)
    for way in without:
        console.print(f"{WAYS[way]}: left out by --without")
    console.print("units: kept of all" + (f"; content hash of all: {expected}" if is_same(outcomes) else ""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
