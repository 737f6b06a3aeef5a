"""Small files put together while a run goes on, so that nobody ever has ten thousand of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.dataset.compaction import commit_unchanged, is_small, pack_units
from pipeline.dataset.settling import note
from schemas.dataset import RECORDS_PATH, record_path
from schemas.errors import DatasetError
from schemas.files import Files
from schemas.record_files import read_records
from schemas.work_record import Pack, WorkRecord

_LOOK_EVERY_S = 10.0


@contextmanager
def packing(root: str, every_units: int) -> Iterator[None]:
    """While a run writes into a local dataset: each time it has finished `every_units` more, they are packed.

    Before and after the run what earlier ones left is packed, where it is as many. Files that were put together stay
    until the next pack, for whoever is reading them. 0 packs nothing. Packing that fails is said, and left for later:
    the units are as they were.
    """
    if not every_units:
        yield
        return
    packer = _Packer(root, every_units)
    packer.pack_all()
    stop = threading.Event()
    thread = threading.Thread(target=packer.work, args=(stop,), name="packing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    packer.pack_all()


class _Packer:
    def __init__(self, root: str, every_units: int) -> None:
        self._root, self._every_units = root, every_units
        self._files = Files(root)
        self._done: set[str] = set()
        self._obsolete: set[Pack] = set()

    def pack_all(self) -> None:
        """Packs all units that have files of their own, where they are many. Nobody else may write meanwhile."""
        records = read_records(self._files, [])
        small = [record for record in records if any(map(is_small, record.shards))]
        if len(small) >= self._every_units:
            self._pack(small)
        self._done = self._names()

    def work(self, stop: threading.Event) -> None:
        """Packs units that are new, until it is told to stop."""
        while not stop.wait(_LOOK_EVERY_S):
            new = self._names() - self._done
            if len(new) >= self._every_units:
                self._pack(self._read(new))
                self._done |= new

    def _pack(self, records: Sequence[WorkRecord]) -> None:
        try:
            for first in range(0, len(records), self._every_units):
                part = records[first : first + self._every_units]
                released = commit_unchanged(self._root, part, pack_units(self._root, part))
                self._release(released)
        except (DatasetError, OSError) as error:
            note(f"files were not put together: {error}")

    def _release(self, released: set[Pack]) -> None:
        """Deletes what the pack before this one replaced."""
        for file in self._obsolete:
            (Path(self._root) / file.path).unlink(missing_ok=True)
        self._obsolete = released

    def _names(self) -> set[str]:
        try:
            with os.scandir(Path(self._root) / RECORDS_PATH) as entries:
                return {entry.name for entry in entries if entry.name.endswith(".json")}
        except FileNotFoundError:
            return set()

    def _read(self, names: set[str]) -> list[WorkRecord]:
        records = []
        for name in sorted(names):
            try:
                records.append(WorkRecord.from_json(self._files.read(record_path(Path(name).stem))))
            except (OSError, ValueError):  # damaged, or made again just now: for the next run
                continue
        return records
