"""A dataset's folder before and while it is written: what it may be, its settings, its lock."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config import Settings
from pipeline.dataset.clip_shards import SHARDS_PATH, ClipShard
from pipeline.dataset.fingerprint import row_settings
from pipeline.dataset.folder_lock import LOCK_PATH, SHARED_LOCK_PATH, RunLock
from pipeline.dataset.shard_lock import ShardLock
from pipeline.dataset.storage import SPOOL, join, publish_text, read_json, typed_storage_errors
from pipeline.dataset.stored_settings import stored_settings
from pipeline.method.named_files import named_file_digests
from schemas.addresses import is_remote
from schemas.dataset import FILES_PATH, INFO_PATH, SETTINGS_PATH, dataset_info
from schemas.errors import DatasetError, StorageError
from schemas.escaping import shown
from schemas.settings import as_dict


def prepare_folder(root: str, settings: Settings, settings_from: str | None = None) -> Settings:
    """Writes `info.json` and `settings.json`, or checks those of an existing dataset; returns the settings to use."""
    info, present = read_json(root, INFO_PATH), read_json(root, SETTINGS_PATH)
    if info is not None and info != dataset_info():
        raise DatasetError(
            f"{root} holds a dataset of another format or table version ({INFO_PATH}).",
            remedy="Give another --out folder.",
        )
    wanted = row_settings(settings)
    if present is not None:
        made_with = {name: values for name, values in present.items() if name != "run"}
        if made_with != wanted and settings_from == "dataset":
            settings = replace(stored_settings(made_with, join(root, SETTINGS_PATH)), run=settings.run)
        elif made_with != wanted and settings_from != "command":
            changed = ", ".join(changed_settings(made_with, wanted))
            raise DatasetError(
                f"{root} was made with other settings ({SETTINGS_PATH}: {changed}).",
                remedy="Give another --out folder, or choose: --settings-from dataset goes on with the folder's, "
                "--settings-from command makes it again with these.",
            )
    if info is None and not is_remote(root):
        _refuse_other_folder(root)
    with storage_as_dataset_errors(), typed_storage_errors(root):
        publish_text(json.dumps(dataset_info(), indent=1) + "\n", root, INFO_PATH)
        publish_text(json.dumps(as_dict(settings), indent=1) + "\n", root, SETTINGS_PATH)
        publish_text(json.dumps(named_file_digests(settings), indent=1) + "\n", root, FILES_PATH)
    return settings


@contextmanager
def held(root: str, shard: ClipShard | None = None) -> Iterator[RunLock]:
    """The folder's lock, or that of a shard; a folder that is no dataset is refused before anything is put into it."""
    if read_json(root, INFO_PATH) is None:
        _refuse_other_folder(root)
    with RunLock(root) if shard is None else ShardLock(root, shard) as lock:
        if lock.stale is not None:
            said = (
                f"{root}: process {lock.stale.get('pid')} ended without finishing; going on where it stopped."
            )
            print(shown(said), file=sys.stderr)
        yield lock


def _refuse_other_folder(root: str) -> None:
    """Raises DatasetError where a folder holds anything that an interrupted first run would not have left."""
    folder = Path(root)
    ours, locks = {SPOOL, "meta"}, {Path(path).name for path in (LOCK_PATH, SHARED_LOCK_PATH, SHARDS_PATH)}
    if folder.is_dir() and (
        any(path.name not in ours for path in folder.iterdir())
        or any(path.name not in locks for path in folder.glob("meta/*"))
    ):
        raise DatasetError(f"{root} is not empty and not a dataset.", remedy="Give another --out folder.")


@contextmanager
def storage_as_dataset_errors() -> Iterator[None]:
    """In the driver a disk that cannot be written is an error like others: one line, exit code 1."""
    try:
        yield
    except StorageError as error:
        raise DatasetError(error.message, remedy=error.remedy) from error


def changed_settings(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    """`section.field: before -> after` of every value that differs."""
    paths = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            paths += changed_settings(old, new, f"{prefix}{name}.")
        elif old != new:
            paths.append(f"{prefix}{name}: {old} -> {new}")
    return paths
