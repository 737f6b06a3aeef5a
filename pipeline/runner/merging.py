"""`dataset merge`: several datasets become one, which is there as a whole or not at all.

The new dataset is put together in a hidden folder beside its place, `.NAME.merging`, described and verified there, and
takes its name in one step. Killed before, the sources are as they were and the same command goes on. Moved sources are
deleted only once the new dataset stands, each in one step too.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.dataset.card import publish_documents
from pipeline.dataset.folder import storage_as_dataset_errors
from pipeline.dataset.folder_lock import RunLock
from pipeline.dataset.joining import Placed, opened_sources, place_files
from pipeline.dataset.settling import settle
from pipeline.dataset.storage import (
    SPOOL,
    publish_text,
    read_json,
    spool_folder,
    sync_folder,
    typed_storage_errors,
)
from pipeline.dataset.verification import verify
from pipeline.runner.joined_summary import joined_summary
from pipeline.runner.summary import with_focal_lengths, write_summary
from schemas.addresses import is_remote
from schemas.dataset import CROISSANT_PATH, INFO_PATH, SPLITS_PATH, SUMMARY_PATH, Dataset, dataset_info
from schemas.errors import DatasetError
from schemas.tables import TABLES

MERGED_PATH = "meta/merged.json"
"""What a dataset was merged from: name, units and content hash of every source."""
_OWN = {SPOOL, "meta", "README.md", CROISSANT_PATH, *TABLES}
_OTHER_OUT = "Give another --out folder."


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What came of it."""

    units: int
    units_left_out: int
    """Of sources that one of the datasets has forgotten."""
    placed: Placed | None
    """None where an earlier call had done all of it."""
    content_hash: str


def merge(roots: Sequence[str], out: str, *, move: bool = False, allow_missing: bool = False) -> Merged:
    """Makes the dataset `out` of all units of the datasets `roots`, and verifies it. `move` deletes them afterwards.

    What one of them has forgotten is in none of the result. Raises DatasetError where they cannot be joined (see
    `opened_sources`), where one is in use or damaged, or where `out` holds something else.
    """
    if is_remote(out):
        raise DatasetError(f"{out} lies in a bucket.", remedy="Merge into a local folder, and copy that.")
    target, places = Path(out).resolve(), [Path(root).resolve() for root in roots]
    if target in places:
        raise DatasetError(f"{out} is one of the datasets to be merged.", remedy=_OTHER_OUT)
    if move:
        for place in places:
            _refuse_foreign_files(place)
    with storage_as_dataset_errors(), typed_storage_errors(out):
        placed = None
        if not _is_merged_already(target, places, move):
            placed = _put_together(target, places, allow_missing)
        if move:
            for place in places:
                _remove(place)
    made = Dataset.open(target)
    facts = read_json(str(target), MERGED_PATH) or {}
    return Merged(
        units=len(made.records),
        units_left_out=sum(each["units"] for each in facts.get("sources", ())) - len(made.records),
        placed=placed,
        content_hash=made.content_hash(),
    )


def _put_together(target: Path, places: Sequence[Path], allow_missing: bool) -> Placed:
    staging = target.with_name(f".{target.name}.merging")
    opened_sources(places, allow_missing=allow_missing)  # before anything is written
    staging.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        own = stack.enter_context(RunLock(staging))
        for place in places:
            if os.access(place / "meta", os.W_OK):  # what nobody can write is in nobody's use
                stack.enter_context(RunLock(place))
        try:
            placed = _filled(staging, places, allow_missing)
        except DatasetError:  # what was put together would only be in the way
            shutil.rmtree(staging)
            raise
        own.release()
        for folder in (staging / "meta", staging):
            sync_folder(folder)
        os.rename(staging, target)
        sync_folder(target.parent)
    return placed


def _filled(staging: Path, places: Sequence[Path], allow_missing: bool) -> Placed:
    """Makes a whole, sound dataset of the folder. Raises DatasetError where that cannot be."""
    root = str(staging)
    sources = opened_sources(places, allow_missing=allow_missing)
    (staging / INFO_PATH).unlink(missing_ok=True)
    placed = place_files(sources, staging)
    settle(root, heal=False)
    publish_text(json.dumps(dataset_info(), indent=1) + "\n", root, INFO_PATH)
    publish_text(json.dumps(_merged_from(sources), indent=1) + "\n", root, MERGED_PATH)
    _join_splits(sources, root)
    summaries = [read_json(str(place), SUMMARY_PATH) or {} for place in places]
    write_summary(with_focal_lengths(joined_summary(summaries), root), root)
    publish_documents(root)
    problems = verify(root, render=0).problems
    if problems:
        raise DatasetError(
            f"the datasets do not make a sound one: {len(problems)} problem(s), first: {problems[0]}",
            remedy="Run `dataset verify` on each of them. Nothing was merged.",
        )
    shutil.rmtree(spool_folder(root), ignore_errors=True)
    return placed


def _merged_from(sources: Sequence[Dataset]) -> dict[str, Any]:
    return {
        "sources": [
            {"name": each.root.name, "units": len(each.records), "content_hash": each.content_hash()}
            for each in sources
        ]
    }


def _join_splits(sources: Sequence[Dataset], root: str) -> None:
    """Recorded splits are kept where every dataset has some. Raises DatasetError where they contradict each other."""
    found = [read_json(str(each.root), SPLITS_PATH) for each in sources]
    joined: dict[str, list[str]] = {}
    owners: dict[str, str] = {}
    for splits in found:
        for split, members in (splits or {}).items():
            for source_id in members if isinstance(members, list) else ():
                if owners.setdefault(source_id, split) != split:
                    raise DatasetError(
                        f"source {source_id!r} is in split {owners[source_id]!r} of one dataset and in {split!r} of "
                        "another.",
                        remedy=f"Make {SPLITS_PATH} of all datasets agree, or delete one.",
                    )
                joined.setdefault(split, []).append(source_id)
    if found and all(splits is not None for splits in found):
        whole = {split: sorted(set(members)) for split, members in joined.items()}
        publish_text(json.dumps(whole, indent=1) + "\n", root, SPLITS_PATH)


def _is_merged_already(target: Path, places: Sequence[Path], move: bool) -> bool:
    """Whether the target is what these sources give. Raises DatasetError where it holds anything else.

    A source that is gone counts only where sources are moved: an earlier call was killed while it deleted them.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    facts = read_json(str(target), MERGED_PATH) or {}
    known = {each["name"]: each["content_hash"] for each in facts.get("sources", ())}
    if len(known) == len(places) and known.keys() == {place.name for place in places}:
        hashes = {place.name: Dataset.open(place).content_hash() for place in places if place.exists()}
        if hashes.items() <= known.items() and (move or len(hashes) == len(known)):
            return True
    raise DatasetError(f"{target} is there already and is not what these datasets give.", remedy=_OTHER_OUT)


def _refuse_foreign_files(place: Path) -> None:
    foreign = sorted(path.name for path in place.iterdir() if path.name not in _OWN) if place.is_dir() else []
    if foreign:
        raise DatasetError(
            f"{place} holds files that are not the dataset's: {', '.join(foreign[:5])}.",
            remedy="Move them elsewhere, or merge without --move.",
        )


def _remove(place: Path) -> None:
    """Deletes a dataset: it is there as a whole, or not at all."""
    gone = place.with_name(f".{place.name}.moved")
    shutil.rmtree(gone, ignore_errors=True)
    if place.exists():
        os.rename(place, gone)
        shutil.rmtree(gone)
