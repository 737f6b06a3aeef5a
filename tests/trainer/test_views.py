"""Predictions judged by a second camera: closed forms of the cameras, and a known person whose true depth must win."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from pipeline.studio.clip import StudioClip
from pipeline.studio.filming import Film
from pipeline.studio.settings import StudioSettings
from schemas.errors import DatasetError
from schemas.prediction import Placement, Prediction
from trainer.cli import main
from trainer.evaluate_views import (
    BASE,
    BASE_CONSTANT,
    PLANE,
    REFINED,
    REFINED_CONSTANT,
    Score,
    evaluate_views,
    gain,
)
from trainer.views import Views

SIDE = 480
ANGLE_DEG = 30.0
CROP_PX = np.array([SIDE / 2, SIDE / 2, float(SIDE)])


def second_camera(centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R, t of a camera turned about an upright axis through `centre`, in the first camera's coordinates."""
    R = cv2.Rodrigues(np.array([0, np.radians(ANGLE_DEG), 0]))[0]
    return R, centre - R @ centre


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio person in light from everywhere, seen by two cameras; true and naked depth as predictions."""
    settings = StudioSettings(duration_s=0.1, fps=10, height_px=SIDE, width_px=SIDE, drift=0.0, shake_deg=0.0)
    clip = StudioClip(3001, replace(settings, supersampling=2))
    clip.stage.lamps = []
    clip.stage.ambient = np.ones(3)
    folder, film, instant = tmp_path_factory.mktemp("views"), Film(clip.actor, clip.stage), clip.at(0.0)
    R, t = second_camera(instant.surface.mean(axis=0))
    faces, rasterizer = clip.actor.mesh.faces, CompiledRasterizer()
    for name, surface in (("first", instant.surface), ("second", instant.surface @ R.T + t)):
        picture = np.clip(255 * film.exposed(surface, 0.0, 2), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), picture[..., ::-1])
        mask = render(rasterizer, surface, faces, clip.camera).mask
        cv2.imwrite(str(folder / f"{name}-mask.png"), 255 * mask.astype(np.uint8))
    crop = clip.camera.cropped(CROP_PX, 256)
    true = render(rasterizer, instant.surface, faces, crop).depth
    naked = render(rasterizer, instant.body, clip.actor.body.faces, crop).depth
    both = (true > 0) & (naked > 0)
    placement = Placement(
        picture="first", picture_hw=(SIDE, SIDE), crop_px=CROP_PX, box_px=np.array([0.0, 0, SIDE, SIDE])
    )
    base = np.where(both, naked + lean(both), 0).astype(np.float32)
    prediction = Prediction(
        depth_m=np.where(both, true, 0).astype(np.float32), base_depth_m=base, K=crop.K, placement=placement
    )
    prediction.save(folder / "predicted" / "person.npz")
    write_views(folder, clip.camera.K, R, t)
    return folder


def lean(mask: np.ndarray) -> np.ndarray:
    """A base that leans by 12 cm from head to foot, as trackers' do."""
    rows = np.flatnonzero(mask.any(axis=1))
    along = (np.arange(mask.shape[0]) - rows.mean()) / np.ptp(rows)
    return np.broadcast_to(0.12 * along[:, None], mask.shape)


def write_views(folder: Path, K: np.ndarray, R: np.ndarray, t: np.ndarray, **changes: object) -> Path:
    opencv = K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    camera = {"K": opencv.tolist(), "hw": [SIDE, SIDE]}
    content = {
        "format": "humandepth-views",
        "format_version": 1,
        "first": camera | {"R": np.eye(3).tolist(), "t": [0, 0, 0]},
        "second": camera | {"R": R.tolist(), "t": t.tolist()},
        "pairs": [
            {
                "prediction": "person",
                "first": "first.png",
                "second": "second.png",
                "silhouette": "second-mask.png",
            }
        ],
    } | changes
    path = folder / "views.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def results(scene: Path) -> dict[str, dict[str, Score]]:
    return evaluate_views(scene / "predicted", scene / "views.json")


def test_true_depth_explains_the_second_picture_best(results: dict[str, dict[str, Score]]) -> None:
    (found,) = results.values()
    assert list(found) == [PLANE, BASE, BASE_CONSTANT, REFINED, REFINED_CONSTANT]
    order = [found[name].cs_ref for name in (REFINED_CONSTANT, BASE_CONSTANT, PLANE)]
    assert order == sorted(order, reverse=True), found
    assert order[0] > 0.75, "what sampling costs"
    assert order[0] > order[1] + 0.1
    assert order[1] > order[2] + 0.02
    assert abs(found[REFINED_CONSTANT].constant_m) < 0.011, "true depth stands where it is"
    assert found[REFINED].cs_ref == pytest.approx(order[0], abs=0.02)
    assert found[REFINED].inside > 0.99
    assert found[REFINED].inside > found[BASE_CONSTANT].inside > found[PLANE].inside


def test_a_plane_does_not_say_which_pixels_count(scene: Path, tmp_path: Path) -> None:
    """What the second camera cannot see of a true surface counts for nobody, however much of a plane it sees there."""
    stored = Prediction.load(scene / "predicted" / "person.npz")
    replace(stored, base_depth_m=stored.depth_m).save(tmp_path / "person.npz")
    (found,) = evaluate_views(tmp_path, scene / "views.json").values()
    assert found[BASE_CONSTANT] == found[REFINED_CONSTANT]
    assert found[REFINED_CONSTANT].cs_ref > 0.9  # lost pixels of any other set would count 0


def test_a_constant_more_changes_only_what_is_not_aligned(
    scene: Path, tmp_path: Path, results: dict[str, dict[str, Score]]
) -> None:
    stored = Prediction.load(scene / "predicted" / "person.npz")
    moved = replace(stored, depth_m=np.where(stored.depth_m > 0, stored.depth_m + 0.25, 0).astype(np.float32))
    moved.save(tmp_path / "person.npz")
    (found,) = evaluate_views(tmp_path, scene / "views.json").values()
    (before,) = results.values()
    assert found[REFINED_CONSTANT].constant_m == pytest.approx(-0.25, abs=0.011)
    assert found[REFINED_CONSTANT].cs_ref == pytest.approx(before[REFINED_CONSTANT].cs_ref, abs=0.03)
    assert found[REFINED].cs_ref < before[REFINED].cs_ref - 0.1


def test_the_command_prints_the_gain_and_writes_it(
    scene: Path, capsys: pytest.CaptureFixture[str], results: dict[str, dict[str, Score]]
) -> None:
    out = scene / "evaluation.json"
    code = main(
        ["evaluate", str(scene / "predicted"), "--views", str(scene / "views.json"), "--out", str(out)]
    )
    assert code == 0
    said = capsys.readouterr().out
    assert "refined over base, each with its best constant: cs_ref +" in said
    written = json.loads(out.read_text())["views"]
    assert written["gain"]["cs_ref"]["mean"] == pytest.approx(gain(results, "cs_ref")[0])
    assert written["by_picture"]["person"][REFINED]["inside"] == results["person"][REFINED].inside


def test_lenses_and_places_are_opencvs(tmp_path: Path) -> None:
    """Distortion there and back; a point's pixel is OpenCV's plus half a pixel."""
    rng = np.random.default_rng(0)
    K = np.array([[800.0, 0, 262], [0, 805, 241], [0, 0, 1]])
    R = cv2.Rodrigues(np.array([0.1, 0.4, -0.2]))[0]
    dist = [-0.05, 0.13, 6e-4, 3e-4]
    path = write_views(tmp_path, Camera(K, (SIDE, SIDE)).K, R, np.array([0.1, 0.2, 0.3]))
    content = json.loads(path.read_text())
    content["second"] |= {"K": K.tolist(), "dist": dist}
    path.write_text(json.dumps(content))
    views = Views.load(path)
    points = np.concatenate([rng.uniform(-1, 1, (50, 2)), rng.uniform(3, 4, (50, 1))], axis=1)
    turn, move = views.second.from_other(views.first)
    px = views.second.px_from_cam(points @ turn.T + move)
    expected = cv2.projectPoints(points, cv2.Rodrigues(R)[0], np.array([0.1, 0.2, 0.3]), K, np.array(dist))[
        0
    ][:, 0]
    np.testing.assert_allclose(px, expected + 0.5, atol=1e-9)
    rays = views.second.rays(px)
    np.testing.assert_allclose(rays * (points @ turn.T + move)[:, 2:], points @ turn.T + move, atol=1e-6)
    assert np.isnan(views.second.px_from_cam(np.array([[0.0, 0, -1]]))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "else"}, "format 'else'"),
        ({"pairs": []}, "at least one"),
        ({"second": {"K": [[1]], "hw": [480, 480]}}, "second.K"),
        ({"second": {"hw": [480, 480]}}, "it lacks 'K'"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, change: dict, message: str) -> None:
    path = write_views(tmp_path, np.diag([500.0, 500, 1]), np.eye(3), np.zeros(3), **change)
    with pytest.raises(DatasetError, match=message):
        Views.load(path)


def test_a_picture_of_another_size_is_refused(scene: Path, tmp_path: Path) -> None:
    views = Views.load(scene / "views.json")
    cv2.imwrite(str(scene / "small.png"), np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(DatasetError, match="10 x 10 pixels"):
        views.picture("small.png", views.first)
