"""The files below a dataset's root, read from a folder or through Arrow from a bucket."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pyarrow import fs

from schemas.addresses import filesystem_of, is_remote, persistently

T = TypeVar("T")
_AT_A_TIME = 16
"""Requests to a bucket; a request is waiting, not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What a listing says of a file."""

    name: str
    bytes: int
    changed_ns: int


class Files:
    """The files below a root, by their paths relative to it."""

    def __init__(self, root: str | Path) -> None:
        self.root: str = str(root).rstrip("/") if is_remote(root) else str(root)
        self._filesystem: fs.FileSystem | None = None
        if self.is_remote:
            self._filesystem, self._path = filesystem_of(self.root)

    @property
    def is_remote(self) -> bool:
        """Whether it is a bucket's."""
        return is_remote(self.root)

    def place(self, relative: str) -> str:
        """The whole address or path of a file."""
        return f"{self.root}/{relative}" if self.is_remote else os.path.join(self.root, relative)

    def read(self, relative: str) -> bytes:
        """A file's content. Raises FileNotFoundError, or another OSError."""
        return self.reading(relative, lambda file: bytes(file.read()))

    def reading(self, relative: str, read: Callable[[Any], T]) -> T:
        """What a function reads from an open file; from its beginning again where a bucket's answer broke off."""

        def once() -> T:
            with self.open(relative) as file:
                return read(file)

        return persistently(self.root, once)

    def open(self, relative: str) -> BinaryIO | Any:
        """A file, opened for reading at any place."""
        if self._filesystem is None:
            return open(self.place(relative), "rb")
        return self._filesystem.open_input_file(f"{self._path}/{relative}")

    def exists(self, relative: str) -> bool:
        """Whether a file is there."""
        return self.sizes([relative]) != [-1]

    def sizes(self, paths: Sequence[str]) -> list[int]:
        """Bytes of files; -1 where there is none."""
        if self._filesystem is not None:
            filesystem, whole = self._filesystem, [f"{self._path}/{path}" for path in paths]
            found = persistently(self.root, lambda: filesystem.get_file_info(whole))
            return [info.size if info.type == fs.FileType.File else -1 for info in found]
        return [_local_size(self.place(path)) for path in paths]

    def listed(self, folder: str, suffix: str) -> list[FileFacts]:
        """The files of a folder whose names end so, by name; none where there is no folder."""
        found = self._listed_remote(folder) if self._filesystem is not None else self._listed_local(folder)
        return sorted((file for file in found if file.name.endswith(suffix)), key=lambda file: file.name)

    def read_many(self, paths: Iterable[str]) -> Iterator[bytes | OSError]:
        """The contents of files in their order; what the system says where one cannot be read."""
        if self._filesystem is None:
            yield from map(self._content, paths)
            return
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            yield from threads.map(self._content, paths)

    def _content(self, relative: str) -> bytes | OSError:
        try:
            return self.read(relative)
        except OSError as error:
            return error

    def _listed_remote(self, folder: str) -> Iterator[FileFacts]:
        filesystem = self._filesystem
        assert filesystem is not None
        selector = fs.FileSelector(f"{self._path}/{folder}", allow_not_found=True)
        for info in persistently(self.root, lambda: filesystem.get_file_info(selector)):
            if info.type == fs.FileType.File:
                yield FileFacts(name=info.base_name, bytes=info.size, changed_ns=info.mtime_ns or 0)

    def _listed_local(self, folder: str) -> Iterator[FileFacts]:
        try:
            with os.scandir(self.place(folder)) as entries:
                for entry in entries:
                    try:
                        facts = entry.stat()
                    except FileNotFoundError:  # removed between the listing and now
                        continue
                    yield FileFacts(name=entry.name, bytes=facts.st_size, changed_ns=facts.st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            return


def _local_size(path: str) -> int:
    try:
        return os.stat(path).st_size if os.path.isfile(path) else -1
    except OSError:
        return -1
