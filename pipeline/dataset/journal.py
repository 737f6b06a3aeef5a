"""Changes of where units' rows lie, whole or not at all: decided by one file, then carried out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.dataset.storage import publish_text, publish_texts
from schemas.dataset import JOURNAL_PATH, record_path
from schemas.files import Files
from schemas.record_files import read_journal
from schemas.work_record import Pack, WorkRecord


def commit(root: str, changed: Sequence[WorkRecord], obsolete: Iterable[Pack]) -> None:
    """Gives units their new records, then deletes files that no record names any more."""
    journal = {
        "records": [record.to_json() for record in changed],
        "obsolete": sorted(file.path for file in obsolete),
    }
    publish_text(json.dumps(journal), root, JOURNAL_PATH)
    finish_journal(root)


def finish_journal(root: str) -> None:
    """Carries out what was decided, if anything; doing it twice is fine. Raises DatasetError for a damaged journal."""
    journal = read_journal(Files(root))
    if journal is None:
        return
    publish_texts({record_path(record.unit_id): record.to_json() for record in journal.records}, root)
    for relative in journal.obsolete:
        (Path(root) / relative).unlink(missing_ok=True)
    (Path(root) / JOURNAL_PATH).unlink()
