"""torch's tensors as data: storages of bytes, and arrays that view them by offset, size and stride."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.body.inert_values import Name, Refused, checked_shape, said

_TYPES = {
    "Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": "bfloat16", "Long": "<i8", "Int": "<i4",
    "Short": "<i2", "Char": "<i1", "Byte": "<u1", "Bool": "|b1", "Untyped": "<u1",
}  # fmt: skip
_DTYPES = {
    "float64": "<f8", "double": "<f8", "float32": "<f4", "float": "<f4", "float16": "<f2", "half": "<f2",
    "bfloat16": "bfloat16", "int64": "<i8", "long": "<i8", "int32": "<i4", "int": "<i4", "int16": "<i2",
    "short": "<i2", "int8": "<i1", "uint8": "<u1", "bool": "|b1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
}  # fmt: skip
MAX_REPEATED = 1 << 26
"""Elements a view may have where it has more than its storage: an expanded K of an hour's frames has a million."""


@dataclass(slots=True, eq=False)
class Storage:
    """The numbers of one or several tensors; `raw` is None while a legacy file's description is read."""

    code: str
    count: int
    raw: bytes | memoryview | None = None
    _known: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def item_bytes(self) -> int:
        return 2 if self.code == "bfloat16" else np.dtype(self.code).itemsize

    def numbers(self, code: str | None = None) -> np.ndarray:
        """(count,) numbers; bfloat16, which numpy lacks, as float32."""
        assert self.raw is not None
        code = code or self.code
        if code not in self._known:
            if code == "bfloat16":
                wide = np.frombuffer(self.raw, "<u2").astype(np.uint32) << 16
                self._known[code] = wide.view(np.float32)
            else:
                self._known[code] = np.frombuffer(self.raw, np.dtype(code))
        return self._known[code]


def storage_code(kind: Any) -> str:
    """numpy's name of a storage's type, of `torch.FloatStorage` and the like. Raises Refused."""
    name = kind.attribute if isinstance(kind, Name) and kind.module in ("torch", "torch.storage") else ""
    code = _TYPES.get(name.removesuffix("Storage"))
    if code is None:
        raise Refused(f"a tensor of type {said(kind)}")
    return code


def tensor_call(function: Name, arguments: tuple[Any, ...]) -> Any:
    """The value of torch's own calls in a pickle; raises Refused for any other."""
    name = function.attribute
    if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
        return _view(*arguments[:4])
    if name == "_rebuild_tensor_v3":
        dtype = arguments[6]
        code = _DTYPES.get(dtype.attribute) if isinstance(dtype, Name) else None
        if code is None:
            raise Refused(f"a tensor of type {said(dtype)}")
        storage, offset, size, stride = arguments[:4]
        return _view(storage, offset, size, stride, code)
    if name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
        return arguments[0]
    if name == "_rebuild_from_type_v2" and isinstance(arguments[0], Name):
        return tensor_call(arguments[0], arguments[2])
    if name == "_rebuild_device_tensor_from_numpy":
        return arguments[0]
    if name == "Size":
        return tuple(arguments[0])
    if name == "device":
        return "device"
    raise Refused(f"it calls {function}")


def _view(storage: Any, offset: Any, size: Any, stride: Any, code: str | None = None) -> np.ndarray | None:
    """torch's as_strided within the storage. Raises Refused where it would leave it."""
    if not isinstance(storage, Storage):
        raise Refused("a tensor without a storage")
    if storage.raw is None:
        return None
    shape, steps, begin = checked_shape(size), checked_shape(stride), int(offset)
    numbers = storage.numbers(code)
    if len(shape) != len(steps) or begin < 0:
        raise Refused(f"a tensor of shape {shape} with strides {steps} at {begin}")
    count = math.prod(shape)
    if count == 0:
        return np.zeros(shape, numbers.dtype)
    last = begin + sum((side - 1) * step for side, step in zip(shape, steps))
    if last >= len(numbers):
        raise Refused(f"a tensor of shape {shape} needs {last + 1} numbers, its storage has {len(numbers)}")
    if count > max(len(numbers), MAX_REPEATED):
        raise Refused(f"a tensor of shape {shape} that repeats {len(numbers)} numbers")
    item = numbers.dtype.itemsize
    return np.lib.stride_tricks.as_strided(
        numbers[begin:], shape, tuple(step * item for step in steps), writeable=False
    )
