"""Every constant of the pipeline, as frozen settings with units in their names. Presets: see `preset`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pipeline.config.bodies import (
    BodySettings,
    CameraSettings,
    GateSettings,
    RefineSettings,
    TrackingSettings,
)
from pipeline.config.datasets import PairSettings, RenderingSettings, RunSettings, VideoSettings
from schemas.errors import SettingsError

__all__ = [
    "BodySettings", "CameraSettings", "GateSettings", "PairSettings", "RefineSettings", "RenderingSettings",
    "RunSettings", "Settings", "TrackingSettings", "VideoSettings", "preset",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of the pipeline."""

    video: VideoSettings = field(default_factory=VideoSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    body: BodySettings = field(default_factory=BodySettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    refine: RefineSettings = field(default_factory=RefineSettings)
    rendering: RenderingSettings = field(default_factory=RenderingSettings)
    pairs: PairSettings = field(default_factory=PairSettings)
    run: RunSettings = field(default_factory=RunSettings)


def preset(name: str) -> Settings:
    """`paper` (the default), `paper-exact` or `released` (what the authors' published demo does).

    The publication drops a pair whose mean baseline is below 0.5 m and a pixel that is not seen in both frames or whose
    own baseline is below 0.05 m. `paper` adds four limits on pairs: `max_rotation_deg`, `max_baseline_over_depth`,
    `min_valid_fraction`, and `max_references` 6; and it refines bodies, because without that their errors are what a
    network learns (method, section 10), and estimates the lens, because bodies stand up to twice too far with the
    medium one. `paper-exact` leaves all that off: every candidate that passes the two published rules is a reference.
    Frames are gated alike in all presets (`gates`): the publication's bodies were checked by its authors, nobody
    checks those of a film from the web.
    """
    if name == "paper":
        return Settings()
    if name == "paper-exact":
        return replace(
            Settings(),
            camera=CameraSettings(lens="medium"),
            refine=RefineSettings(mode="off"),
            pairs=PairSettings(
                max_references=2 * len(PairSettings().candidate_gaps_s),
                max_rotation_deg=180.0,
                max_baseline_over_depth=1000.0,
                min_valid_fraction=0.0,
            ),
        )
    if name == "released":
        return replace(
            Settings(),
            camera=CameraSettings(lens="medium"),
            refine=RefineSettings(mode="off"),
            rendering=RenderingSettings(smoothing_passes=4, surface_offset_m=0.026),
        )
    raise SettingsError(f"unknown preset {name!r}.", remedy="Use 'paper', 'paper-exact' or 'released'.")
