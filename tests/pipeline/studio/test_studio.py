"""Studio clips: repeatable, physically plausible, and with a truth that agrees with the pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands.main import main
from pipeline.geometry.camera import Camera
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from pipeline.studio import truth as truth_module
from pipeline.studio.clip import StudioClip
from pipeline.studio.filming import Film, developed
from pipeline.studio.performance import ACTIONS, LEFT_ELBOW, LEFT_KNEE, RIGHT_ELBOW, RIGHT_KNEE, Script
from pipeline.studio.settings import StudioSettings
from pipeline.studio.truth import truth_of
from pipeline.studio.wardrobe import HAIR, SKIN, TOP, TROUSERS, Sliding, subdivided
from pipeline.video.decode import decode
from schemas.conventions import IMAGE_PX
from schemas.errors import DatasetError, SettingsError

SMALL = StudioSettings(
    duration_s=0.4, fps=10, height_px=160, width_px=160, supersampling=1, noise=0.0, drift=0.0, crf=1
)


@pytest.fixture(scope="module")
def clip() -> StudioClip:
    return StudioClip(5, SMALL)


def test_the_same_seed_is_the_same_clip(clip: StudioClip) -> None:
    noisy = replace(SMALL, noise=0.02, drift=0.05)
    first, again = StudioClip(7, noisy), StudioClip(7, noisy)
    for one, other in zip(first.pictures(), again.pictures(), strict=True):
        assert np.array_equal(one, other)
    np.testing.assert_array_equal(first.at(0.3).surface, again.at(0.3).surface)
    other = StudioClip(8, noisy)
    assert other.stage.distance_m != first.stage.distance_m
    assert np.abs(other.actor.betas - first.actor.betas).max() > 0.1


def test_film_settings_do_not_change_the_person() -> None:
    plain, other = StudioClip(3, SMALL), StudioClip(3, replace(SMALL, noise=0.1, supersampling=2, fps=20.0))
    np.testing.assert_array_equal(plain.at(0.25).surface, other.at(0.25).surface)


def test_cutting_faces_keeps_the_surface() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((4, 3))
    faces = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])
    cut, finer = subdivided(faces, points)
    assert len(finer) == 4 + 6
    assert len(cut) == 16

    def area_vectors(corners: np.ndarray) -> np.ndarray:
        return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])

    before, after = area_vectors(points[faces]), area_vectors(finer[cut])
    np.testing.assert_allclose(after.reshape(4, 4, 3).sum(axis=0), before, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1).sum(), np.linalg.norm(before, axis=1).sum())


@pytest.mark.parametrize("seed", range(6))
def test_joints_stay_within_human_limits(seed: int) -> None:
    performance = Script(np.random.default_rng(seed)).at(np.linspace(0, 10, 200))
    knees = performance.pose[:, [LEFT_KNEE, RIGHT_KNEE], 0]
    assert knees.min() > -0.25
    assert knees.max() < 2.6
    assert performance.pose[:, LEFT_ELBOW, 1].max() < 0.3
    assert performance.pose[:, RIGHT_ELBOW, 1].min() > -0.3
    speed = np.abs(np.diff(performance.pose[:, 1:], axis=0)).max() / (10 / 199)
    assert speed < 15  # radians a second
    assert performance.action in ACTIONS


def test_every_clip_turns_enough_for_baselines() -> None:
    for seed in range(8):
        pose = Script(np.random.default_rng(seed)).at(np.array([0.0, 0.5, 1.0, 1.5, 2.0])).pose
        assert np.ptp(pose[:, 0], axis=0).max() > np.radians(8)


def test_the_lowest_point_of_the_body_stands_on_the_floor(clip: StudioClip) -> None:
    for time_s in clip.times_s:
        upright = clip.at(time_s).body @ clip.stage.turn(time_s)  # back to the stage's axes
        assert upright[:, 1].max() == pytest.approx(clip.stage.eye_height_m, abs=1e-9)


def test_clothes_lie_outside_the_body(clip: StudioClip) -> None:
    assert set(np.unique(clip.actor.mesh.garment)) >= {SKIN, HAIR}
    instant, rasterizer = clip.at(0.2), CompiledRasterizer()
    dressed = render(rasterizer, instant.surface, clip.actor.mesh.faces, clip.camera)
    naked = render(rasterizer, instant.body, clip.actor.body.faces, clip.camera)
    assert (naked.mask & ~dressed.mask).sum() <= 0.02 * naked.mask.sum()
    both = dressed.mask & naked.mask
    thickness = (naked.depth - dressed.depth)[both]
    assert 0.001 < np.median(thickness) < 0.06
    assert (thickness > -0.02).mean() > 0.97


def test_garments_slide_along_the_body_and_nothing_else_changes() -> None:
    plain, sliding = StudioClip(5, SMALL), StudioClip(5, replace(SMALL, slide_m=0.004))
    mesh, worn = plain.actor.mesh, np.isin(plain.actor.mesh.garment, (TOP, TROUSERS))
    pose = plain.script.at(np.array([0.0])).pose[0] * 0
    lengths = []
    for time_s in np.linspace(0, 3, 31):
        slide = Sliding(mesh, np.random.default_rng([5, 4]), 0.004).at(time_s)
        moved = sliding.actor.surface(pose, None, slide) - sliding.actor.surface(pose)
        np.testing.assert_allclose(moved, slide, atol=1e-12)
        assert np.abs((slide * mesh.normals).sum(axis=1)).max() < 1e-12  # along the surface
        assert not slide[~worn].any()
        lengths.append(np.linalg.norm(slide[worn], axis=1))
    assert np.sqrt(np.mean(np.square(lengths))) == pytest.approx(0.004, rel=0.35)
    later = np.linalg.norm(sliding.at(0.3).surface - plain.at(0.3).surface, axis=1)
    assert 0.001 < later[worn].mean() < 0.01
    np.testing.assert_array_equal(plain.at(0.3).surface[~worn], sliding.at(0.3).surface[~worn])
    np.testing.assert_array_equal(plain.at(0.3).body, sliding.at(0.3).body)


def test_the_surface_carries_its_colours(clip: StudioClip) -> None:
    """Under light from everywhere a material point shows the same colour whenever it is seen: exact correspondence."""
    clip = StudioClip(6, replace(SMALL, height_px=480, width_px=480))
    clip.stage.lamps = []
    film, rasterizer = Film(clip.actor, clip.stage), CompiledRasterizer()
    faces = clip.actor.mesh.faces
    seen = []
    for time_s in (0.0, 0.3):
        vertices = clip.at(time_s).surface
        raster = render(rasterizer, vertices, faces, clip.camera)
        corners, weight = faces[raster.face_id[raster.mask]], raster.barycentric[raster.mask]
        rest = np.einsum("nk,nkc->nc", weight, clip.actor.mesh.rest[corners])
        albedo, _ = film._material(corners, weight, rest)
        shown = np.full((len(faces), 3), np.nan)
        inside = raster.barycentric[raster.mask].min(axis=1) > 0.22  # near the face's middle
        shown[raster.face_id[raster.mask][inside]] = albedo[inside]
        seen.append(shown)
    common = ~np.isnan(seen[0]).any(axis=1) & ~np.isnan(seen[1]).any(axis=1)
    assert common.sum() > 100
    difference = np.abs(seen[0] - seen[1])[common].mean(axis=1)
    assert np.median(difference) < 0.01
    shuffled = np.abs(seen[0] - np.roll(seen[1], 977, axis=0))
    assert np.nanmedian(shuffled) > 5 * np.median(difference)


def test_shadow_falls_on_the_far_side() -> None:
    """Two squares, one behind the other on the way to the lamp: the far one is dark where the near one stands."""
    clip = StudioClip(5, SMALL)
    film = Film(clip.actor, clip.stage)
    vertices = clip.at(0.0).surface
    towards = np.array([0.0, 0.0, -1.0])  # a lamp at the camera lights all that the camera sees
    raster = render(CompiledRasterizer(), vertices, clip.actor.mesh.faces, clip.camera)
    points = clip.camera.cam_from_px(np.argwhere(raster.mask)[:, ::-1] + 0.5, raster.depth[raster.mask])
    assert film._unshaded(points, vertices, towards).mean() > 0.97
    behind = points + [0.0, 0.0, 0.6]
    assert film._unshaded(behind, vertices, towards).mean() < 0.1


def test_noise_has_the_size_that_was_asked_for() -> None:
    grey = np.full((200, 200, 3), 0.25)
    picture = developed(grey, np.random.default_rng(0), 0.02) / 255
    assert picture.std() == pytest.approx(0.02, rel=0.05)
    assert picture.mean() == pytest.approx(0.25 ** (1 / 2.2), abs=1e-3)


def test_the_film_is_what_was_drawn(clip: StudioClip, tmp_path: Path) -> None:
    path = clip.write(tmp_path)
    frames = list(decode(path))
    assert len(frames) == len(clip.times_s)
    np.testing.assert_allclose([frame.pts_s for frame in frames], clip.times_s, atol=1e-4)
    for frame, picture in zip(frames, clip.pictures(), strict=True):
        # colours are stored at half the resolution, so only brightness is compared
        assert np.abs(frame.image.mean(axis=-1) - picture.mean(axis=-1)).mean() < 4
    again = StudioClip.load(path.with_suffix(".json"))
    np.testing.assert_array_equal(again.at(0.1).surface, clip.at(0.1).surface)
    (tmp_path / "other.json").write_text(json.dumps({"format": "another"}))
    with pytest.raises(DatasetError, match="does not describe"):
        StudioClip.load(tmp_path / "other.json")


class _Rows:
    """As much of a dataset as the truth reads."""

    def __init__(self, clip: StudioClip, crop_px: np.ndarray, focal_error: float = 1.0) -> None:
        full = Camera(clip.camera.K * np.array([[focal_error], [focal_error], [1.0]]), clip.camera.hw)
        K = full.cropped(crop_px, IMAGE_PX).K
        common = {"track_id": "t", "frame_index": 2}
        self._tables = {
            "frames": [common | {"crop_px": crop_px}],
            "samples": [common | {"sample_id": "s", "clip_id": clip.clip_id, "pts_s": 0.2, "K": K}],
        }

    def rows(self, table: str, columns: list[str]) -> list[dict]:
        return self._tables[table]


def test_truth_is_the_dressed_surface_in_the_samples_crop(clip: StudioClip, tmp_path: Path) -> None:
    clip.write(tmp_path)
    truth_module._clip.cache_clear()
    crop_px = np.array([83.0, 81.5, 150.0])
    ((sample_id, truth),) = truth_of(_Rows(clip, crop_px), tmp_path)  # type: ignore[arg-type]
    assert sample_id == "s"
    instant = clip.at(0.2)
    camera = Camera(truth.K, truth.depth_m.shape)
    px = camera.px_from_cam(instant.surface)
    column, row = np.floor(px).astype(int).T
    inside = ((px > 1) & (px < 255)).all(axis=1)
    shown = truth.depth_m[row[inside], column[inside]]
    gap = instant.surface[inside, 2] - shown
    assert (shown > 0).mean() > 0.9
    assert (gap > -0.05).mean() > 0.99  # no point of the surface lies before what is seen
    assert (np.abs(gap) < 0.01).mean() > 0.3
    assert np.median((truth.body_depth_m - truth.depth_m)[(truth.depth_m > 0) & (truth.body_depth_m > 0)]) > 0
    with pytest.raises(DatasetError, match="focal length"):
        list(truth_of(_Rows(clip, crop_px, focal_error=1.2), tmp_path))  # type: ignore[arg-type]


def test_the_command_films_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        f"--set={name}={value}"
        for name, value in (("duration_s", 0.2), ("fps", 10), ("height_px", 96), ("width_px", 96))
    ]
    assert main(["studio", "film", "--out", str(tmp_path), "--clips", "2", "--seed", "40", *small]) == 0
    lines = (tmp_path / "clips.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["clip_id", "studio-000040", "studio-000041"]
    assert (tmp_path / "studio-000041.mp4").stat().st_size > 500
    assert main(["studio", "film", "--out", str(tmp_path), "--clips", "0"]) == 2
    assert main(["studio", "film", "--out", str(tmp_path), "--backgrounds", str(tmp_path / "none")]) == 1
    assert "holds no pictures" in capsys.readouterr().err
    with pytest.raises(SettingsError, match=r"studio\.fps"):
        StudioSettings(fps=0)
