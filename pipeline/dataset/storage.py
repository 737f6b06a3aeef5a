"""Files of a dataset on a disk or in a bucket: they bear their names once they are whole, or never.

Works on local folders and on buckets (`buckets.py`).
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.dataset.buckets import bucket_of
from pipeline.host.temporary import owned_folder
from pipeline.video.address import is_web, local_path
from schemas.addresses import explained, is_for_arrow, is_remote, reaching
from schemas.dataset import document_remedy
from schemas.documents import damaged, json_object
from schemas.errors import SourceError, StorageError
from schemas.escaping import unescaped
from schemas.places import made_parent
from schemas.table import TableSpec

SPOOL = ".spool"
_SYNCED_ONE_BY_ONE = 32
"""More files than that reach the disk sooner with everything else that waits for it."""
_GO_ON = "Finished units are kept; run the same command again to go on."
_FREE_SPACE = "Free some space on that disk."
_REMEDIES = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: "Ask for a larger quota.",
    errno.EROFS: "The disk is mounted read-only.",
    errno.EACCES: "Check the folder's rights.",
    errno.EPERM: "Check the folder's rights.",
    errno.EIO: "The disk reports errors.",
}


def is_readable(root: str) -> bool:
    """Whether a finished dataset can be read back from there: a folder, or a bucket that Arrow knows."""
    return not is_remote(root) or is_for_arrow(root)


def join(root: str, relative: str) -> str:
    """A path below a dataset's root."""
    return f"{root.rstrip('/')}/{relative}"


def spool_folder(root: str) -> Path:
    """Where a local dataset's files are written before they get their names: the same disk, so a name is one rename."""
    return Path(root) / SPOOL


def publish_file(local: Path, root: str, relative: str) -> None:
    """Moves a complete local file to its final name: the name exists with all bytes, or not at all."""
    final = join(root, relative)
    if is_remote(root):
        bucket_of(final).put(local, final)
        return
    folder = os.path.dirname(final)
    os.makedirs(folder, exist_ok=True)
    with open(local, "rb") as written:
        os.fsync(written.fileno())
    os.replace(local, final)
    sync_folder(folder)


def publish_text(text: str, root: str, relative: str) -> None:
    """`publish_file` for a string."""
    spool = None if is_remote(root) else spool_folder(root)
    if spool is not None:
        spool.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=spool) as folder:
        local = Path(folder) / "text"
        local.write_text(text, encoding="utf-8")
        publish_file(local, root, relative)


def publish_texts(texts: Mapping[str, str], root: str) -> None:
    """`publish_text` for many files of a local dataset, which reach the disk together."""
    spool_folder(root).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=spool_folder(root)) as folder:
        for number, text in enumerate(texts.values()):
            (Path(folder) / str(number)).write_text(text, encoding="utf-8")
        if len(texts) > _SYNCED_ONE_BY_ONE:
            os.sync()
        for number, relative in enumerate(texts):
            local = Path(folder) / str(number)
            if len(texts) > _SYNCED_ONE_BY_ONE:
                os.replace(local, made_parent(Path(root) / relative))
            else:
                publish_file(local, root, relative)
    for folder in {os.path.dirname(relative) for relative in texts}:
        sync_folder(join(root, folder))


def write_table(table: TableSpec, rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Writes rows to one file of its own, which appears with all of them or not at all, and returns their number."""
    spool = made_parent(path).with_name(f".{path.name}.part")
    try:
        count = table.write(rows, spool)
        os.replace(spool, path)
    finally:
        spool.unlink(missing_ok=True)
    return count


@contextmanager
def local_copy(uri: str) -> Iterator[str]:
    """A local path of a clip's uri: its own, or a temporary copy of what lies in a bucket Beam can read.

    Raises SourceError when the bucket or the object cannot be read.
    """
    address = unescaped(uri)
    if not is_remote(address) or address.lower().startswith("file://") or is_web(address):
        yield str(local_path(uri))
        return
    with owned_folder("clip") as spool:
        path = spool / Path(address).name
        try:
            bucket_of(address).get(address, path)
        except (OSError, ValueError) as error:  # BeamIOError is an OSError
            raise SourceError(
                f"{uri} cannot be read: {error}.",
                remedy="Check the address and the rights; other buckets than s3://, gs:// and hdfs:// need "
                "Beam's extra for them.",
            ) from error
        yield str(path)


@contextmanager
def typed_storage_errors(root: str) -> Iterator[None]:
    """Turns what a disk or a bucket says when it cannot be written into a StorageError with a remedy."""
    try:
        yield
    except OSError as error:
        if is_remote(root) and is_for_arrow(root):
            why, remedy = explained(root, error)
            raise StorageError(f"{root} cannot be written: {why}.", remedy=f"{remedy} {_GO_ON}") from error
        if error.errno not in _REMEDIES and "No space left" not in str(error):
            raise
        raise StorageError(
            f"{root} cannot be written: {error.strerror or error}.",
            remedy=_REMEDIES.get(error.errno or errno.ENOSPC, _FREE_SPACE) + f" {_GO_ON}",
        ) from error


def read_json(root: str, relative: str) -> dict[str, Any] | None:
    """A JSON file below the root, or None when it is not there. Raises DatasetError when it is damaged.

    Of a bucket that does not answer nobody can say what is not there: that is a DatasetError too.
    """
    path = join(root, relative)
    try:
        return json_object(read_bytes(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        if is_remote(root) and is_for_arrow(root):
            with reaching(path):
                raise error
        return None
    except ValueError as error:
        raise damaged(path, error, remedy=document_remedy(relative)) from error


def read_bytes(path: str) -> bytes:
    if not is_remote(path):
        return Path(path).read_bytes()
    return bucket_of(path).read(path)


def sync_folder(folder: str | Path) -> None:
    """Puts the names in a folder of this machine on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
