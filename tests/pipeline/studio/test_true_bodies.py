"""The studio's truths: bodies given to the pipeline, depth and correspondence against independent answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.config import Settings
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.method.rendered_frames import body_from_vector
from pipeline.records import PERSON_PX, Footage, Frame
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from pipeline.studio import true_tracker
from pipeline.studio.clip import StudioClip
from pipeline.studio.filming import Film
from pipeline.studio.settings import StudioSettings
from pipeline.studio.true_tracker import BodyJitter, TrueTracker
from pipeline.studio.truth import ClothingThickness, truth_at
from pipeline.tracking.blazepose import LANDMARK_COUNT, SEGMENTATION_PX, Detections, Landmarks
from pipeline.tracking.regions import Region, sample
from schemas.conventions import IMAGE_PX, MAP_PX
from schemas.errors import DatasetError, SettingsError
from schemas.truth import JOINTS_OF_PARTS, PARTS, Truth
from tests.support.oracles import cast_exactly

SMALL = StudioSettings(duration_s=0.4, fps=10, height_px=160, width_px=160, supersampling=1, noise=0.0, crf=1)


@pytest.fixture(scope="module")
def clip() -> StudioClip:
    found = next(
        StudioClip(seed, replace(SMALL, shake_deg=2.0))
        for seed in range(20)
        if StudioClip(seed, SMALL).stage._is_hand_held
    )
    return found


def tracked(clip: StudioClip, jitter: BodyJitter | None = None):
    return TrueTracker(Path("unused"), Settings(), jitter).track_of(
        clip, np.arange(len(clip.times_s)), clip.times_s, "t"
    )


def test_the_numbers_of_a_body_are_its_vertices(clip: StudioClip) -> None:
    """Under a camera that turns, too."""
    assert np.abs(clip.stage.turn(0.3) - np.eye(3)).max() > 1e-3
    for time_s in (0.0, 0.3):
        body = clip.body_at(time_s)
        vertices = clip.actor.body.vertices(body.pose, body.betas, body.translation)
        np.testing.assert_allclose(vertices, clip.at(time_s).body, atol=1e-12)


def test_vectors_of_the_true_tracker_pose_the_true_body_in_its_crop(clip: StudioClip) -> None:
    track = tracked(clip)
    for at, time_s in enumerate(clip.times_s):
        camera = clip.camera.cropped(track.crop_px[at], IMAGE_PX)
        np.testing.assert_allclose(track.K[at], camera.K)
        found = body_from_vector(track.vector[at], camera, clip.actor.body).vertices
        np.testing.assert_allclose(found, clip.at(float(time_s)).body, atol=1e-9)
        px = camera.px_from_cam(found)
        assert px.min() > 0
        assert px.max() < IMAGE_PX
    assert track.kept.all()


def test_the_tracker_finds_its_clip_by_the_units_name(clip: StudioClip, tmp_path: Path) -> None:
    true_tracker._clip.cache_clear()
    clip.write(tmp_path)
    frames = [Frame(index=3, pts_s=0.2, image=np.zeros((1, 1, 3), np.uint8))]
    tracker = TrueTracker(tmp_path, Settings())
    (track,) = tracker.track(frames, Footage(unit_id=f"{clip.clip_id}-s000-w000"))
    assert (track.frame_index.tolist(), track.pts_s.tolist()) == ([3], [0.2])
    assert tracker.track([], Footage(unit_id=f"{clip.clip_id}-s000-w000")) == []
    with pytest.raises(DatasetError, match="does not describe"):
        tracker.track(frames, Footage(unit_id="elsewhere-s000-w000"))


@dataclass(frozen=True)
class SharpEyes:
    """A landmark network whose segmentation is the person as the studio dressed them."""

    clip: StudioClip
    regions: list[Region]

    def detect_people(self, image: np.ndarray, threshold: float) -> Detections:
        raise AssertionError("bodies are known: nobody is looked for")

    def landmarks(self, image: np.ndarray, region: Region, *, heavier: bool = False) -> Landmarks:
        self.regions.append(region)
        time_s = self.clip.times_s[int(image[0, 0, 0])]
        mesh, surface = self.clip.actor.mesh, self.clip.at(float(time_s)).surface
        person = render(CompiledRasterizer(), surface, mesh.faces, self.clip.camera).mask
        affine = region.image_from_crop(SEGMENTATION_PX)
        return Landmarks(
            xy_px=np.zeros((LANDMARK_COUNT, 2)), visibility=np.zeros(LANDMARK_COUNT),
            presence=np.zeros(LANDMARK_COUNT), world_m=np.zeros((LANDMARK_COUNT, 3)), score=1.0,
            segmentation=sample(255 * person.astype(np.uint8), affine, SEGMENTATION_PX),
            image_from_segmentation=affine, next_region=region,
        )  # fmt: skip


def test_true_bodies_come_with_the_outline_that_the_network_sees(clip: StudioClip, tmp_path: Path) -> None:
    true_tracker._clip.cache_clear()
    clip.write(tmp_path)
    frames = [
        Frame(index=at, pts_s=float(time_s), image=np.full((*clip.camera.hw, 3), at, np.uint8))
        for at, time_s in enumerate(clip.times_s)
    ]
    eyes = SharpEyes(clip, [])
    footage = Footage(unit_id=f"{clip.clip_id}-s000-w000")
    (track,) = TrueTracker(tmp_path, Settings(), models=eyes).track(frames, footage)
    assert len(eyes.regions) == len(frames)
    for at, crop in enumerate(track.crop_px):
        camera = clip.camera.cropped(crop, IMAGE_PX).resized((PERSON_PX, PERSON_PX))
        instant = clip.at(float(clip.times_s[at]))
        dressed = render(CompiledRasterizer(), instant.surface, clip.actor.mesh.faces, camera).mask
        seen = track.person_at(at)
        assert seen is not None
        assert (seen & dressed).sum() / (seen | dressed).sum() > 0.9
    (blind,) = TrueTracker(tmp_path, Settings()).track(frames, footage)
    assert blind.person is None
    np.testing.assert_array_equal(blind.vector, track.vector)


def test_jitter_has_the_size_that_was_asked_for(clip: StudioClip) -> None:
    bodies = [clip.body_at(0.0)] * 400
    for is_common in (False, True):
        jitter = BodyJitter(shift_cm=2.0, turn_deg=3.0, is_common=is_common, seed=5)
        wrong = jitter.applied(bodies, 1)
        shift = np.array([each.translation for each in wrong]) - bodies[0].translation
        turn = rotation_from_rotvec(bodies[0].pose).transpose(0, 2, 1) @ rotation_from_rotvec(
            np.array([each.pose for each in wrong])
        )
        angle = np.degrees(np.arccos(np.clip((np.trace(turn, axis1=-2, axis2=-1) - 1) / 2, -1, 1)))
        assert np.sqrt((angle**2).mean()) == pytest.approx(3.0, rel=0.03 if not is_common else 0.3)
        if is_common:
            assert np.ptp(shift, axis=0).max() == 0
        else:
            assert np.sqrt((shift**2).sum(axis=1).mean()) == pytest.approx(0.02, rel=0.1)
        again = jitter.applied(bodies, 1)
        np.testing.assert_array_equal(again[7].pose, wrong[7].pose)
        assert np.abs(jitter.applied(bodies, 2)[7].pose - wrong[7].pose).max() > 1e-4
    np.testing.assert_allclose(BodyJitter().applied(bodies, 1)[0].pose, bodies[0].pose, atol=1e-12)
    with pytest.raises(SettingsError, match="shift_cm"):
        BodyJitter(shift_cm=-1)


def test_jitter_leaves_the_crops(clip: StudioClip) -> None:
    np.testing.assert_array_equal(
        tracked(clip).crop_px, tracked(clip, BodyJitter(shift_cm=5, turn_deg=5)).crop_px
    )


def test_true_depth_is_what_rays_meet(clip: StudioClip) -> None:
    """Against every face cut with every ray, in float64: 1e-4 m is asked for."""
    track = tracked(clip)
    truth = truth_at(clip, 0.2, track.K[2], CompiledRasterizer())
    rows, columns = np.nonzero(truth.depth_m)
    chosen = np.random.default_rng(0).choice(len(rows), 150, replace=False)
    row, column = rows[chosen], columns[chosen]
    K = truth.K
    rays = np.stack(
        [(column + 0.5 - K[0, 2]) / K[0, 0], (row + 0.5 - K[1, 2]) / K[1, 1], np.ones(len(row))], axis=1
    )
    instant = clip.at(0.2)
    _, depth = cast_exactly(rays, instant.surface, clip.actor.mesh.faces)
    assert np.abs(truth.depth_m[row, column] - depth).max() <= 1e-4
    _, depth = cast_exactly(rays, instant.body, clip.actor.body.faces)
    known = truth.body_depth_m[row, column] > 0
    np.testing.assert_array_equal(known, np.isfinite(depth))
    assert np.abs(truth.body_depth_m[row, column] - depth)[known].max() <= 1e-4


def test_pixels_know_the_part_they_show(clip: StudioClip) -> None:
    assert sorted(joint for joints in JOINTS_OF_PARTS for joint in joints) == list(range(24))
    track = tracked(clip)
    truth = truth_at(clip, 0.2, track.K[2], CompiledRasterizer())
    np.testing.assert_array_equal(truth.part > 0, truth.depth_m > 0)
    body = clip.body_at(0.2)
    joints = clip.actor.body.joints(body.pose, body.betas, body.translation)
    camera = clip.camera.cropped(track.crop_px[2], MAP_PX)
    for joint, part in ((15, "head"), (0, "torso"), (7, "shanks and feet")):
        column, row = np.floor(camera.px_from_cam(joints[joint])).astype(int)
        near = truth.part[row - 4 : row + 5, column - 4 : column + 5]
        assert 1 + PARTS.index(part) in near, part


def test_truths_come_back_from_disk(clip: StudioClip, tmp_path: Path) -> None:
    truth = truth_at(clip, 0.2, tracked(clip).K[2], CompiledRasterizer())
    truth.save(tmp_path / "a.npz")
    again = Truth.load(tmp_path / "a.npz")
    for name in ("depth_m", "K", "body_depth_m", "part"):
        np.testing.assert_array_equal(getattr(again, name), getattr(truth, name))
    assert again.pose == clip.script.action
    np.savez(tmp_path / "b.npz", depth_m=truth.depth_m, K=truth.K, part=np.zeros((2, 2), np.uint8))
    with pytest.raises(DatasetError, match="part has shape"):
        Truth.load(tmp_path / "b.npz")


def test_clothes_are_measured_by_part() -> None:
    shape = (20, 20)
    part = np.zeros(shape, np.uint8)
    part[:10], part[10:] = 1, 2
    depth = np.full(shape, 4.0)
    body = depth + np.where(part == 1, 0.02, 0.12)
    thickness = ClothingThickness()
    thickness.add(Truth(depth_m=depth, K=np.eye(3), body_depth_m=body, part=part))
    lines = thickness.lines()
    assert lines[1].split() == ["head", "20.0", "20.0", "0.0%"]
    assert lines[2].split() == ["torso", "120.0", "120.0", "100.0%"]
    assert lines[-1].split()[:2] == ["everything", "70.0"]


def test_true_depth_and_true_correspondence_explain_the_pictures() -> None:
    """Warping a frame by the surface itself leaves what bilinear sampling of the texture costs, and no more.

    Light from everywhere, no noise: pictures differ only by the warp. A depth that is 3 cm wrong costs far more.
    """
    clip = StudioClip(
        6, replace(SMALL, height_px=480, width_px=480, supersampling=3, drift=0.0, shake_deg=0.0)
    )
    clip.stage.lamps = []
    clip.stage.ambient = np.ones(3)
    film, faces = Film(clip.actor, clip.stage), clip.actor.mesh.faces
    rasterizer, times = CompiledRasterizer(), (0.0, 0.2)
    surfaces = [clip.at(time_s).surface for time_s in times]
    upright = clip.stage.turn(0.0)
    np.testing.assert_array_equal(upright, np.eye(3))
    pictures = [
        film.exposed(surface, time_s, 3).astype(np.float32) for surface, time_s in zip(surfaces, times)
    ]
    target, reference = (render(rasterizer, surface, faces, clip.camera) for surface in surfaces)
    corners, weights = faces[target.face_id[target.mask]], target.barycentric[target.mask]
    errors = {}
    for shift_m in (0.0, 0.03):
        moved = np.einsum("nk,nkc->nc", weights, surfaces[1][corners]) + [shift_m, 0, 0]
        px = clip.camera.px_from_cam(moved)
        column, row = np.floor(px).astype(int).T
        seen = np.abs(reference.depth[row, column] - moved[:, 2]) < 0.01
        inside = cv2.erode(target.mask.astype(np.uint8), np.ones((5, 5)))[target.mask] > 0
        near = cv2.erode(reference.mask.astype(np.uint8), np.ones((5, 5)))[row, column] > 0
        sampled = cv2.remap(
            pictures[1],
            (px[:, 0] - 0.5).astype(np.float32)[None],
            (px[:, 1] - 0.5).astype(np.float32)[None],
            cv2.INTER_LINEAR,
        )[0]
        counted = seen & inside & near
        assert counted.sum() > 5000
        # a sky lights what looks up, so a turn changes brightness a little: the median is the surface's own
        errors[shift_m] = float(np.median(np.abs(sampled - pictures[0][target.mask]).mean(axis=1)[counted]))
    assert errors[0.0] < 0.01
    assert errors[0.03] > 3 * errors[0.0]


def test_a_film_is_byte_identical_from_the_same_seed(tmp_path: Path) -> None:
    """Several times, because an encoder once had two ways and took one of them by chance."""
    written = set()
    for again in range(4):
        folder = tmp_path / str(again)
        folder.mkdir()
        path = StudioClip(9, replace(SMALL, noise=0.02)).write(folder)
        written.add((path.read_bytes(), path.with_suffix(".json").read_bytes()))
    assert len(written) == 1


def test_the_person_is_drawn_where_the_truth_is() -> None:
    """Before black, with one ray per pixel, lit pixels are those whose ray meets the surface; finer rays share."""
    clip = StudioClip(4, replace(SMALL, drift=0.0, shake_deg=0.0))
    clip.stage._backdrop[:] = 0
    film, surface = Film(clip.actor, clip.stage), clip.at(0.1).surface
    mask = render(CompiledRasterizer(), surface, clip.actor.mesh.faces, clip.camera).mask
    np.testing.assert_array_equal(film.exposed(surface, 0.1, 1).sum(axis=-1) > 0, mask)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3))) > 0
    outer = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) > 0
    finer = film.exposed(surface, 0.1, 3).sum(axis=-1) > 0
    assert finer[inner].all()
    assert finer[~outer].sum() <= 0.01 * mask.sum()  # fingers thinner than a pixel
    aside = surface - [10.0, 0, 0]  # out of the picture: nothing is drawn, nothing breaks
    assert not film.exposed(aside, 0.1, 2).any()
