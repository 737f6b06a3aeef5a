"""`python -m tests.growth.operations NAME FOLDER`: one operation on a dataset in a process of its own, as JSON.

CPU seconds are user and system time of the operation alone, without imports; the peak is that of the process.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable

from pipeline.audit.figures import figures_of
from pipeline.audit.scalars import read_tables
from pipeline.dataset.card import publish_documents
from pipeline.dataset.compaction import compact_dataset
from pipeline.dataset.forgetting import forget
from pipeline.dataset.verification import verify
from schemas.dataset import Dataset
from schemas.pair_facts import read_columns
from schemas.selections import Selection  # noqa: F401  (what an audit loads, before the clock starts)


def open_dataset(root: str) -> object:
    """Every completion record."""
    return len(Dataset.open(root).records)


def scan(root: str) -> object:
    """One column of `pairs`."""
    return read_columns(Dataset.open(root), "pairs", ["rotation_deg"]).num_rows


def check(root: str) -> object:
    """`dataset verify` without rendering."""
    checked = verify(root, render=0)
    assert not checked.problems, checked.problems[:3]
    return checked.content_hash


def pack(root: str) -> object:
    """`dataset compact`."""
    return compact_dataset(root).files_after


def audit(root: str) -> object:
    """Every figure of `audit`."""
    return figures_of(read_tables(Dataset.open(root))).findings and None


def forget_one(root: str) -> object:
    """`dataset forget` of the first clip."""
    return forget(root, "source-c000000")


def documents(root: str) -> object:
    """Card, manifest and Croissant metadata."""
    return publish_documents(root)


OPERATIONS: dict[str, Callable[[str], object]] = {
    "open": open_dataset,
    "scan": scan,
    "documents": documents,
    "audit": audit,
    "verify": check,
    "forget": forget_one,
    "compact": pack,
}

CHANGING = ("documents", "forget", "compact")
"""Those that write into the dataset."""


def main(name: str, root: str) -> None:
    """Does it and prints what it took."""
    before, begin_s = _cpu_s(), time.perf_counter()
    found = OPERATIONS[name](root)
    wall_s, cpu_s = time.perf_counter() - begin_s, _cpu_s() - before
    print(json.dumps({"name": name, "found": found, "wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": _peak_mb()}))


def _peak_mb() -> float:
    """Of this program: what `getrusage` says begins with the memory of the process that started it."""
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))  # noqa: SIM115
    return int(line.split()[1]) / 1024


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
