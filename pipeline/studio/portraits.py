"""Pictures of studio people with their true bodies: what TrackNet is trained on. Nothing is tracked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.geometry.posed_surface import PosedSurface
from pipeline.method.portraits import portrait_row
from pipeline.studio.clip import StudioClip
from pipeline.studio.filming import Film, developed
from pipeline.studio.recorded_motion import Take, recorded_script
from pipeline.studio.settings import StudioSettings


def portraits_of(
    seeds: Iterable[int],
    settings: StudioSettings,
    per_clip: int,
    backgrounds: list[Path],
    takes: Sequence[Take] = (),
) -> Iterator[dict[str, Any]]:
    """Rows of `portraits`: of every seed's clip `per_clip` pictures at even times, one person a picture.

    `takes` are recorded movements that replace the made-up ones.
    """
    for seed in seeds:
        clip = StudioClip(seed, settings, backgrounds, recorded_script(takes, seed, settings))
        film, noise = Film(clip.actor, clip.stage), np.random.default_rng([seed, 4])
        for number, time_s in enumerate(np.linspace(0, settings.duration_s, per_clip, endpoint=False)):
            surface = clip.at(time_s).surface
            light = film.exposed(surface, time_s, settings.supersampling)
            row = _portrait(clip, surface, developed(light, noise, settings.noise), float(time_s))
            yield row | {"sample_id": f"{clip.clip_id}/{number:03d}", "source_id": clip.clip_id}


def _portrait(clip: StudioClip, surface: np.ndarray, picture: np.ndarray, time_s: float) -> dict[str, Any]:
    found = clip.body_at(time_s)
    return portrait_row(
        picture,
        PosedSurface(vertices=surface, faces=clip.actor.mesh.faces, camera=clip.camera),
        pose=found.pose,
        betas=found.betas,
        translation=found.translation,
    )
