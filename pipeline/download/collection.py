"""A folder of fetched videos: one archive line each, metadata beside it, and a manifest that `run` reads.

    videos/NAME.mp4   metadata/NAME.json   archive.jsonl   clips.jsonl

A video is listed in `archive.jsonl` when its file is complete, hashed and renamed into place; what is listed and still
has its hash is not fetched again. A download that was cut off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.download.addresses import video_address
from pipeline.download.refusals import DownloadError
from pipeline.download.video_site import VideoSite
from pipeline.video.source import VIDEO_SUFFIXES, checked_id, id_of
from schemas.errors import HumandepthError, SourceError

MAX_ENTRIES = 10_000
"""Longest play list that is followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """One line of archive.jsonl."""

    name: str
    """Becomes the clip id."""
    address: str
    file: str
    """Relative to the folder."""
    sha256: str
    size_bytes: int
    fetched_with: str
    fetched_at: str
    """UTC, ISO 8601."""
    extractor: str
    video_id: str
    title: str
    uploader: str
    upload_date: str
    licence: str
    duration_s: float | None
    width_px: int | None
    height_px: int | None
    fps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a download."""

    fetched: tuple[Fetched, ...]
    already_there: tuple[Fetched, ...]
    failures: tuple[tuple[str, HumandepthError], ...]


class Collection:
    """The folder. Safe to stop at any moment and to run again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._archive = folder / "archive.jsonl"
        try:
            for part in ("videos", "metadata"):
                (folder / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(
                f"{folder} cannot be made: {error.strerror}.", remedy="Give another --out folder."
            ) from None

    @property
    def entries(self) -> dict[str, Fetched]:
        """Archive lines by name; of two with one name the later counts. A line that was cut off is not one."""
        if not self._archive.exists():
            return {}
        known = {each.name for each in fields(Fetched)}
        found = {}
        for line in self._archive.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                values = json.loads(line)
                entry = Fetched(**{name: value for name, value in values.items() if name in known})
            except (ValueError, TypeError, AttributeError):
                continue
            found[entry.name] = entry
        return found

    def download(
        self,
        texts: Sequence[str],
        site: VideoSite,
        *,
        pause_s: float,
        allow_private: bool = False,
        say: Callable[[str], None] = print,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Outcome:
        """Fetches ids and addresses one after the other, `pause_s` seconds apart; one that fails stops no other.

        Raises SourceError before anything is fetched where an id or address is not allowed.
        """
        addresses = list(dict.fromkeys(video_address(text, allow_private=allow_private) for text in texts))
        fetched, present, failures = [], [], []
        has_asked = False
        queue: list[str] = addresses
        while queue:
            address = queue.pop(0)
            known = self._known(address)
            if known is not None:
                say(f"{address}: already there, {known.file}")
                present.append(known)
                continue
            if has_asked:
                sleep(pause_s)
            has_asked = True
            try:
                info = site.describe(address)
                if info.get("_type") in ("playlist", "multi_video"):
                    queue[:0] = [found for found in _entries(info, allow_private) if found != address]
                    continue
                entry = self._fetch(address, info, site)
            except HumandepthError as error:
                say(f"failed: {error}")
                failures.append((address, error))
                continue
            say(f"{entry.file}: {entry.size_bytes:,} bytes, SHA-256 {entry.sha256[:12]}..., {entry.title!r}")
            fetched.append(entry)
        self._write_manifest()
        return Outcome(fetched=tuple(fetched), already_there=tuple(present), failures=tuple(failures))

    def _known(self, address: str) -> Fetched | None:
        for entry in self.entries.values():
            path = self._folder / "videos" / Path(entry.file).name
            if entry.address == address and path.is_file() and _sha256(path) == entry.sha256:
                return entry
        return None

    def _fetch(self, address: str, info: dict[str, Any], site: VideoSite) -> Fetched:
        name = name_of(info, address)
        _publish(
            self._folder / "metadata" / f"{name}.json",
            json.dumps(info, indent=1, sort_keys=True, default=str),
        )
        self._drop_stale(name)
        try:
            path = site.fetch(info, self._folder / "videos" / name)
        except OSError as error:
            raise DownloadError(
                f"{address}: {error.strerror or error}.",
                remedy="Free space, then run the same command again.",
            ) from None
        if path.suffix.lower() not in VIDEO_SUFFIXES or path.stem != name or path.parent.name != "videos":
            path.unlink(missing_ok=True)
            raise SourceError(f"{address}: {path.name} is not a video file.", remedy="Give another address.")
        entry = Fetched(
            name=name,
            address=address,
            file=f"videos/{path.name}",
            sha256=_sha256(path),
            size_bytes=path.stat().st_size,
            fetched_with=site.version,
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
            extractor=_text(info, "extractor_key", "extractor"),
            video_id=_text(info, "id"),
            title=_text(info, "title"),
            uploader=_text(info, "uploader", "channel"),
            upload_date=_text(info, "upload_date"),
            licence=_text(info, "license"),
            duration_s=_number(info.get("duration")),
            width_px=None if (width := _number(info.get("width"))) is None else int(width),
            height_px=None if (height := _number(info.get("height"))) is None else int(height),
            fps=_number(info.get("fps")),
        )
        self._append(entry)
        return entry

    def _drop_stale(self, name: str) -> None:
        """A complete file under this name is not (or no longer) in the archive: it is not trusted."""
        for path in (self._folder / "videos").iterdir():
            if path.stem == name and path.suffix != ".part":
                path.unlink()

    def _append(self, entry: Fetched) -> None:
        line = json.dumps(asdict(entry), sort_keys=True) + "\n"
        with self._archive.open("a+b") as file:
            if file.tell() and _last_byte(self._archive) != b"\n":
                file.write(b"\n")  # the line before was cut off
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def _write_manifest(self) -> None:
        rows = [
            {"clip_id": name, "source_id": name, "uri": entry.file, "licence": entry.licence}
            for name, entry in sorted(self.entries.items())
        ]
        _publish(self._folder / "clips.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def name_of(info: dict[str, Any], address: str) -> str:
    """The name of a video's files: site and id where both are harmless. Raises SourceError where an id is not.

    Plain files have no id of their own, only the last part of their address: those are named by a digest.
    """
    site = _text(info, "extractor_key", "extractor").lower()
    if site in ("", "generic"):
        return id_of(address)
    return checked_id(f"{site}-{_text(info, 'id')}")


def _entries(info: dict[str, Any], allow_private: bool) -> Iterator[str]:
    for entry in list(info.get("entries") or ())[:MAX_ENTRIES]:
        found = (entry or {}).get("webpage_url") or (entry or {}).get("url")
        if isinstance(found, str):
            yield video_address(found, allow_private=allow_private)


def _text(info: dict[str, Any], *names: str) -> str:
    return next((str(info[name]) for name in names if info.get(name) not in (None, "")), "")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _publish(path: Path, text: str) -> None:
    spool = path.with_name(f".{path.name}.part")
    spool.write_text(text, encoding="utf-8")
    os.replace(spool, path)
