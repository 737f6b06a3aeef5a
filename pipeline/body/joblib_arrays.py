"""Arrays in files of joblib: a description among the instructions (`NumpyArrayWrapper`), its bytes right behind it.

A film's file has millions of descriptions and few different ones, which from the second on are the same bytes (names
and types are asked for by their place in the memo). They are understood once: three times as fast.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.body.inert_values import Inert, Name, Refused, TypeShell, array_from_bytes, checked_shape
from pipeline.body.pickle_source import PickleSource

CLASS = Name("joblib.numpy_pickle", "NumpyArrayWrapper")
WRAPPER = Inert(CLASS)
"""Stands for all of a file's descriptions: each is replaced by its array at once."""
_GET = rb"(?:h.|j....)"
_NUMBER = rb"(?:K.|M..|J....)"
_SHAPE = rb"(?:\)|(?:" + _NUMBER + rb"){1,3}[\x85\x86\x87]\x94|\((?:" + _NUMBER + rb"){4,32}t\x94)"
_VALUE = rb"(?:" + _GET + rb"|" + _SHAPE + rb"|" + _NUMBER + rb"|[\x88\x89N])"
REPEATED = re.compile(rb"\x94\}\x94\((?:" + _GET + _VALUE + rb"){4,8}ub", re.DOTALL)
"""A description from behind NEWOBJ to BUILD that names nothing new: remembered, empty dictionary, keys and values."""


@dataclass(frozen=True, slots=True)
class Description:
    """One kind of array; `dtype` is None for objects, which follow as a pickle of their own."""

    dtype: np.dtype | None
    shape: tuple[int, ...]
    is_fortran: bool
    is_padded: bool
    byte_count: int
    memoised: int = 0
    """Entries that its instructions add to the memo."""

    def read(self, source: PickleSource) -> np.ndarray:
        """The array behind the description."""
        assert self.dtype is not None
        self._skip_padding(source)
        raw = source.take(self.byte_count)
        return array_from_bytes(raw, self.dtype, self.shape, is_fortran=self.is_fortran)

    def skip(self, source: PickleSource) -> None:
        """Passes over the array."""
        self._skip_padding(source)
        source.skip(self.byte_count)

    def _skip_padding(self, source: PickleSource) -> None:
        """From joblib 1.2 on: a byte that says how many follow it before the array is aligned."""
        if self.is_padded:
            source.take(source.take(1)[0])


def forget(state: dict[str, Any], memo: list[Any]) -> None:
    """Descriptions are memoised and never asked for again: a gigabyte in an hour of two people."""
    shape = state["shape"]
    for index in range(len(memo) - 1, max(-1, len(memo) - 20), -1):
        if memo[index] is state or memo[index] is shape:
            memo[index] = None
        elif memo[index] is WRAPPER:
            break


def description_of(state: dict[str, Any], memoised: int) -> Description:
    """What joblib says of an array. Raises Refused for the files of joblib before 0.10, which keep arrays beside."""
    if "shape" not in state or not isinstance(state["dtype"], TypeShell):
        raise Refused("a joblib array without its bytes in this file")
    kind, shape = state["dtype"], checked_shape(state["shape"])
    dtype = None if kind.code.startswith("O") else kind.dtype()
    return Description(
        dtype=dtype,
        shape=shape,
        is_fortran=state["order"] == "F",
        is_padded=state.get("numpy_array_alignment_bytes") is not None,
        byte_count=math.prod(shape) * (dtype.itemsize if dtype is not None else 0),
        memoised=memoised,
    )
