"""The files that settings name: that they are there, and which they are."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from pipeline.body.body_file import read_body
from pipeline.config import Settings
from pipeline.rendering.clothes import Clothes, clothes_for
from schemas.errors import AssetError, SettingsError


def check_named_files(settings: Settings) -> None:
    """Raises SettingsError where a setting must name a file or folder and does not, or names none that is there.

    Bodies, lifters and clothes are read, too: a damaged one would fail every clip. Raises AssetError or SettingsError
    for them.
    """
    tracking = settings.tracking
    named = {"body.file": settings.body.file} if settings.body.file else {}
    if tracking.tracker == "network":
        named["tracking.network"] = tracking.network
    if tracking.tracker == "imported":
        named["tracking.bodies"] = tracking.bodies
    if tracking.lifter:
        named["tracking.lifter"] = tracking.lifter
    if settings.rendering.clothes:
        named["rendering.clothes"] = settings.rendering.clothes
    for setting, path in named.items():
        if not path or not Path(path).exists():
            raise SettingsError(
                f"setting {setting!r} is {path!r}: no such file or folder.",
                remedy=f"Give --set {setting}=PATH; what makes it: python -m pipeline settings {setting}",
            )
    if settings.body.file:
        read_body(Path(settings.body.file))
    if tracking.lifter:
        from pipeline.tracking.lifter import lifter_of

        lifter_of(tracking.lifter)
    named_clothes(settings)


def named_clothes(settings: Settings) -> Clothes | None:
    """The clothes that `rendering.clothes` names; AssetError where they are of another body. None without it."""
    if not settings.rendering.clothes:
        return None
    return clothes_for(Path(settings.rendering.clothes), body_sha256=body_digest(settings))


@lru_cache(maxsize=8)
def file_digest(path: str) -> str:
    """SHA-256 of a file that a setting names. Raises AssetError where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise AssetError(
            f"{path} cannot be read ({error}).", remedy="Check the path in the settings."
        ) from error


def body_digest(settings: Settings) -> str:
    """SHA-256 of the body's file, the open one's too."""
    from pipeline.body.model import open_body_path

    return file_digest(settings.body.file or str(open_body_path()))


def named_file_digests(settings: Settings) -> dict[str, str]:
    """SHA-256 of the body (the open one too), of networks and of clothes, by the setting that names them."""
    digests = {"body.file": body_digest(settings)}
    if settings.tracking.tracker == "network" and settings.tracking.network:
        digests["tracking.network"] = file_digest(settings.tracking.network)
    if settings.tracking.lifter:
        digests["tracking.lifter"] = file_digest(settings.tracking.lifter)
    if settings.rendering.clothes:
        digests["rendering.clothes"] = file_digest(settings.rendering.clothes)
    return digests
