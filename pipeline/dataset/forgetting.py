"""Taking a source out of a dataset for good: its rows go, a tombstone stays, no later run brings it back."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pipeline.dataset.card import publish_documents
from pipeline.dataset.folder_lock import RunLock, require_local
from pipeline.dataset.origins import unit_origins
from pipeline.dataset.settling import settle
from pipeline.dataset.storage import publish_text, spool_folder
from pipeline.records import ClipRef
from schemas.dataset import Dataset, record_path, tombstone_path, tombstoned_sources
from schemas.errors import DatasetError
from schemas.shard import REMAKE
from schemas.work_record import WorkRecord


def forget(root: str, source_id: str) -> int:
    """Removes every row of a source and returns how many units that were. Raises DatasetError for an unknown source.

    The tombstone comes first: interrupted anywhere, the next run, `compact` or `forget` finishes the removal.
    """
    require_local(root)
    Dataset.open(root)
    with RunLock(root):
        settle(root, heal=False)
        dataset = Dataset.open(root)
        origins = unit_origins(dataset.files, dataset.records)
        _refuse_unknown_origins(root, [unit for unit in dataset.records if unit.unit_id not in origins])
        sources = [source for source, _ in origins.values()]
        if source_id not in sources and source_id not in tombstoned_sources(root):
            raise DatasetError(
                f"{root} holds no source {source_id!r}.",
                remedy=f"Known: {', '.join(sorted(set(sources))[:20]) or 'none'}.",
            )
        text = json.dumps({"source_id": source_id, "units": sources.count(source_id)}) + "\n"
        publish_text(text, root, tombstone_path(source_id))
        settle(root, heal=False)
        publish_documents(root)
        spool_folder(root).rmdir()
    return sources.count(source_id)


def _refuse_unknown_origins(root: str, units: Sequence[WorkRecord]) -> None:
    """Raises DatasetError where nobody can tell whose rows a unit holds: some could be the source's."""
    for unit in units:
        if unit.shards:
            files = ", ".join(shard.file.path for shard in unit.shards)
            raise DatasetError(
                f"{root}: the source of unit {unit.unit_id} cannot be read: {files} are damaged or missing.",
                remedy=f"{REMAKE} Or give the unit up: delete {record_path(unit.unit_id)} and run; then forget.",
            )


def without_forgotten(clips: Sequence[ClipRef], root: str) -> list[ClipRef]:
    """The clips whose source has no tombstone in this dataset."""
    forgotten = tombstoned_sources(root)
    return [clip for clip in clips if clip.source_id not in forgotten]
