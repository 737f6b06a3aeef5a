"""Pickles as Python 2 wrote them in protocol 0, all text: strings are quoted and escaped, their bytes latin-1."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from scipy import sparse


class ChumpyArray:
    """Stands for a `chumpy.ch.Ch` of values."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values


class Python2Pickle:
    """Writes a value; every string and container gets a memo entry, as Python 2's pickler gave it one."""

    def __init__(self) -> None:
        self._out, self._entries = io.BytesIO(), 0

    def bytes_of(self, value: Any) -> bytes:
        """The whole file."""
        self._write(value)
        return self._out.getvalue() + b"."

    def _put(self) -> None:
        self._out.write(b"p%d\n" % self._entries)
        self._entries += 1

    def _write(self, value: Any) -> None:
        out = self._out
        if value is None:
            out.write(b"N")
        elif isinstance(value, bool):
            out.write(b"I01\n" if value else b"I00\n")
        elif isinstance(value, int):
            out.write(b"I%d\n" % value if abs(value) < 2**31 else b"L%dL\n" % value)
        elif isinstance(value, float):
            out.write(f"F{value!r}\n".encode())
        elif isinstance(value, str | bytes):
            raw = value.encode("latin-1") if isinstance(value, str) else value
            out.write(b"S" + repr(raw)[1:].encode() + b"\n")  # Python 2 quoted and escaped in the same way
            self._put()
        elif isinstance(value, tuple):
            out.write(b"(")
            for item in value:
                self._write(item)
            out.write(b"t")
            self._put()
        elif isinstance(value, list | dict):
            self._container(value)
        elif isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, ChumpyArray):
            state = {"x": value.values, "_dirty_vars": ["x"], "_itr": None, "_status": "new"}
            self._object(b"chumpy.ch\nCh\n", state)
        elif sparse.issparse(value):
            state = {"_shape": value.shape, "maxprint": 50, "data": value.data, "indices": value.indices,
                     "indptr": value.indptr, "format": "csc"}  # fmt: skip
            self._object(b"scipy.sparse.csc\ncsc_matrix\n", state)
        else:
            raise TypeError(type(value))

    def _container(self, value: list | dict) -> None:
        self._out.write(b"(lp%d\n" % self._entries if isinstance(value, list) else b"(dp%d\n" % self._entries)
        self._entries += 1
        items = [(item,) for item in value] if isinstance(value, list) else list(value.items())
        for item in items:
            for part in item:
                self._write(part)
            self._out.write(b"a" if isinstance(value, list) else b"s")

    def _object(self, name: bytes, state: dict) -> None:
        self._out.write(b"ccopy_reg\n_reconstructor\n(c" + name + b"c__builtin__\nobject\nNtR")
        self._put()
        self._write(state)
        self._out.write(b"b")

    def _array(self, array: np.ndarray) -> None:
        self._out.write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR")
        self._put()
        self._out.write(b"(I1\n")
        self._write(array.shape)
        self._out.write(
            b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb" % array.dtype.str[1:].encode()
        )
        is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        self._write(bool(is_fortran))
        self._write(array.tobytes(order="A"))
        self._out.write(b"tb")
