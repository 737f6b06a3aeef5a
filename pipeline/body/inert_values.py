"""What a pickle's calls amount to as data: the few constructions of numeric files, out of the file's own bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

_PLAIN_KINDS = "biufSU"


class Refused(Exception):
    """Why a file is not read; becomes an AssetError that names the file."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a file, `module.attribute`; nothing is imported."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attribute}"


@dataclass(slots=True, eq=False)
class Inert:
    """An object of a file: the name of its class, and its state as data."""

    name: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None


class ArrayShell:
    """A numpy array before its state is known (numpy builds it empty, then fills it)."""

    def __init__(self) -> None:
        self.value: Any = None


@dataclass(slots=True, eq=False)
class TypeShell:
    """A numpy dtype before and after its state is known."""

    code: str
    order: Literal["<", ">", "|"] = "|"

    def dtype(self) -> np.dtype:
        dtype = np.dtype(self.code)
        if dtype.kind not in _PLAIN_KINDS:
            raise Refused(f"an array of type {self.code!r}")
        return dtype if self.order == "|" else dtype.newbyteorder(self.order)


def is_inert_class(name: Name) -> bool:
    """Classes whose objects may be kept as name and state; nothing of them is ever run."""
    module = name.module.split(".")
    if module[0] == "chumpy":
        return True
    if module[:2] == ["scipy", "sparse"]:
        return name.attribute in ("csc_matrix", "csr_matrix", "coo_matrix")
    return str(name) == "joblib.numpy_pickle.NumpyArrayWrapper"


def called(function: Name, arguments: tuple[Any, ...]) -> Any:
    """The value of the few calls that numeric files hold; raises for every other."""
    name = str(function).replace("numpy._core.", "numpy.core.")
    if name == "numpy.core.multiarray._reconstruct" and str(arguments[0]) == "numpy.ndarray":
        return ArrayShell()
    if name == "numpy.dtype":
        return TypeShell(_text(arguments[0]))
    if name == "numpy.core.multiarray.scalar" and isinstance(arguments[0], TypeShell):
        return array_from_bytes(octets(arguments[1]), arguments[0].dtype(), (), is_fortran=False).item()
    if name == "numpy.core.numeric._frombuffer" and isinstance(arguments[1], TypeShell):
        raw, kind, shape, order = arguments
        return array_from_bytes(octets(raw), kind.dtype(), tuple(map(int, shape)), is_fortran=order == "F")
    if name == "_codecs.encode" and arguments[1] in ("latin1", "latin-1"):
        return str(arguments[0]).encode("latin1")
    if name in ("__builtin__.set", "builtins.set", "__builtin__.frozenset", "builtins.frozenset"):
        return list(arguments[0]) if arguments else []
    if name in ("__builtin__.bytes", "builtins.bytes") and not arguments:
        return b""
    if name in ("collections.OrderedDict", "collections.defaultdict"):
        return {}
    if name in ("copy_reg._reconstructor", "copyreg._reconstructor") and isinstance(arguments[0], Name):
        if is_inert_class(arguments[0]):
            return Inert(arguments[0])
        raise Refused(f"an object of {arguments[0]}")
    raise Refused(f"it calls {function}")


def filled(state: tuple[Any, ...]) -> Any:
    """An array of its pickled state (version, shape, dtype, is_fortran, bytes); objects become nested lists."""
    shape, kind, is_fortran, raw = state[-4:]
    shape = tuple(map(int, shape))
    if not isinstance(kind, TypeShell):
        raise Refused("an array without a type")
    if kind.code.startswith("O"):
        if not isinstance(raw, list) or len(raw) != np.prod(shape, dtype=object):
            raise Refused(f"{len(raw)} objects for an array of shape {shape}")
        return raw[0] if shape == () else raw
    return array_from_bytes(octets(raw), kind.dtype(), shape, is_fortran=bool(is_fortran))


def array_from_bytes(raw: bytes, dtype: np.dtype, shape: tuple[int, ...], *, is_fortran: bool) -> np.ndarray:
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if min(shape, default=0) < 0 or len(raw) != wanted:
        raise Refused(f"an array of shape {shape} needs {wanted} bytes, the file has {len(raw)}")
    array = np.frombuffer(raw, dtype).reshape(shape, order="F" if is_fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def octets(value: Any) -> bytes:
    """Bytes, which Python 2 wrote as a string."""
    return value.encode("latin1") if isinstance(value, str) else bytes(memoryview(value))


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def without_shells(value: Any, known: dict[int, Any]) -> Any:
    """Arrays in place of the shells that held them; each object is looked at once."""
    if isinstance(value, ArrayShell):
        return without_shells(value.value, known)
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, list):
        known[id(value)] = value
        value[:] = [without_shells(item, known) for item in value]
    elif isinstance(value, dict):
        known[id(value)] = value
        for key in value:
            value[key] = without_shells(value[key], known)
    elif isinstance(value, tuple):
        known[id(value)] = replaced = tuple(without_shells(item, known) for item in value)
        return replaced
    elif isinstance(value, Inert):
        known[id(value)] = value
        value.state = without_shells(value.state, known)
    return value
