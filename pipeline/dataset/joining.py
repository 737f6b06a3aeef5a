"""Several datasets as one: what may be joined, and their files under one root, hard-linked where that is possible.

Everything here is linear in units. Sources are only read.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.dataset.clip_shards import finished_shards, missing_shards
from pipeline.dataset.folder import changed_settings
from pipeline.dataset.storage import read_json, spool_folder, sync_folder
from schemas.addresses import is_remote
from schemas.dataset import (
    CUTS_PATH,
    FILES_PATH,
    INFO_PATH,
    SETTINGS_PATH,
    TOMBSTONES_PATH,
    Dataset,
    dataset_info,
    record_path,
)
from schemas.errors import DatasetError
from schemas.selections import SELECTIONS_PATH, VIEWS_PATH

_SHOWN = 5
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
"""What a system says that cannot link these two places: the file is copied."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """How many files came under the new root, and how."""

    linked: int
    copied: int


def opened_sources(roots: Sequence[Path], *, allow_missing: bool = False) -> list[Dataset]:
    """The datasets, opened. Raises DatasetError where they cannot be one: unlike schema, unlike settings, units in two
    of them, or shards that are not there (`allow_missing` lets these be)."""
    for root in roots:
        if is_remote(str(root)):
            raise DatasetError(
                f"{root} lies in a bucket.", remedy="Copy it to a local folder and merge that."
            )
    if len(set(roots)) < len(roots):
        raise DatasetError("a dataset is named twice.", remedy="Name every dataset once.")
    sources = [Dataset.open(root) for root in roots]
    for root in roots:
        if read_json(str(root), INFO_PATH) != dataset_info():
            raise DatasetError(
                f"{root} has tables of another version ({INFO_PATH}).",
                remedy="Use the humandepth version that wrote it, or run its clips again with this one.",
            )
        _refuse_unlike_settings(roots[0], root)
    _refuse_units_in_two(sources)
    missing = missing_shards([shard for root in roots for shard in finished_shards(root)])
    if missing and not allow_missing:
        raise DatasetError(
            f"{_some([str(shard) for shard in missing])} of the clips are in none of these datasets, or not finished.",
            remedy="Run the missing shards first (run --shard I/N), or give --allow-missing.",
        )
    return sources


def _refuse_unlike_settings(first: Path, other: Path) -> None:
    for relative in (SETTINGS_PATH, FILES_PATH):
        here, there = (_row_making(root, relative) for root in (first, other))
        unlike = changed_settings(here, there)
        if unlike:
            raise DatasetError(
                f"{first} and {other} were made with unlike settings ({relative}: {_some(unlike)}).",
                remedy="Run the clips of one of them again with the other's settings (run --settings-from).",
            )


def _row_making(root: Path, relative: str) -> dict[str, Any]:
    values = read_json(str(root), relative) or {}
    return {name: value for name, value in values.items() if name != "run"}


def _refuse_units_in_two(sources: Sequence[Dataset]) -> None:
    owners: dict[str, Path] = {}
    twice = []
    for dataset in sources:
        for record in dataset.records:
            owner = owners.setdefault(record.unit_id, dataset.root)
            if owner != dataset.root:
                twice.append(f"{record.unit_id} in {owner} and {dataset.root}")
    if twice:
        raise DatasetError(
            f"{len(twice)} unit(s) are in two of the datasets: {_some(twice)}.",
            remedy="Merge datasets of different clips; `dataset forget` takes a source out of one of them.",
        )


def place_files(sources: Sequence[Dataset], root: Path) -> Placed:
    """Puts every file of the sources under `root`, which is no dataset yet: links, or copies where there are no links.

    What an interrupted call left is taken over; records of units that the sources no longer hold are removed.
    Raises DatasetError where sources hold unlike files of one name.
    """
    linked = copied = 0
    owners: dict[str, Path] = {}
    folders = set()
    for dataset in sources:
        for relative in _files(dataset):
            here = dataset.root / relative
            owner = owners.setdefault(relative, here)
            if owner != here:
                _refuse_unlike_files(relative, owner, here)
                continue
            target = root / relative
            if target.parent not in folders:
                target.parent.mkdir(parents=True, exist_ok=True)
                folders.add(target.parent)
            is_link = _place(here, target, root)
            linked, copied = linked + is_link, copied + (not is_link)
    for path in root.glob("meta/*/*.json"):
        if path.relative_to(root).as_posix() not in owners:
            path.unlink()
    for folder in folders:
        sync_folder(folder)
    return Placed(linked=linked, copied=copied)


def _files(dataset: Dataset) -> Iterator[str]:
    yield from dict.fromkeys(shard.file.path for record in dataset.records for shard in record.shards)
    yield from (record_path(record.unit_id) for record in dataset.records)
    yield from (relative for relative in (SETTINGS_PATH, FILES_PATH) if (dataset.root / relative).is_file())
    for folder in (CUTS_PATH, TOMBSTONES_PATH, SELECTIONS_PATH, VIEWS_PATH):
        for path in sorted((dataset.root / folder).glob("*.json")):
            yield f"{folder}/{path.name}"


def _refuse_unlike_files(relative: str, first: Path, second: Path) -> None:
    """Settings have been compared, but for how the runs were carried out; tombstones of one source mean the same."""
    if relative in (SETTINGS_PATH, FILES_PATH) or relative.startswith(f"{TOMBSTONES_PATH}/"):
        return
    if not filecmp.cmp(first, second, shallow=False):
        raise DatasetError(
            f"{first} and {second} differ.",
            remedy="One clip cannot be cut in two ways, nor one selection mean two things: rename or delete one.",
        )


def _place(source: Path, target: Path, root: Path) -> bool:
    """Whether the target is a link of the source; otherwise it is a copy, whole and on the disk."""
    there = os.stat(target) if target.exists() else None
    facts = os.stat(source)
    if there is not None:
        if os.path.samestat(there, facts):
            return True
        if (there.st_size, there.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns):
            return False  # a whole copy of an interrupted call: it has its name and its time last
        target.unlink()
    try:
        os.link(source, target)
        return True
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    spool_folder(str(root)).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=spool_folder(str(root))) as spool:
        local = Path(spool) / "copy"
        with open(source, "rb") as read, open(local, "wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
        os.utime(local, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        os.replace(local, target)
    return False


def _some(values: Sequence[Any]) -> str:
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(map(str, values[:_SHOWN])) + more
