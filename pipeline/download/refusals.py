"""What goes wrong on the web, as errors that say what to do."""

from __future__ import annotations

from schemas.errors import HumandepthError, SourceError


class DownloadError(HumandepthError):
    """A video that could not be fetched: network, site, format."""

    reason = "not-downloaded"
    retryable = True


class RefusedError(DownloadError):
    """The site said no: bot wall, private or removed video, region, age."""

    reason = "refused-by-site"


_REFUSALS: tuple[tuple[tuple[str, ...], type[HumandepthError], str], ...] = (
    (
        ("javascript runtime", "js runtime", "n challenge", "challenge solving failed"),
        DownloadError,
        "Install a JavaScript runtime (deno, or node 20 or later) and `pip install -U 'yt-dlp[default]'`.",
    ),
    (
        ("not a bot", "http error 429", "too many requests", "captcha"),
        RefusedError,
        "Wait some hours, raise --pause-s, or download in your browser and give the file to `run`.",
    ),
    (
        ("private video", "members-only", "sign in", "login required", "confirm your age", "drm"),
        RefusedError,
        "Only videos that anybody may watch can be fetched.",
    ),
    (
        (
            "video unavailable",
            "removed",
            "not available",
            "has been terminated",
            "http error 404",
            "http error 410",
        ),
        RefusedError,
        "Check the address in a browser.",
    ),
    (
        ("http error 403", "forbidden"),
        RefusedError,
        "Update yt-dlp (`pip install -U 'yt-dlp[default]'`), or wait some hours.",
    ),
    (
        ("unsupported url",),
        SourceError,
        "Give the address of one video that yt-dlp knows, or of a video file.",
    ),
    (
        ("larger than max-filesize", "max-filesize"),
        SourceError,
        "Raise --max-gb if you want files of this size.",
    ),
)

_CAUSED_BY_THE_RUNTIME = (_REFUSALS[3][0], _REFUSALS[4][0])
"""Without a JavaScript runtime a site has no formats to offer, or refuses those it offered."""


def download_error(address: str, text: str, warnings: list[str]) -> HumandepthError:
    """The error that a message of yt-dlp stands for; its earlier warnings may hold the true cause."""
    message = text.removeprefix("ERROR: ").split("\n")[0].strip()
    cause = next((line for line in warnings if "runtime" in line.lower() or "challenge" in line.lower()), "")
    for needles, kind, remedy in _REFUSALS:
        if any(needle in message.lower() for needle in needles):
            if cause and needles in _CAUSED_BY_THE_RUNTIME:
                break
            return kind(f"{address}: {message}.", remedy=remedy)
    if cause:
        _, kind, remedy = _REFUSALS[0]
        return kind(f"{address}: {message} ({cause}).", remedy=remedy)
    return DownloadError(
        f"{address}: {message}.", remedy="Check the network and the address, then run the same command again."
    )
