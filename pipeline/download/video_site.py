"""yt-dlp behind two calls: what is at an address, and fetch it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pipeline.download.addresses import checked_scheme, is_youtube, public_addresses_only
from pipeline.download.refusals import DownloadError, download_error
from schemas.errors import HumandepthError, SettingsError

JS_RUNTIMES = {"deno": "deno", "node": "node", "bun": "bun", "quickjs": "qjs"}
"""What yt-dlp can run YouTube's player code with: its name, the program."""
FORMAT = "bestvideo[ext=mp4]{limits}/best{limits}/best[protocol^=http]"
FORMAT_LIMITS = "[protocol^=http][height<=?{height}]"
"""Pictures only: sound is not needed, so nothing has to be merged."""
SOCKET_TIMEOUT_S = 30.0
RETRIES = 3


class VideoSite(Protocol):
    """Where videos come from."""

    version: str
    """Name and version of what fetches."""

    def describe(self, address: str) -> dict[str, Any]:
        """Metadata of a video, or of a list of them (`entries`)."""

    def fetch(self, info: dict[str, Any], stem: Path) -> Path:
        """Downloads a described video to `stem` plus its ending; goes on with what is there of it."""


class YtDlpSite:
    """Every site yt-dlp knows, and plain video files. Raises SettingsError where yt-dlp is not installed."""

    def __init__(
        self, *, rate_mb_per_s: float, max_gb: float, max_height_px: int, allow_private: bool = False
    ) -> None:
        try:
            import yt_dlp
            import yt_dlp.version
        except ModuleNotFoundError:
            raise SettingsError(
                "downloading needs yt-dlp, which is not installed.",
                remedy="Run: pip install 'humandepth[youtube]'",
            ) from None
        self._yt_dlp, self._allow_private = yt_dlp, allow_private
        self.version = f"yt-dlp {yt_dlp.version.__version__}"
        self._warnings: list[str] = []
        self._options: dict[str, Any] = {
            "format": FORMAT.format(limits=FORMAT_LIMITS.format(height=max_height_px)),
            "ratelimit": rate_mb_per_s * 1e6,
            "max_filesize": round(max_gb * 1e9),
            "logger": _Notes(self._warnings),
            "noprogress": True,
            "quiet": True,
            "continuedl": True,
            "overwrites": False,
            "extract_flat": "in_playlist",
            "socket_timeout": SOCKET_TIMEOUT_S,
            "retries": RETRIES,
            "fragment_retries": RETRIES,
            "cachedir": False,
            "enable_file_urls": False,
            "external_downloader": {},
            "fixup": "never",
            "js_runtimes": {name: {} for name, program in JS_RUNTIMES.items() if shutil.which(program)},
        }

    def describe(self, address: str) -> dict[str, Any]:
        """See `VideoSite.describe`."""
        if is_youtube(address) and not self._options["js_runtimes"]:
            raise DownloadError(
                f"{address}: YouTube needs a JavaScript runtime, and none is installed.",
                remedy="Install deno (https://deno.com) or node 20 or later, then run the same command again.",
            )
        with self._downloader(address, {}) as downloader:
            info = downloader.extract_info(address, download=False)
            facts: dict[str, Any] = downloader.sanitize_info(info)
            return facts

    def fetch(self, info: dict[str, Any], stem: Path) -> Path:
        """See `VideoSite.fetch`."""
        address = str(info.get("webpage_url") or info.get("original_url") or info.get("id"))
        template = str(stem).replace("%", "%%") + ".%(ext)s"
        with self._downloader(address, {"outtmpl": {"default": template}}) as downloader:
            done = downloader.process_ie_result(dict(info), download=True)
        paths = [
            Path(part["filepath"]) for part in done.get("requested_downloads") or () if part.get("filepath")
        ]
        if len(paths) != 1 or not paths[0].is_file():
            raise download_error(
                address, self._warnings[-1] if self._warnings else "no file came", self._warnings
            )
        if os.path.abspath(paths[0].parent) != os.path.abspath(stem.parent):
            raise DownloadError(
                f"{address}: yt-dlp wrote {paths[0]}, outside {stem.parent}.",
                remedy="Please report this as a bug.",
            )
        return paths[0]

    @contextmanager
    def _downloader(self, address: str, more: dict[str, Any]) -> Iterator[Any]:
        allow_private = self._allow_private

        class Guarded(self._yt_dlp.YoutubeDL):  # type: ignore[name-defined]
            """Looks at every request, and at where redirects ended."""

            def urlopen(self, req: Any) -> Any:
                checked_scheme(req if isinstance(req, str) else req.url, allow_private=allow_private)
                response = super().urlopen(req)
                checked_scheme(response.url, allow_private=allow_private)
                return response

        self._warnings.clear()
        try:
            with (
                public_addresses_only(allow_private=allow_private),
                Guarded({**self._options, **more}) as downloader,
            ):
                yield downloader
        except self._yt_dlp.utils.YoutubeDLError as error:
            raise (_typed_cause(error) or download_error(address, str(error), self._warnings)) from None


def _typed_cause(error: BaseException | None) -> HumandepthError | None:
    """Our own error that a library wrapped into its own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, HumandepthError):
            return error
        seen.add(id(error))
        wrapped = getattr(error, "exc_info", None)
        inner = wrapped[1] if wrapped and wrapped[1] is not error else None
        error = getattr(error, "cause", None) or inner or error.__cause__ or error.__context__
    return None


class _Notes:
    """yt-dlp's logger: keeps warnings, shows nothing."""

    def __init__(self, warnings: list[str]) -> None:
        self._warnings = warnings

    def debug(self, text: str) -> None:
        if "max-filesize" in text:
            self._warnings.append(text)

    def info(self, text: str) -> None:
        """Not shown."""

    def warning(self, text: str) -> None:
        self._warnings.append(text)

    def error(self, text: str) -> None:
        """Comes as an exception too."""
