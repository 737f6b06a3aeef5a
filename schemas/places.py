"""Paths that a command is given: what is to be written must be possible, and is refused before any work is done.

The functions are types of argparse's arguments: they take the text and return it, or raise SettingsError.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from schemas.errors import SettingsError, SourceError

_USERS = {
    errno.EISDIR, errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC,
    errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.ETXTBSY,
}  # fmt: skip
"""What a path can be to blame for; other errors of the system are bugs or broken hardware."""


def file_to_write(text: str) -> str:
    """A file that does not exist, or one to be replaced; its folder may be missing."""
    if not text or text.endswith("/") or os.path.isdir(text):
        raise SettingsError(
            f"{text!r} is a folder; the name of a file is needed."
            if text
            else "the name of the file to write is empty.",
            remedy=f"Give the name of a file, for example {os.path.join(text or 'folder', 'NAME')}.",
        )
    if os.path.lexists(text) and not os.access(text, os.W_OK) and os.path.exists(text):
        raise SettingsError(
            f"{text} is not writable.", remedy="Change its permissions, or give another name."
        )
    _require_writable(text, os.path.dirname(os.path.abspath(text)))
    return text


def folder_to_write(text: str) -> str:
    """A folder that exists, or one to be made."""
    if not text or (os.path.lexists(text) and not os.path.isdir(text)):
        raise SettingsError(
            f"{text!r} is not a folder that files can be written into.", remedy="Give a folder."
        )
    _require_writable(text, os.path.abspath(text))
    return text


def existing_path(text: str) -> str:
    """A file or folder that is there."""
    if not text or "\0" in text or not os.path.lexists(text):
        raise SourceError(f"{text!r}: no such file or folder.", remedy="Check the path.")
    return text


def existing_file(text: str) -> str:
    """A file that is there."""
    if os.path.isdir(existing_path(text)):
        raise SourceError(f"{text!r} is a folder; a file is needed.", remedy="Give a file.")
    return text


def plain_file_to_write(text: str) -> str:
    """`file_to_write` for libraries that take no name but UTF-8."""
    return file_to_write(plain_path(text))


def plain_folder_to_write(text: str) -> str:
    """`folder_to_write` for libraries that take no name but UTF-8."""
    return folder_to_write(plain_path(text))


def folder_or_bucket(text: str) -> str:
    """Where a dataset is to be made: an address of a bucket, or `plain_folder_to_write`."""
    return plain_path(text) if "://" in text else plain_folder_to_write(text)


def plain_path(text: str) -> str:
    """A path that Arrow can open: its name is UTF-8. Addresses of buckets pass."""
    try:
        os.fsencode(text).decode()
    except UnicodeError:
        raise SettingsError(
            f"{text}: its name is not UTF-8, the only encoding that the libraries for tables accept.",
            remedy="Rename it, or give a relative path from inside its folder. (Films may have any name.)",
        ) from None
    return text


def made_parent(path: str | Path) -> Path:
    """The path, once its folder exists."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path)


def about_argument(error: OSError, arguments: Iterable[object]) -> SettingsError | None:
    """What the system says about a path that a command was given, as an error for its user; None for anything else."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return SettingsError(
            f"the disk is full{where}.", remedy="Free some space, then run the command again."
        )
    if error.errno not in _USERS or not isinstance(error.filename, str | bytes | os.PathLike):
        return None
    blamed = os.path.abspath(os.fsdecode(error.filename))
    for text in _texts(arguments):
        place = os.path.abspath(text)
        if f"{blamed}/".startswith(f"{place}/") or (blamed != "/" and place.startswith(f"{blamed}/")):
            return SettingsError(
                f"{os.fsdecode(error.filename)}: {error.strerror}.",
                remedy="Check the path, what lies there, and its permissions.",
            )
    return None


def _texts(arguments: Iterable[object]) -> Iterable[str]:
    for argument in arguments:
        if isinstance(argument, str) and argument and "\0" not in argument:
            yield from (argument, argument.partition("=")[2] or argument)
        elif isinstance(argument, list | tuple):
            yield from _texts(argument)


def _require_writable(text: str, folder: str) -> None:
    place = folder
    while not os.path.lexists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise SettingsError(
            f"{text} cannot be written: {place} is not a folder.", remedy="Give a path in a folder."
        )
    try:  # rights do not tell all: a disk may be mounted read-only, and root has every right
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise SettingsError(
            f"{text} cannot be written into {place}: {error.strerror}.", remedy="Give another path."
        ) from None
