"""Names and texts from outside as text that Arrow, JSON, a log and a terminal can hold.

A file's name is bytes. Python reads those that are not UTF-8 as lone surrogates, which no UTF-8 file or table can
hold, and names may carry control characters, which command a terminal. One form of escaping is used everywhere:

    \\xNN   one byte of the name: every byte that is not UTF-8, and the bytes of control characters, of line and
           paragraph separators and of marks that turn the direction of writing
    \\\\     a backslash

`escaped` and `unescaped` are inverse to each other, so an escaped name opens its file in every process, whatever the
locale. A name of plain characters without a backslash is its own escaped form.
"""

from __future__ import annotations

import codecs
import os
import re
import sys

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|\\)")
_FILE_NAMES_ARE_UTF8 = sys.getfilesystemencoding() == "utf-8"
_STREAM_ERRORS = "humandepth-escape"


def escaped(name: str) -> str:
    """The escaped form of a name or text (surrogates stand for bytes, as `os.fsdecode` makes them)."""
    return shown(name.replace("\\", "\\\\"))


def unescaped(text: str) -> str:
    """The name whose escaped form this is, as `open` takes it; a backslash that begins no escape stands for itself."""
    if "\\" not in text and (_FILE_NAMES_ARE_UTF8 or text.isascii()):
        return text
    raw = text.encode("utf-8", "surrogatepass")
    name = _ESCAPE.sub(lambda found: b"\\" if found[1] is None else bytes([int(found[1], 16)]), raw)
    return os.fsdecode(name)


def shown(text: object) -> str:
    """A text, or what `str` makes of a value, as one line that can be stored and printed: `escaped` without doubled
    backslashes, so that what is escaped already stays as it is. For messages; it cannot be undone.
    """
    return _UNSAFE.sub(_bytes_of, _as_utf8(str(text)))


def is_plain(text: str) -> bool:
    """Whether a text can be stored and printed as it is."""
    return _UNSAFE.search(text) is None


def escape_on_terminal() -> None:
    """Makes stdout and stderr write what their encoding cannot hold as escapes, in place of UnicodeEncodeError."""
    codecs.register_error(_STREAM_ERRORS, _escape_what_fails)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_STREAM_ERRORS)


def _as_utf8(text: str) -> str:
    """Under a locale that is not UTF-8 the same bytes are read as other characters: undone here."""
    if _FILE_NAMES_ARE_UTF8 or text.isascii():
        return text
    try:
        return os.fsencode(text).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text


def _bytes_of(found: re.Match[str]) -> str:
    character = found[0]
    lone_byte = "\udc80" <= character <= "\udcff"
    raw = character.encode("utf-8", "surrogateescape" if lone_byte else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def _escape_what_fails(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    failing = error.object[error.start : error.end]
    return re.sub("(?s).", _bytes_of, failing), error.end
