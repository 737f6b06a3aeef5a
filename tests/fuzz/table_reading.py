"""`python -m tests.fuzz.table_reading CORPUS FIRST STOP`: reads damaged datasets one by one, a line of JSON each.

Runs in a process of its own with bounded memory, so that a hang or a crash inside Arrow or a codec is seen outside.
Every mutant is read by the library (rows, columns through a filter, a selection, the trainer's index and samples,
`verify`) and by one command. Answers that are allowed: the same rows, or an error that names the damaged file and a
remedy.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.host.memory import peak_mb
from schemas.dataset import Dataset, record_path
from schemas.errors import HumandepthError
from schemas.pair_facts import pair_facts
from schemas.selections import Selection, selected_references
from schemas.shard import read_rows
from schemas.tables import TABLES
from schemas.where import where_expression
from schemas.work_record import Pack, WorkRecord
from tests.fuzz.commands import run_command
from tests.fuzz.damage import Damage, damaged_file
from trainer.config import DataSettings
from trainer.data import Samples, read_index

DATA_BYTES = 8 * 2**30
SELECTION = "wide"
"""A selection that the corpus has."""


def content_of(root: Path) -> str:
    """A hash of every row of every table, of a filtered reading, of what the selection keeps and the trainer sees."""
    dataset = Dataset.open(root)
    digest = hashlib.sha256()
    for table in TABLES:
        for row in dataset.rows(table):
            _add(digest, row)
    condition = where_expression("mean_baseline_m >= 0.3 and kept", TABLES["pairs"])[0]
    _add(
        digest, pair_facts(dataset, ["track_id", "target_frame", "min_silhouette_iou"], condition).to_pylist()
    )
    _add(digest, selected_references(dataset, Selection.load(root, SELECTION)))
    index = read_index(dataset, "mean_baseline_m >= 0.3")
    samples = Samples(index, DataSettings(), seed=0, training=False)
    for at in range(len(index)):
        _add(digest, samples.row(at))
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _add(digest, key)
            _add(digest, item)
    elif isinstance(value, list | tuple):
        for item in value:
            _add(digest, item)
    elif isinstance(value, np.ndarray):
        digest.update(np.ascontiguousarray(value).tobytes())
    else:
        digest.update(repr(value).encode())


def outcome_of(root: Path, damage: Damage, sound: str) -> tuple[str, str]:
    """What the library says of a damaged dataset: `same`, `error`, or what is forbidden."""
    try:
        found = content_of(root)
    except HumandepthError as error:
        return _judged(damage, str(error), error.remedy)
    except Exception as error:  # a bare exception is what this looks for
        return "bare", f"{type(error).__name__}: {error}"
    return ("same" if found == sound else "other rows"), ""


def _judged(damage: Damage, message: str, remedy: str) -> tuple[str, str]:
    if not remedy:
        return "no remedy", message
    name = Path(damage.path).name
    return ("error" if name in message or damage.record_agrees else "unnamed"), message


def file_outcome(root: Path, damage: Damage, sound: str) -> tuple[str, str]:
    """The same of the file alone, without a record: only what Parquet itself can show."""
    digest = hashlib.sha256()
    try:
        for row in read_rows(TABLES[Path(damage.path).parent.name], root / damage.path):
            _add(digest, row)
    except HumandepthError as error:
        return _judged(damage, str(error), error.remedy)
    except Exception as error:
        return "bare", f"{type(error).__name__}: {error}"
    return ("same" if digest.hexdigest() == sound else "unseen without a record"), ""


def verify_outcome(root: Path, damage: Damage) -> tuple[str, str]:
    """`Dataset.verify` and the records: a table that is not what its record says is always found."""
    try:
        faults: list = []
        problems = [*map(str, faults), *Dataset.open(root, faults=faults).verify()]
        problems += map(str, faults)
    except HumandepthError as error:
        return _judged(damage, str(error), error.remedy)
    except Exception as error:
        return "bare", f"{type(error).__name__}: {error}"
    found = any(Path(damage.path).name in problem for problem in problems)
    if damage.is_table and not damage.record_agrees and not found:
        return "not verified", str(problems)
    return ("error" if problems else "same"), "; ".join(problems)


@contextlib.contextmanager
def damaged_copy(corpus: Path, damage: Damage) -> Iterator[Path]:
    """The corpus with the damage in it."""
    with tempfile.TemporaryDirectory(prefix="humandepth-fuzz-") as folder:
        root = Path(shutil.copytree(corpus, Path(folder) / "dataset"))
        (root / damage.path).write_bytes(damage.data)
        if damage.record_agrees:
            _make_records_agree(root, damage.path)
        yield root


def _make_records_agree(root: Path, relative: str) -> None:
    found = Pack.of(root / relative, relative)
    for record in Dataset.open(root).records:
        shards = [
            (replace(s, pack=found) if s.pack else replace(s, bytes=found.bytes, sha256=found.sha256,
             footer_sha256=found.footer_sha256)) if s.file.path == relative else s
            for s in record.shards
        ]  # fmt: skip
        (root / record_path(record.unit_id)).write_text(replace(record, shards=tuple(shards)).to_json())
        assert (
            WorkRecord.from_json((root / record_path(record.unit_id)).read_text()).unit_id == record.unit_id
        )


def mutant_outcomes(corpus: Path, number: int) -> tuple[Damage, dict[str, tuple[str, str]]]:
    """Everything that is asked of one mutant, by who asks."""
    dataset = corpus / ("dataset-plain", "dataset-packed")[number // 4 % 2]
    damage = damaged_file(dataset, number)
    facts = json.loads((corpus / "sound.json").read_text())[dataset.name]
    outcomes: dict[str, tuple[str, str]] = {}
    with damaged_copy(dataset, damage) as root:
        outcomes["library"] = outcome_of(root, damage, facts["content"])
        if damage.is_table:
            outcomes["file alone"] = file_outcome(root, damage, facts["files"][damage.path])
        outcomes["Dataset.verify"] = verify_outcome(root, damage)
        name, said = run_command(root, damage, corpus)
        outcomes[name] = said
    if damage.record_agrees:  # then nothing but a bare exception is wrong
        outcomes = {
            who: ("same", "") if said[0] in ("other rows", "unseen without a record") else said
            for who, said in outcomes.items()
        }
    return damage, outcomes


def sound_facts(dataset: Path) -> dict[str, Any]:
    """What reading the dataset gives before anything is damaged."""
    files = {}
    for path in sorted(dataset.glob("*/*.parquet")):
        digest = hashlib.sha256()
        for row in read_rows(TABLES[path.parent.name], path):
            _add(digest, row)
        files[path.relative_to(dataset).as_posix()] = digest.hexdigest()
    return {"content": content_of(dataset), "files": files}


def main() -> None:
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
    corpus, first, stop = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    out = sys.stdout
    for number in range(first, stop):
        print(json.dumps({"number": number, "begins": True}), file=out, flush=True)
        begin = time.monotonic()
        with contextlib.redirect_stderr(io.StringIO()):
            damage, outcomes = mutant_outcomes(corpus, number)
        line = {"number": number, "path": damage.path, "did": damage.did, "outcomes": outcomes}
        seconds = round(time.monotonic() - begin, 3)
        print(json.dumps(line | {"seconds": seconds, "peak_mb": peak_mb()}), file=out, flush=True)


if __name__ == "__main__":
    main()
