"""Escaped names: any bytes there and back, and nothing in them that a table or a terminal cannot take."""

from __future__ import annotations

import io
import os
import random
import sys

import pyarrow as pa
import pytest

from schemas.errors import SourceError, StorageError
from schemas.escaping import escape_on_terminal, escaped, is_plain, shown, unescaped

NAMES = {
    b"plain [1] $x.mp4": "plain [1] $x.mp4",
    "é.mp4".encode(): "é.mp4",
    b"caf\xe9.mp4": r"caf\xe9.mp4",
    b"caf\\xe9.mp4": r"caf\\xe9.mp4",
    b"a\\\\\\b": r"a\\\\\\b",
    b"\x1b[31m\n\0": r"\x1b[31m\x0a\x00",
    "\u202e\u2028\x9b".encode(): r"\xe2\x80\xae\xe2\x80\xa8\xc2\x9b",
}


@pytest.mark.parametrize(("raw", "text"), NAMES.items())
def test_known_names(raw: bytes, text: str) -> None:
    assert escaped(os.fsdecode(raw)) == text
    assert os.fsencode(unescaped(text)) == raw


def test_any_bytes_come_back_and_no_two_names_share_a_form() -> None:
    rng = random.Random(0)
    alphabet = [
        b"\\",
        b"x",
        b"e",
        b"9",
        b"\xe9",
        b"\xc3",
        b"\xa9",
        b"\x1b",
        b"\xed\xa0\x80",
        b"\n",
        "中".encode(),
        b"\0",
    ]
    forms: dict[str, bytes] = {}
    for _ in range(5000):
        raw = b"".join(rng.choices(alphabet, k=rng.randint(0, 8)))
        text = escaped(os.fsdecode(raw))
        assert is_plain(text)
        assert pa.array([text]).to_pylist() == [text]  # Arrow takes it
        assert os.fsencode(unescaped(text)) == raw
        assert forms.setdefault(text, raw) == raw


def test_what_no_file_can_be_called_is_escaped_too() -> None:
    assert escaped("\ud800") == r"\xed\xa0\x80"
    assert shown(escaped("\ud800")) == escaped("\ud800")


def test_messages_of_errors_are_one_plain_line() -> None:
    error = SourceError("caf\udce9\nerror: forged\x1b[1m.", remedy="\udcff")
    assert str(error) == r"caf\xe9\x0aerror: forged\x1b[1m. \xff"
    assert error.args == (error.message,)
    assert str(StorageError("caf\udce9.", remedy="\x1b")) == r"caf\xe9. \x1b"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_a_stream_that_cannot_hold_a_text_writes_escapes(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    escape_on_terminal()
    print("é\udce9中", flush=True)
    expected = {"ascii": rb"\xc3\xa9\xe9\xe4\xb8\xad", "utf-8": "é".encode() + rb"\xe9" + "中".encode()}
    assert raw.getvalue().strip() == expected.get(encoding, b"\xe9" + rb"\xe9\xe4\xb8\xad")
