"""PyTorch checkpoints read as data: tensors, numbers and numpy arrays, whatever else lies beside them.

`torch.load(weights_only=True)` builds tensors and refuses a file with the first name it does not know: a config object,
an optimizer's state or a numpy array beside the weights is enough. Here every other name that a file mentions is
declared harmless beforehand under a stand-in of our own: numpy's names make arrays out of the file's own bytes, all
others make an empty dictionary. The names are found by disassembling the file, so nothing of it is imported or called.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import CheckpointError

REMEDY = (
    "Give a PyTorch file of weights: {'model': state_dict}, {'state_dict': ...}, or the state_dict itself."
)
MAX_NAMES = 1000
"""Names of classes and functions in one file; Lightning's mention some fifty."""
MAX_PICKLE_BYTES = 256 << 20
"""Of the pickle in a zip, which holds everything but the tensors' numbers; ResNet-50's takes 40 kB."""
_LEGACY_PICKLES = 4
"""Pickles at the head of a file from before torch 1.6: magic number, version, machine, contents; then raw numbers."""
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class _Unread:
    """Stands in for any class or function: what it makes is an empty dictionary, whatever it is given."""

    def __new__(cls, *arguments: object, **keywords: object) -> Any:
        return OrderedDict()


class _UnreadList:
    """Stands in for a queue, which a file fills like a list."""

    def __new__(cls, *arguments: object) -> Any:
        return []


class _Type:
    """A numpy dtype by its code; the byte order comes with its state."""

    def __init__(self, code: object, *rest: object) -> None:
        self.code, self.order = str(code), "|"

    def __setstate__(self, state: Any) -> None:
        self.order = str(state[1])

    def dtype(self) -> np.dtype[Any] | None:
        """None for what holds more than numbers."""
        if self.code[:1] not in ("b", "i", "u", "f", "?"):
            return None
        dtype = np.dtype(self.code)
        return dtype.newbyteorder(">") if self.order == ">" else dtype


class _Array:
    """A numpy array: empty when it is named, filled by its state (version, shape, dtype, is_fortran, bytes)."""

    def __init__(self, *arguments: object) -> None:
        self.value: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        shape, kind, is_fortran, raw = state[-4:]
        dtype = kind.dtype() if isinstance(kind, _Type) else None
        if dtype is not None:
            flat = np.frombuffer(_octets(raw), dtype)
            self.value = flat.reshape(shape, order="F" if is_fortran else "C").astype(dtype.newbyteorder("="))


def _scalar(kind: object, raw: object = b"") -> Any:
    dtype = kind.dtype() if isinstance(kind, _Type) else None
    return OrderedDict() if dtype is None else np.frombuffer(_octets(raw), dtype)[0].item()


def _from_buffer(raw: object, kind: object, shape: Any, order: object) -> _Array:
    array = _Array()
    array.__setstate__((shape, kind, order == "F", raw))
    return array


def _no_octets(*arguments: object) -> bytes:
    return b""  # how protocol 2 writes an empty array's bytes


_KNOWN: dict[str, Any] = {
    "numpy.ndarray": _Array, "numpy.dtype": _Type, "numpy.core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": _scalar, "numpy.core.numeric._frombuffer": _from_buffer,
    "builtins.bytes": _no_octets, "collections.deque": _UnreadList,
}  # fmt: skip
_DAMAGED = (
    OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
    AssertionError, zipfile.BadZipFile, pickle.UnpicklingError, struct.error,
)  # fmt: skip
"""What torch, zipfile and pickletools raise for damaged files."""


def read_checkpoint(path: Path) -> Any:
    """The contents of a file of `torch.save`, zip or legacy: tensors on the CPU, arrays as tensors, plain numbers,
    texts, lists, tuples and dictionaries; objects of any other class are empty dictionaries.

    Raises CheckpointError for what cannot be read so. Nothing that the file names is imported or called.
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6):
        raise CheckpointError(
            f"{path} is not opened: torch {torch.__version__} can execute code in a checkpoint (CVE-2025-32434).",
            remedy="Install torch 2.6 or later.",
        )
    try:
        stand_ins: list[Any] = [(_stand_in(name), name) for name in sorted(_names_in(path))]
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            # What was written with another protocol, or is damaged in that byte, is read or refused like any other.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return _plain(torch.load(path, map_location="cpu", weights_only=True), {})
    except _DAMAGED as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, pickle.UnpicklingError):  # torch's own text advises to run what is in the file
            text = "it holds more than tensors and plain data"
        raise CheckpointError(f"{path} is not opened: {text.rstrip('.')}.", remedy=REMEDY) from None


def _stand_in(name: str) -> Any:
    return _KNOWN.get(name.replace("numpy._core.", "numpy.core."), _Unread)


def _names_in(path: Path) -> set[str]:
    """Every `module.name` that the file's pickles mention, by disassembly."""
    names: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # texts of damaged files hold escapes that are none
        for stream, count in _pickles_of(path):
            for _ in range(count):
                for instruction, argument, _ in pickletools.genops(stream):
                    if instruction.name == "GLOBAL":
                        module, _, attribute = str(argument).partition(" ")
                        names |= {f"{module}.{attribute}", f"{_PYTHON_2.get(module, module)}.{attribute}"}
                if len(names) > MAX_NAMES:
                    raise ValueError(f"it mentions more than {MAX_NAMES} classes")
    return names


def _pickles_of(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Streams and how many pickles lie at the head of each."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith("data.pkl"):
                    if archive.getinfo(member).file_size > MAX_PICKLE_BYTES:
                        raise ValueError(f"its pickle has more than {MAX_PICKLE_BYTES} bytes")
                    with archive.open(member) as stream:
                        yield stream, 1
    else:
        with open(path, "rb") as stream:
            yield stream, _LEGACY_PICKLES


def _plain(value: Any, known: dict[int, Any]) -> Any:
    """Tensors in place of the shells of arrays; each object is looked at once."""
    if isinstance(value, _Array):
        return OrderedDict() if value.value is None else torch.from_numpy(value.value)
    if isinstance(value, _Type):
        return value.code
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, dict):
        plain: dict[Any, Any] = {}
        known[id(value)] = plain
        plain |= {key: _plain(item, known) for key, item in value.items()}
        return plain
    if isinstance(value, list | tuple):
        items: list[Any] = []
        known[id(value)] = items
        items += [_plain(item, known) for item in value]
        return items
    return value


def _octets(raw: Any) -> bytes:
    return raw.encode("latin1") if isinstance(raw, str) else bytes(memoryview(raw))
