"""The test bed of bodies in depth: real movements filmed and tracked, figures by kind of scene."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.records import Footage, Track
from pipeline.tracking.fit_energy import EnergyWeights
from pipeline.tracking.people import LandmarkModels
from pipeline.tracking.tracker import LandmarkTracker
from schemas.conventions import IMAGE_PX, VECTOR_CAMERA
from tests.accuracy.depth_figures import BodyFigures, body_figures, mean_figures
from tests.accuracy.joints import pose_and_shape
from tests.accuracy.motions import Take
from tests.accuracy.observing import observed
from tests.accuracy.oracles import IN_SPACE, ORACLES
from tests.accuracy.scenes import HALVES, MotionScene, scenes_of
from tests.accuracy.true_start import TrueStartTracker
from tests.accuracy.unseen_prior import UnseenPriors, UnseenPriorTracker

SHARES = ("exchanged", "wrong_signs")


def report(
    takes: Sequence[Take],
    models: LandmarkModels,
    *,
    count: int,
    only: Sequence[str],
    given: str | None,
    lens_known: bool,
    seen: Path,
    settings: Settings | None = None,
    weights: EnergyWeights | None = None,
    start_at_truth: bool = False,
    unseen: UnseenPriors | None = None,
    half: str | None = None,
    own_lengths: bool = False,
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by half and kind, printed as they come. `given` names the oracle, `seen` the folder of landmarks."""
    body, settings = BodyModel.open_body(), settings or Settings()
    if given in IN_SPACE:
        settings = replace(settings, tracking=replace(settings.tracking, depth_bias=False))
    fitted = body if settings.tracking.landmark_offsets else body.as_named
    kind = TrueStartTracker if start_at_truth else UnseenPriorTracker if unseen else LandmarkTracker
    tracker = kind(fitted, settings, models, weights)
    rows: dict[str, dict[str, list[BodyFigures]]] = {name: {} for name in HALVES}
    spent_s, frames, lost = 0.0, 0, 0
    for scene in scenes_of(body, takes, count, only, half, own_lengths=own_lengths):
        person = observed(scene, models, settings.tracking, seen)
        if person is None:
            lost += 1
            continue
        if given is not None:
            person = ORACLES[given](scene, person, scene.body)
        focal_px = float(scene.performance.camera.K[0, 0]) if lens_known else None
        if isinstance(tracker, TrueStartTracker):
            tracker.performance = scene.performance
        if isinstance(tracker, UnseenPriorTracker) and unseen is not None:
            tracker.prior = unseen.of(scene.person)
        started = time.perf_counter()
        track = tracker.fitted([person], Footage(unit_id="scene", focal_px=focal_px))[0][0]
        spent_s, frames = spent_s + time.perf_counter() - started, frames + len(person)
        of_half = rows[HALVES[scene.is_reported]]
        of_half.setdefault(scene.kind, []).append(figures_of(scene, track, body))
    print(
        f"{frames} frames, {lost} scenes in which nobody was found, {1000 * spent_s / frames:.0f} ms a frame"
    )
    return {name: show(name, by_kind) for name, by_kind in rows.items()}


def figures_of(scene: MotionScene, track: Track, body: BodyModel) -> BodyFigures:
    """Figures of a scene's track."""
    pose, betas = pose_and_shape(track)
    crops = [Camera(K, (IMAGE_PX, IMAGE_PX)) for K in track.K]
    placed = [
        translation_from_weak_perspective(vector[VECTOR_CAMERA], crop)
        for vector, crop in zip(track.vector, crops, strict=True)
    ]
    return body_figures(
        body, scene.performance, track.frame_index, track.kept, pose, betas, np.array(placed), scene.body
    )


def show(half: str, by_kind: dict[str, list[BodyFigures]]) -> dict[str, dict[str, float]]:
    """Prints a table and returns it."""
    if not by_kind:
        return {}
    means = {kind: asdict(mean_figures(rows)) for kind, rows in by_kind.items()}
    means["all"] = asdict(mean_figures([row for rows in by_kind.values() for row in rows]))
    names = list(means["all"])
    print(f"\n{half}".ljust(12), *(name.removesuffix("_mm").removesuffix("_deg").rjust(11) for name in names))
    for kind, row in means.items():
        cells = [f"{100 * row[name]:10.1f}%" if name in SHARES else f"{row[name]:11.2f}" for name in names]
        print(kind.ljust(11), *cells, flush=True)
    return means
