"""Where a clip lies and what it is called: addresses as `ClipRef.uri` holds them, paths, and ids.

`ClipRef.uri` is an escaped name (`schemas.escaping`). Addresses that a user gives are names as they are; they are
escaped once, where they enter, and unescaped where a file is opened.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from schemas.errors import SourceError
from schemas.escaping import escaped, unescaped

MAX_ID_LENGTH = 120
BUCKET_SCHEMES = ("gs://", "s3://", "hdfs://", "azfs://")
"""Addresses that Beam's file systems can read, each with Beam's extra for it."""

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_WEB = re.compile(r"^https?://", re.IGNORECASE)
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def has_scheme(address: str) -> bool:
    """Whether an address is of the kind scheme://..., not a path."""
    return _SCHEME.match(address) is not None


def is_web(address: str) -> bool:
    """Whether an address is one of the web, which `run` never reads."""
    return _WEB.match(address) is not None


def uri_of(address: str) -> str:
    """The `ClipRef.uri` of a path or address as a user gives it: absolute and escaped."""
    return escaped(address if has_scheme(address) else os.path.abspath(address))


def local_path(uri: str) -> Path:
    """The path on this machine of a clip's uri. Raises SourceError for any other kind of address."""
    address = unescaped(uri)
    if not has_scheme(address):
        if not address or "\0" in address:
            raise SourceError(f"{address!r} is not a path.", remedy="Name a video file.")
        return Path(address)
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise SourceError(f"{uri} is not an address: {error}.", remedy="Name a video file.") from None
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost"):
        return Path(os.fsdecode(unquote_to_bytes(parts.path.encode("utf-8", "surrogateescape"))))
    raise SourceError(
        f"{uri}: {parts.scheme}:// cannot be read here.",
        remedy="Fetch it first: python -m pipeline download ADDRESS --out FOLDER; then run FOLDER/clips.jsonl."
        if is_web(address)
        else "Name local files, or clips in buckets (gs://, s3://, hdfs://, azfs://); manifests are local.",
    )


def checked_id(text: str) -> str:
    """`text` if it may become part of a file name: letters, digits, '.', '_' and '-', at most 120, no leading dot."""
    if len(text) > MAX_ID_LENGTH or not _ID.fullmatch(text):
        short = text if len(text) <= MAX_ID_LENGTH else f"{text[:40]}... ({len(text)} characters)"
        raise SourceError(
            f"the id {short!r} is not allowed.",
            remedy=f"Use 1 to {MAX_ID_LENGTH} letters, digits, '.', '_' or '-', not starting with a dot.",
        )
    return text


def id_of(address: str, *window: float | None) -> str:
    """An id made of the file's name and a digest of its absolute address (and of its window, where it has one).

    The same address gives the same id whatever the file holds; two addresses never share one.
    """
    absolute = address if has_scheme(address) else os.path.abspath(address)
    named = _bytes_of(absolute)
    if any(value is not None for value in window):
        named += f"\n{window!r}".encode()
    digest = hashlib.sha256(named).hexdigest()[:10]
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(absolute).stem).strip("-")[:60] or "clip"
    return checked_id(f"{stem}-{digest}")


def _bytes_of(address: str) -> bytes:
    """The bytes of a name, whatever the locale; characters that no name can hold by their code."""
    try:
        return os.fsencode(address)
    except UnicodeEncodeError:
        return address.encode("utf-8", "surrogatepass")
