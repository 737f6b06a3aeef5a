"""Text pickles of Python 2 (protocol 0): strings hold any bytes, quoted and escaped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.body.inert_pickle import read_pickle
from schemas.errors import AssetError
from tests.pipeline.body.python2_pickles import Python2Pickle


def written(folder: Path, data: bytes) -> Path:
    path = folder / "file.pkl"
    path.write_bytes(data)
    return path


def test_strings_of_protocol_0_hold_any_bytes(tmp_path: Path) -> None:
    every = bytes(range(256))
    values = [
        every,
        b"it's",
        b'"',
        b"\\",
        b"",
        b"a\nb",
        2**40,
        -5,
        True,
        False,
        1.5,
        None,
        (1, [2, {"k": b"\xff"}]),
    ]
    found = read_pickle(written(tmp_path, Python2Pickle().bytes_of(values)))
    assert [item.encode("latin-1") for item in found[:6]] == values[:6]
    assert found[6:12] == values[6:12]
    assert [type(item) for item in found[8:10]] == [bool, bool]
    assert found[12] == (1, [2, {"k": "\xff"}])
    array = np.arange(7, dtype=np.float64) / 3
    found = read_pickle(
        written(tmp_path, Python2Pickle().bytes_of({"a": array, "f": np.asfortranarray(np.eye(2, 3))}))
    )
    np.testing.assert_array_equal(found["a"], array)
    np.testing.assert_array_equal(found["f"], np.eye(2, 3))
    for damaged in (b"S'abc\n.", b"Sabc\n.", b"S'\n.", b"S'a\"\n.", b"S'\\x4'\n."):
        with pytest.raises(AssetError):
            read_pickle(written(tmp_path, damaged))
