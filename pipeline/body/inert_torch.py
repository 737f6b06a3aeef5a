"""Files of `torch.save` as data: the zip container, the one before it, and either inside another pickle.

A zip holds `data.pkl`, whose tensors point to the members `data/0`, `data/1`, ... by persistent ids. The container
before torch 1.6 is a row of pickles (a magic number, a version, facts about the system, the contents, the storages'
keys) and then each storage's count and bytes; there the contents are read twice, as tensors come before their numbers.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import IO, Any

from pipeline.body.inert_tensors import Storage, storage_code
from pipeline.body.inert_values import Refused, said
from pipeline.body.pickle_machine import Machine
from pipeline.body.pickle_opcodes import OPCODES
from pipeline.body.pickle_source import CHUNK_BYTES, MAX_BYTES, PickleSource

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The magic number's pickle, behind its protocol (two bytes)."""
MAX_NESTED = 4
"""Containers inside containers: a tensor in a pickle is one."""


def machine(
    source: PickleSource,
    unneeded: frozenset[str] = frozenset(),
    *,
    persistent: Callable[[Any], Any] | None = None,
    nested: int = 0,
) -> Machine:
    """A machine that knows every instruction, and torch's containers inside the pickle."""
    return Machine(source, OPCODES, load_from_bytes, unneeded, persistent, nested)


def is_legacy_torch(start: bytes) -> bool:
    """Whether a file begins as `torch.save` began before 1.6."""
    return start[:1] == b"\x80" and start[2 : 2 + len(LEGACY_START)] == LEGACY_START


def tensors_from_zip(archive: zipfile.ZipFile, *, depth: int = 0) -> Any:
    """The contents of the zip container. Raises Refused."""
    names = {info.filename: info for info in archive.infolist()}
    claimed = sum(info.file_size for info in archive.infolist())
    if claimed > MAX_BYTES:
        raise Refused(f"its members claim {claimed} bytes, more than {MAX_BYTES} (MAX_BYTES)")
    main = next((name for name in names if name.endswith("/data.pkl") or name == "data.pkl"), None)
    if main is None:
        raise Refused("it is a zip archive without data.pkl")
    root = main[: -len("data.pkl")]
    if any(name.startswith(f"{root}code/") for name in names):
        raise Refused("it is a TorchScript program and no file of numbers")
    order = names.get(f"{root}byteorder")
    if order is not None and member(archive, order) not in (b"little", b""):
        raise Refused("it was written on a big-endian machine")
    known: dict[str, Storage] = {}

    def storage(pid: Any) -> Storage:
        _, kind, _, _, count = pid[:5]
        key = said(pid[2]).strip("'")
        if key not in known:
            info = names.get(f"{root}data/{key}")
            if info is None:
                raise Refused(f"the storage {key} is missing")
            known[key] = _checked(Storage(storage_code(kind), int(count), member(archive, info)))
        return known[key]

    data = member(archive, names[main])
    source = PickleSource(io.BytesIO(data))
    return machine(source, persistent=_storages(storage), nested=depth).run()


def tensors_from_legacy(stream: IO[bytes], *, depth: int = 0) -> Any:
    """The contents of the container before torch 1.6. Raises Refused."""
    size = stream.seek(0, 2)
    if size > MAX_BYTES:
        raise Refused(f"{size} bytes of it would be held, more than {MAX_BYTES} (MAX_BYTES)")
    stream.seek(0)
    whole = stream.read()
    known: dict[str, Storage] = {}

    def storage(pid: Any) -> Storage:
        _, kind, _, _, count = pid[:5]
        key = said(pid[2])
        view = pid[5] if len(pid) > 5 else None
        found = known.setdefault(key, Storage(storage_code(kind), int(count)))
        return found if view is None else _part(found, view)

    def run(begin: int) -> tuple[Any, int]:
        part = io.BytesIO(whole)
        part.seek(begin)
        source = PickleSource(part)
        value = machine(source, persistent=_storages(storage), nested=depth).run()
        return value, part.tell() - source.ahead

    magic, at = run(0)
    if magic != LEGACY_MAGIC:
        raise Refused("it is no file of torch.save")
    _, at = run(at)
    _, contents = run(at)
    _, at = run(contents)
    keys, at = run(at)
    for key in map(said, keys):
        if key not in known:
            raise Refused(f"numbers for a storage {key} that nothing uses")
        found = known[key]
        count = int.from_bytes(whole[at : at + 8], "little", signed=True)
        end = at + 8 + count * found.item_bytes
        if count < 0 or end > len(whole):
            raise Refused(f"the storage {key} says {count} numbers, more than the file has")
        found.count, found.raw = count, memoryview(whole)[at + 8 : end]
        at = end
    return run(contents)[0]


def load_from_bytes(data: Any, *, depth: int) -> Storage:
    """What `torch.storage._load_from_bytes` gives: a storage that was pickled on its own. Raises Refused."""
    if not isinstance(data, bytes):
        raise Refused("a storage that is no bytes")
    if depth >= MAX_NESTED:
        raise Refused(f"torch containers nested more than {MAX_NESTED} deep")
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = tensors_from_zip(archive, depth=depth + 1)
    else:
        found = tensors_from_legacy(io.BytesIO(data), depth=depth + 1)
    if not isinstance(found, Storage):
        raise Refused(f"{said(found)} in place of a storage")
    return found


def _storages(storage: Callable[[Any], Storage]) -> Callable[[Any], Any]:
    """Persistent ids of storages; raises Refused for any other."""

    def found(pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise Refused("a persistent id that is no storage")
        return storage(pid)

    return found


def _part(whole: Storage, view: Any) -> Storage:
    """A storage that shows a part of another: (key, offset, count)."""
    _, offset, count = view
    if whole.raw is None:
        return Storage(whole.code, int(count))
    begin, end = int(offset) * whole.item_bytes, (int(offset) + int(count)) * whole.item_bytes
    if not 0 <= begin <= end <= len(whole.raw):
        raise Refused("a storage outside the one it is a part of")
    return Storage(whole.code, int(count), memoryview(whole.raw)[begin:end])


def _checked(storage: Storage) -> Storage:
    assert storage.raw is not None
    if len(storage.raw) % storage.item_bytes or len(storage.raw) < storage.count * storage.item_bytes:
        raise Refused(f"a storage of {storage.count} numbers that has {len(storage.raw)} bytes")
    return storage


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member in pieces: read at once, zipfile makes room for what a damaged directory claims."""
    parts = []
    with archive.open(info) as stream:
        while part := stream.read(CHUNK_BYTES):
            parts.append(part)
    return b"".join(parts)
