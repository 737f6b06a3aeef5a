"""Files in buckets: through Arrow's file systems where it has one for the address, through Beam's otherwise.

An object of s3://, gs:// or abfs:// bears its name once it is whole, so it is written under that name at once;
elsewhere a file is written under another name first.
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pyarrow import fs

from schemas.addresses import filesystem_of, is_for_arrow, persistently

WHOLE_AT_ONCE = ("s3://", "gs://", "gcs://", "abfs://", "abfss://")
UNCOMPRESSED = "uncompressed"
_PART_BYTES = 8 * 2**20


class Bucket(Protocol):
    """What the project does with files in buckets. Every method raises OSError, or what Arrow and Beam raise."""

    def put(self, local: Path, address: str) -> None:
        """Copies a local file to an address, whole or not at all."""

    def get(self, address: str, local: Path) -> None:
        """Copies a file to the disk."""

    def read(self, address: str) -> bytes:
        """A file's content."""

    def size(self, address: str) -> int:
        """Bytes of a file; -1 where there is none."""

    def delete(self, address: str) -> None:
        """Removes a file; fine where there is none."""


def bucket_of(address: str) -> Bucket:
    """What reads and writes an address."""
    return ArrowBucket() if is_for_arrow(address) else BeamBucket()


class ArrowBucket:
    """Buckets that Arrow knows."""

    def put(self, local: Path, address: str) -> None:
        """See `Bucket`."""
        filesystem, path = filesystem_of(address)
        if address.startswith(WHOLE_AT_ONCE):
            persistently(address, lambda: self._write(filesystem, local, path))
            return
        folder, _, name = path.rpartition("/")
        filesystem.create_dir(folder, recursive=True)
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        self._write(filesystem, local, temporary)
        filesystem.move(temporary, path)

    def _write(self, filesystem: fs.FileSystem, local: Path, path: str) -> None:
        with open(local, "rb") as source, filesystem.open_output_stream(path) as sink:
            shutil.copyfileobj(source, sink, _PART_BYTES)
        found, expected = filesystem.get_file_info(path), local.stat().st_size
        if found.type != fs.FileType.File or found.size != expected:
            raise OSError(f"{path} was written with {expected} bytes, {found.size} are there")

    def get(self, address: str, local: Path) -> None:
        """See `Bucket`."""
        filesystem, path = filesystem_of(address)

        def once() -> None:
            with filesystem.open_input_file(path) as source, open(local, "wb") as sink:
                shutil.copyfileobj(source, sink, _PART_BYTES)

        persistently(address, once)

    def read(self, address: str) -> bytes:
        """See `Bucket`."""
        filesystem, path = filesystem_of(address)

        def once() -> bytes:
            with filesystem.open_input_file(path) as file:
                return bytes(file.read())

        return persistently(address, once)

    def size(self, address: str) -> int:
        """See `Bucket`."""
        filesystem, path = filesystem_of(address)
        found = persistently(address, lambda: filesystem.get_file_info(path))
        return int(found.size) if found.type == fs.FileType.File else -1

    def delete(self, address: str) -> None:
        """See `Bucket`."""
        filesystem, path = filesystem_of(address)
        with suppress(FileNotFoundError):
            persistently(address, lambda: filesystem.delete_file(path))


class BeamBucket:
    """Any other bucket, for which Beam may have a file system."""

    def put(self, local: Path, address: str) -> None:
        """See `Bucket`."""
        folder, _, name = address.rpartition("/")
        temporary, buckets = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp", beam_files()
        with (
            open(local, "rb") as source,
            buckets.create(temporary, compression_type=UNCOMPRESSED) as sink,
        ):
            shutil.copyfileobj(source, sink)
        if buckets.exists(address):
            buckets.delete([address])
        buckets.rename([temporary], [address])

    def get(self, address: str, local: Path) -> None:
        """See `Bucket`."""
        with (
            beam_files().open(address, compression_type=UNCOMPRESSED) as source,
            open(local, "wb") as sink,
        ):
            shutil.copyfileobj(source, sink)

    def read(self, address: str) -> bytes:
        """See `Bucket`."""
        with beam_files().open(address, compression_type=UNCOMPRESSED) as file:
            return bytes(file.read())

    def size(self, address: str) -> int:
        """See `Bucket`."""
        buckets = beam_files()
        if not buckets.exists(address):
            return -1
        return int(buckets.match([address])[0].metadata_list[0].size_in_bytes)

    def delete(self, address: str) -> None:
        """See `Bucket`."""
        if beam_files().exists(address):
            beam_files().delete([address])


def beam_files() -> Any:
    """Beam's FileSystems, loaded with the first bucket: a worker on local files does without their 95 MB."""
    from apache_beam.io.filesystems import FileSystems

    return FileSystems
