"""The measure of misalignment where the truth is known: studio people, plain cloth, depth errors, bodies that err."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Settings
from pipeline.geometry.motion import motion_field
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.geometry.visibility import PairMaps, pair_maps
from pipeline.method.rendered_frames import RenderedFrames
from pipeline.method.resources import Resources
from pipeline.records import Misalignment, RenderedFrame
from pipeline.refine.misalignment import misalignment
from pipeline.studio.clip import StudioClip
from pipeline.studio.filming import Film, developed
from pipeline.studio.settings import StudioSettings
from pipeline.studio.true_tracker import BodyJitter, TrueTracker
from pipeline.video.crops import crop_image, encode_jpeg
from schemas.conventions import IMAGE_PX
from tests.support.pair_maps import maps_of

TIMES_S = np.array([0.0, 0.2, 0.4])
SEEDS = (3000, 3001)
LIMIT_PX = Settings().pairs.max_misalignment_px
Pair = tuple[PairMaps, RenderedFrame, RenderedFrame]


def plain(clip: StudioClip) -> StudioClip:
    """The same person in cloth of one colour, without the finest unevenness."""
    fabrics = clip.actor.fabrics
    clip.actor.fabrics = [
        replace(each, pattern="plain", fine=lambda points: np.zeros(len(points), np.float32))
        if 0 < at < 4
        else each
        for at, each in enumerate(fabrics)
    ]
    return clip


@pytest.fixture(scope="module")
def filmed() -> list[tuple[StudioClip, list[np.ndarray]]]:
    settings = StudioSettings(duration_s=0.6, fps=5, height_px=480, width_px=480, supersampling=1)
    clips = [plain(StudioClip(seed, settings)) for seed in SEEDS]
    found = []
    for clip in clips:
        film, noise = Film(clip.actor, clip.stage), np.random.default_rng(clip.seed)
        exposed = (film.exposed(clip.at(t).surface, t, settings.supersampling) for t in map(float, TIMES_S))
        found.append((clip, [developed(light, noise, settings.noise) for light in exposed]))
    return found


def pairs_of(filmed: list[tuple[StudioClip, list[np.ndarray]]], jitter: BodyJitter) -> list[Pair]:
    """Every frame with every other, by true bodies that err by so much."""
    settings = Settings()
    settings = replace(settings, rendering=replace(settings.rendering, rasterizer="compiled"))
    resources, pairs = Resources(settings), []
    for clip, pictures in filmed:
        tracker = TrueTracker(Path("unused"), settings, jitter)
        track = tracker.track_of(clip, np.arange(len(TIMES_S)), TIMES_S, "t")
        crops = {
            at: encode_jpeg(crop_image(picture, track.crop_px[at], IMAGE_PX), 92)
            for at, picture in enumerate(pictures)
        }
        frames = RenderedFrames(track, crops, resources)
        for target, reference in ((0, 1), (1, 2), (2, 1)):
            a, b = frames[target], frames[reference]
            field = motion_field(target=a.surface, reference=b.surface, rings=resources.rings)
            maps = pair_maps(
                field,
                target=a.surface,
                reference=b.surface,
                depth_tolerance_m=settings.pairs.depth_tolerance_m,
                min_pixel_baseline_m=settings.pairs.min_pixel_baseline_m,
            )
            pairs.append((maps, a, b))
    return pairs


def median(found: list[Misalignment], name: str) -> float:
    """Over pairs."""
    return float(np.median([getattr(each, name) for each in found]))


def measured(pairs: list[Pair]) -> list[Misalignment]:
    return [misalignment(maps, target=target, reference=reference) for maps, target, reference in pairs]


def with_depth_error(pair: Pair, error_m: float) -> Pair:
    """The surface `error_m` behind where it is, moved as it was: the motion (R, t) is held, x = R (z + e) r + t."""
    maps, target, reference = pair
    camera, motion = target.surface.camera, maps.motion.astype(np.float64)
    height, width = maps.validity.shape
    v, u = np.mgrid[0:height, 0:width] + 0.5
    ray = camera.cam_from_px(np.stack([u, v], axis=-1).reshape(-1, 2), np.ones(height * width))
    turned = np.einsum("nij,nj->ni", rotation_from_rotvec(motion[..., :3].reshape(-1, 3)), ray)
    depth = target.surface.raster.depth.reshape(-1, 1)
    moved = (depth * ray + motion[..., 3:].reshape(-1, 3) + error_m * turned).reshape(height, width, 3)
    warp = reference.surface.camera.px_from_cam(moved.reshape(-1, 3)).reshape(height, width, 2)
    on_body = (maps.validity > 0)[..., None]
    warp = np.where(on_body, warp, np.nan).astype(np.float32)
    motion[..., 3:] += error_m * (turned - ray).reshape(height, width, 3)
    motion = np.where(on_body, motion, 0).astype(np.float16)
    return maps_of(motion, maps.validity, warp), target, reference


def test_plain_cloth_and_wrong_depth_do_not_read_as_disagreement(filmed) -> None:
    assert LIMIT_PX is not None
    exact = pairs_of(filmed, BodyJitter())
    found = measured(exact)
    assert median(found, "misalignment_px") < 0.5
    assert median(found, "matched_fraction") > 0.9
    along = []
    for error_m in (-0.05, 0.05):
        wrong = measured([with_depth_error(pair, error_m) for pair in exact])
        assert median(wrong, "misalignment_px") < 0.6, error_m
        assert all(each.misalignment_px is not None and each.misalignment_px < LIMIT_PX for each in wrong)
        along.append(median(wrong, "along_px"))
    assert max(along) > 2 * median(
        found, "along_px"
    )  # clothes stand off the body: the other way they make up for it
    assert min(along) > 1.5 * median(found, "along_px")


def test_bodies_that_err_in_every_frame_read_as_disagreement(filmed) -> None:
    """1 cm and degree: 1.4 to 2 px by the truth. The same error in all frames is harmless, and is not one."""
    assert LIMIT_PX is not None
    wrong = measured(pairs_of(filmed, BodyJitter(shift_cm=1.0, turn_deg=1.0)))
    common = measured(pairs_of(filmed, BodyJitter(shift_cm=2.0, turn_deg=2.0, is_common=True)))
    assert median(wrong, "misalignment_px") > LIMIT_PX
    assert median(common, "misalignment_px") < LIMIT_PX
    assert median(wrong, "across_px") > 3 * median(measured(pairs_of(filmed, BodyJitter())), "across_px")
