"""How the base depth of a dataset was made: part of what a network learned that was trained on it.

A recipe is the pipeline's settings as `meta/settings.json` holds them, without what says nothing about base depth, and
the SHA-256 of the files that they name, from `meta/files.json`. It goes with every checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SECTIONS = ("video", "camera", "body", "tracking", "gates", "refine", "rendering")
"""Sections of the pipeline's settings that a recipe keeps."""
SURFACE = (
    "camera.medium_focal",
    "camera.crop_margin",
    "rendering.base_surface",
    "rendering.smoothing_passes",
    "rendering.surface_offset_m",
)
"""Settings that say where the base depth lies, whatever body was found: with others a network adds what it did not
learn."""
BODIES = (
    "camera.lens",
    "tracking.tracker",
    "tracking.landmark_model",
    "tracking.heavy_every_s",
    "tracking.iterations",
    "tracking.silhouette_weight",
    "tracking.lifter_weight",
    "tracking.landmark_offsets",
    "tracking.depth_bias",
    "refine.mode",
)
"""Settings that say how bodies err."""
NAMED_FILES = ("body.file", "tracking.network", "tracking.lifter", "rendering.clothes")
"""Settings that name files whose content is part of the recipe."""
CLOTHES = "rendering.clothes"
"""The one of them that moves the surface, so that a recipe with it is unlike one without."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings by section, and the digests of the files that they name."""

    settings: Mapping[str, Mapping[str, Any]]
    sha256: Mapping[str, str] = field(default_factory=dict)
    """By the setting that names the file, as in NAMED_FILES; `body.file` is there for the open body too."""

    @classmethod
    def of(cls, settings: Mapping[str, Any], sha256: Mapping[str, str]) -> Recipe:
        """From the content of `meta/settings.json` and `meta/files.json`. Raises ValueError without sections."""
        kept = {name: dict(settings[name]) for name in SECTIONS if isinstance(settings.get(name), Mapping)}
        if not kept:
            raise ValueError("it holds no settings of the pipeline")
        digests = {name: str(sha256[name]) for name in NAMED_FILES if name in sha256}
        return cls(settings=kept, sha256=digests)

    def get(self, setting: str) -> Any:
        """The value of `section.field`; None where the dataset's version did not know it."""
        section, _, name = setting.partition(".")
        return self.settings.get(section, {}).get(name)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "settings": {name: dict(values) for name, values in self.settings.items()},
            "sha256": dict(self.sha256),
        }

    def differences(self, other: Recipe, settings: tuple[str, ...]) -> Iterator[str]:
        """A line for each of these settings that differs, where both know it."""
        for name in settings:
            mine, theirs = self.get(name), other.get(name)
            if mine is not None and theirs is not None and mine != theirs:
                yield f"{name} is {mine!r} and {theirs!r}"

    def file_differences(self, other: Recipe) -> Iterator[str]:
        """A line for each file that is another one, where both know it; and where one alone has clothes."""
        for name in NAMED_FILES:
            mine, theirs = self.sha256.get(name), other.sha256.get(name)
            if mine is not None and theirs is not None and mine != theirs:
                yield f"{name} has SHA-256 {mine[:12]} and {theirs[:12]}"
        if (CLOTHES in self.sha256) != (CLOTHES in other.sha256):
            yield f"{CLOTHES} is {self.get(CLOTHES) or ''!r} and {other.get(CLOTHES) or ''!r}"
