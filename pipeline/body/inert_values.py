"""What a pickle's calls amount to as data: the few constructions of numeric files, out of the file's own bytes."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

_PLAIN_KINDS = "biufSU"
_SETS = {f"{module}.{kind}" for module in ("__builtin__", "builtins") for kind in ("set", "frozenset")}
_DICTIONARIES = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter")
_RECONSTRUCTORS = ("copy_reg._reconstructor", "copyreg._reconstructor")
_PATHS = ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")


class Refused(Exception):
    """Why a file is not read; becomes an AssetError that names the file."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a file, `module.attribute`; nothing is imported."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attribute}"


def said(value: Any) -> str:
    """A file's value in a message: nothing is spelled out, as a list may hold itself ten times over."""
    if isinstance(value, Name | int | float | None):
        return str(value)
    return repr(value[:60]) if isinstance(value, str) else str(getattr(value, "name", type(value).__name__))


@dataclass(slots=True, eq=False)
class Inert:
    """An object of a file: the name of its class, and its state as data."""

    name: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None


class Record(dict[Any, Any]):
    """An object of a class that is unknown here: its attributes and items as a dictionary, and the class's name."""

    __slots__ = ("name",)

    def __init__(self, name: Name, fields: tuple[Any, ...] = ()) -> None:
        super().__init__(enumerate(fields))
        self.name = name

    def set_state(self, state: Any) -> None:
        """Attributes as pickled: a dictionary, or a pair of one and of slots."""
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        if not all(part is None or isinstance(part, dict) for part in parts):
            raise Refused(f"an object of {self.name} whose state is no dictionary")
        for part in parts:
            self.update(part or {})


class Unneeded:
    """An array that was passed over, as nobody asked for it."""


UNNEEDED = Unneeded()


class ArrayShell:
    """A numpy array before its state is known (numpy builds it empty, then fills it)."""

    __slots__ = ("memo_index",)

    def __init__(self) -> None:
        self.memo_index: int | None = None


@dataclass(slots=True, eq=False)
class TypeShell:
    """A numpy dtype before and after its state is known."""

    code: str
    order: Literal["<", ">", "|"] = "|"
    _known: np.dtype | None = field(default=None, init=False)

    def dtype(self) -> np.dtype:
        """The dtype with the file's byte order. Raises Refused for objects and records."""
        if self._known is None:
            dtype = np.dtype(self.code)
            if dtype.kind not in _PLAIN_KINDS:
                raise Refused(f"an array of type {self.code!r}")
            self._known = dtype if self.order == "|" else dtype.newbyteorder(self.order)
        return self._known


def size_of(value: Any) -> int:
    """Roughly the bytes that a value takes by itself, without what it holds."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, list | tuple | dict):
        return 64 * len(value)
    if isinstance(value, Inert):
        return 64 * len(value.arguments)
    raw = getattr(value, "raw", value)
    return len(raw) if isinstance(raw, bytes | str | memoryview) else 0


def object_of(kind: Any, arguments: tuple[Any, ...]) -> Any:
    """What stands for an object of a class: nothing of the class is ever run. Raises Refused for the system's own.

    chumpy's, scipy's and joblib's arrays are `Inert`; dictionaries of the standard library are dictionaries; an
    object of any other package is a `Record`.
    """
    if not isinstance(kind, Name):
        raise Refused("an object of something that is not a class")
    module = kind.module.split(".")
    if module[0] == "chumpy" or str(kind) == "joblib.numpy_pickle.NumpyArrayWrapper":
        return Inert(kind, arguments)
    if module[:2] == ["scipy", "sparse"] and kind.attribute in ("csc_matrix", "csr_matrix", "coo_matrix"):
        return Inert(kind, arguments)
    if str(kind) in (*_DICTIONARIES, "__builtin__.dict", "builtins.dict"):
        return {}
    if str(kind) in ("argparse.Namespace", "types.SimpleNamespace"):
        return Record(kind)
    if module[0] in sys.stdlib_module_names or module[0] in (
        "__builtin__",
        "copy_reg",
        "numpy",
        "scipy",
        "joblib",
    ):
        raise Refused(f"an object of {kind}")
    return Record(kind, arguments)


def called(function: Name, arguments: tuple[Any, ...]) -> Any:
    """The value of the few calls that numeric files hold; raises for every other."""
    name = str(function).replace("numpy._core.", "numpy.core.")
    if name == "numpy.core.multiarray._reconstruct" and said(arguments[0]) in (
        "numpy.ndarray",
        "numpy.matrix",
    ):
        return ArrayShell()
    if name == "numpy.dtype":
        return TypeShell(_text(arguments[0]))
    if name == "numpy.core.multiarray.scalar" and isinstance(arguments[0], TypeShell):
        return array_from_bytes(octets(arguments[1]), arguments[0].dtype(), (), is_fortran=False).item()
    if name == "numpy.core.numeric._frombuffer" and isinstance(arguments[1], TypeShell):
        raw, kind, shape, order = arguments
        return array_from_bytes(octets(raw), kind.dtype(), checked_shape(shape), is_fortran=order == "F")
    if name == "_codecs.encode" and arguments[1] in ("latin1", "latin-1"):
        return octets(arguments[0])
    if name in _SETS:
        return list(arguments[0]) if arguments else []
    if name in ("__builtin__.bytes", "builtins.bytes") and not arguments:
        return b""
    if name in ("__builtin__.bytearray", "builtins.bytearray"):
        return octets(arguments[0]) if arguments else b""
    if name in _DICTIONARIES:
        return _dictionary(function, arguments)
    if name in _RECONSTRUCTORS and len(arguments) == 3:
        return _reconstructed(*arguments)
    if function.module in ("pathlib", "pathlib._local") and function.attribute in _PATHS:
        return "/".join(map(_text, arguments))
    raise Refused(f"it calls {function}")


def _dictionary(kind: Name, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """OrderedDict's pairs (protocols 0 and 1) or Counter's dictionary; a defaultdict's maker is forgotten."""
    if not arguments or kind.attribute == "defaultdict":
        return {}
    if isinstance(arguments[0], dict):
        return arguments[0]
    return {checked_key(key): value for key, value in arguments[0]}


def _reconstructed(kind: Any, parent: Any, content: Any) -> Any:
    """`copyreg._reconstructor` of protocols 0 and 1: an object, or a subclass of a dictionary with its items."""
    made = object_of(kind, ())
    if str(parent) in ("__builtin__.dict", "builtins.dict") and isinstance(made, dict):
        made.update(content if isinstance(content, dict) else {})
    return made


def checked_key(key: Any) -> Any:
    """A key that can be hashed in bounded depth: hashing a tuple nested a million deep would end the process."""
    if isinstance(key, tuple) and not all(isinstance(item, str | int | float | bytes | None) for item in key):
        raise Refused("a key of nested tuples")
    return key


def filled(state: tuple[Any, ...]) -> Any:
    """An array of its pickled state (version, shape, dtype, is_fortran, bytes); see `_array_of_objects`."""
    shape, kind, is_fortran, raw = state[-4:]
    if not isinstance(kind, TypeShell):
        raise Refused("an array without a type")
    if kind.code.startswith("O"):
        return _array_of_objects(raw, checked_shape(shape), is_fortran=bool(is_fortran))
    return array_from_bytes(octets(raw), kind.dtype(), checked_shape(shape), is_fortran=bool(is_fortran))


def _array_of_objects(items: Any, shape: tuple[int, ...], *, is_fortran: bool) -> Any:
    """The one object of a shape (), numbers as an array, anything else as lists in lists."""
    if not isinstance(items, list) or len(items) != math.prod(shape):
        raise Refused(f"objects that do not fill an array of shape {shape}")
    if shape == ():
        return items[0]
    if not items:
        return np.zeros(shape)
    if len(shape) == 1 and not all(type(item) in (int, float, bool) for item in items):
        return items
    array = np.empty(len(items), dtype=object)
    array[:] = items
    array = array.reshape(shape, order="F" if is_fortran else "C")
    if all(type(item) in (int, float, bool) for item in items):
        return array.astype(np.float64)
    return array.tolist()


def checked_shape(shape: Any) -> tuple[int, ...]:
    """A shape of at most 32 whole numbers that are not negative."""
    sides = tuple(map(int, shape))
    if len(sides) > 32 or min(sides, default=0) < 0:
        raise Refused(f"an array of shape {sides}")
    return sides


def array_from_bytes(raw: bytes, dtype: np.dtype, shape: tuple[int, ...], *, is_fortran: bool) -> np.ndarray:
    """The array of those bytes in the machine's byte order. Raises Refused where they are too many or too few."""
    wanted = math.prod(shape) * dtype.itemsize
    if len(raw) != wanted:
        raise Refused(f"an array of shape {shape} needs {wanted} bytes, the file has {len(raw)}")
    array = np.ndarray(shape, dtype, raw, order="F" if is_fortran else "C")
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def octets(value: Any) -> bytes:
    """Bytes, which Python 2 wrote as a string."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise Refused(f"{said(value)} where bytes are expected")
    return value.encode("latin1")


def _text(value: Any) -> str:
    if not isinstance(value, bytes | str):
        raise Refused(f"{said(value)} where a text is expected")
    return value.decode("latin1") if isinstance(value, bytes) else value
