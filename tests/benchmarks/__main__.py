"""`python -m tests.benchmarks [names...]`: runs benchmarks and writes build/benchmarks.json.

Every module of this package with a function `benchmarks()` that returns `Benchmark`s takes part. Entries already in the
file stay unless they are run again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from dataclasses import asdict
from pathlib import Path

import tests.support.one_thread

# isort: split
import tests.benchmarks
from tests.benchmarks.measuring import Benchmark, Outcome, UnavailableError, run

OUTPUT = Path(__file__).resolve().parents[2] / "build" / "benchmarks.json"


def main(arguments: list[str] | None = None) -> int:
    """Runs the named benchmarks (all without names); returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="entries to run; all without names")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    known = {benchmark.name: benchmark for benchmark in discover()}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        print(f"error: unknown benchmarks {unknown}. Known: {', '.join(sorted(known))}.", file=sys.stderr)
        return 2
    for name in options.names or known:
        try:
            outcome = run(known[name])
        except UnavailableError as missing:
            print(f"{name:36s} skipped: {missing}", flush=True)
            continue
        print(
            f"{name:36s} ours {outcome.ours_ms:9.3f} ms   peer {outcome.peer_ms:9.3f} ms   "
            f"ratio {outcome.ratio:8.2f}   rounds {outcome.rounds}",
            flush=True,
        )
        merge(options.output, name, outcome)
    return 0


def discover() -> list[Benchmark]:
    """The benchmarks of all modules of this package."""
    found = []
    for module in pkgutil.iter_modules(tests.benchmarks.__path__):
        if module.name.startswith(("_", "test_")):
            continue
        benchmarks = getattr(importlib.import_module(f"tests.benchmarks.{module.name}"), "benchmarks", None)
        if benchmarks is not None:
            found += benchmarks()
    return found


def merge(output: Path, name: str, outcome: Outcome) -> None:
    """Puts one entry into the file, which may hold those of other runs."""
    entries = json.loads(output.read_text()) if output.exists() else {}
    entries[name] = asdict(outcome)
    output.parent.mkdir(parents=True, exist_ok=True)
    spool = output.with_suffix(".tmp")
    spool.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n")
    spool.replace(output)


if __name__ == "__main__":
    sys.exit(main())
