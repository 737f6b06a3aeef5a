"""The network tracker on a network whose answer is known: its bodies stand where its numbers say, frame by frame."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.body.model import BodyModel, open_body_path
from pipeline.config import BodySettings, Settings, TrackingSettings
from pipeline.geometry.camera import (
    Camera,
    translation_from_weak_perspective,
    weak_perspective_from_translation,
)
from pipeline.method.named_files import check_named_files
from pipeline.method.resources import Resources
from pipeline.records import Footage, Frame, Track
from pipeline.tracking import network_tracker
from pipeline.tracking.network_file import NetworkFile
from pipeline.tracking.network_tracker import NetworkTracker
from schemas.conventions import IMAGE_PX, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE, VECTOR_SIZE
from schemas.errors import AssetError, SettingsError
from tests.support.rendered_people import Performance, rendered, walking

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

IMAGE, MARGIN = 64, 1.2
FACTS = {
    "format": "humandepth-tracknet-export", "format_version": 1, "image_px": IMAGE, "crop_margin": MARGIN,
    "shape_space": "open",
}  # fmt: skip


def write_network(
    path: Path, vector: np.ndarray, slope: np.ndarray | None = None, facts: dict | None = None
) -> Path:
    """vectors = vector + slope mean(image): a graph of two nodes."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weight = np.zeros((1, VECTOR_SIZE), np.float32) if slope is None else slope.astype(np.float32)[None]
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("Gemm", ["column", "weight", "bias"], ["vectors"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", floats, ["batch", 3, IMAGE, IMAGE])],
        [helper.make_tensor_value_info("vectors", floats, ["batch", VECTOR_SIZE])],
        [
            onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
            onnx.numpy_helper.from_array(np.array([1]), "last"),
            onnx.numpy_helper.from_array(weight, "weight"),
            onnx.numpy_helper.from_array(vector.astype(np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"humandepth": json.dumps(FACTS if facts is None else facts)})
    onnx.save(model, str(path))
    return path


def settings_for(path: Path) -> Settings:
    return Settings(tracking=TrackingSettings(tracker="network", network=str(path)))


@pytest.fixture(scope="module")
def performance() -> Performance:
    return walking(turn_deg=20, seconds=0.2, betas=np.array([0.5, -1, 0, 0, 0, 0, 0, 0, 0, 0]))


@pytest.fixture(scope="module")
def film(performance: Performance) -> list[Frame]:
    return list(rendered(BodyModel.open_body(), performance))


def mesh_of(track: Track, at: int) -> np.ndarray:
    vector = track.vector[at]
    place = translation_from_weak_perspective(
        vector[VECTOR_CAMERA], Camera(track.K[at], (IMAGE_PX, IMAGE_PX))
    )
    return BodyModel.open_body().vertices(vector[VECTOR_POSE].reshape(24, 3), vector[VECTOR_BETAS], place)


def true_vector(performance: Performance, crop_px: np.ndarray) -> np.ndarray:
    camera = performance.camera.cropped(crop_px, IMAGE)
    weak = weak_perspective_from_translation(performance.translation[0], camera)
    return np.concatenate([weak, performance.pose[0].reshape(-1), performance.betas])


def test_right_numbers_give_the_right_body(
    tmp_path: Path, performance: Performance, film: list[Frame]
) -> None:
    focal_px = float(performance.camera.K[0, 0])
    anything = write_network(tmp_path / "any.onnx", np.zeros(VECTOR_SIZE))
    tracker = Resources(settings_for(anything)).tracker
    assert isinstance(tracker, NetworkTracker)
    ((_, seen),) = tracker.track_with_landmarks(film[:1], Footage(unit_id="u", focal_px=focal_px))
    vector = true_vector(performance, seen.portraits[0].crop_px)
    right = write_network(tmp_path / "right.onnx", vector)
    (track,) = Resources(settings_for(right)).tracker.track(film[:1], Footage(unit_id="u", focal_px=focal_px))
    expected = BodyModel.open_body().vertices(
        performance.pose[0], performance.betas, performance.translation[0]
    )
    np.testing.assert_allclose(mesh_of(track, 0), expected, atol=1e-4)
    assert track.kept.all(), track.reason
    assert track.quality.silhouette_iou[0] > 0.8


def test_the_crop_is_the_one_of_training(tmp_path: Path, performance: Performance, film: list[Frame]) -> None:
    """1.2 times the person's longer side, so that a silhouette fills 1 / 1.2 of it."""
    path = write_network(tmp_path / "any.onnx", np.zeros(VECTOR_SIZE))
    tracker = Resources(settings_for(path)).tracker
    ((track, seen),) = tracker.track_with_landmarks(film, Footage(unit_id="u"))
    assert len(seen.portraits) == len(film)
    for at, portrait in enumerate(seen.portraits):
        box = track.box_px[at]
        np.testing.assert_allclose(portrait.crop_px[:2], (box[:2] + box[2:]) / 2)
        assert portrait.crop_px[2] == pytest.approx(MARGIN * (box[2:] - box[:2]).max())
        assert portrait.image.shape == (IMAGE, IMAGE, 3)
        body = BodyModel.open_body().vertices(
            performance.pose[at], performance.betas, performance.translation[at]
        )
        px = performance.camera.px_from_cam(body)
        height = (px.max(axis=0) - px.min(axis=0)).max()
        assert portrait.crop_px[2] / height == pytest.approx(MARGIN, rel=0.08)


def test_batches_do_not_matter_and_shape_is_the_tracks(
    tmp_path: Path, film: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    slope = np.random.default_rng(0).normal(0, 0.3, VECTOR_SIZE)
    base = np.concatenate([[0.9, 0, 0, np.pi, 0, 0], np.zeros(79)])
    path = write_network(tmp_path / "sloped.onnx", base, slope)
    tracks = []
    for batch in (1, 4, 32):
        monkeypatch.setattr(network_tracker, "BATCH", batch)
        tracks += Resources(settings_for(path)).tracker.track(film, Footage(unit_id="u"))
    for track in tracks[1:]:
        np.testing.assert_allclose(track.vector, tracks[0].vector, atol=1e-6)
    assert np.ptp(tracks[0].vector[:, VECTOR_POSE], axis=0).max() > 0
    assert np.ptp(tracks[0].vector[:, VECTOR_BETAS], axis=0).max() == 0


def test_files_that_are_no_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    (tmp_path / "tracknet.pt2").write_bytes(b"noise")
    other = write_network(tmp_path / "other.onnx", np.zeros(VECTOR_SIZE), facts={"format": "else"})
    for path in (tmp_path / "noise.onnx", tmp_path / "tracknet.pt2", other, tmp_path / "missing.onnx"):
        with pytest.raises(AssetError, match="tracknet export"):
            NetworkFile(path)
    broken = write_network(tmp_path / "nan.onnx", np.full(VECTOR_SIZE, np.nan))
    with pytest.raises(AssetError, match="not finite"):
        NetworkFile(broken).vectors(np.zeros((2, IMAGE, IMAGE, 3), np.uint8))


def test_a_network_must_be_named(film: list[Frame]) -> None:
    settings = settings_for(Path("x"))
    settings = replace(settings, tracking=replace(settings.tracking, network=""))
    with pytest.raises(SettingsError, match="needs a network"):
        Resources(settings).tracker.track(film, Footage(unit_id="u"))
    with pytest.raises(SettingsError, match=r"'tracking\.network' is ''"):
        check_named_files(settings)
    with pytest.raises(SettingsError, match=r"'body\.file' is 'none\.npz'"):
        check_named_files(Settings(body=BodySettings(file="none.npz")))


def test_a_damaged_body_or_lifter_is_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no arrays")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name in ("text.npz", "other.npz"):
        with pytest.raises(AssetError, match=name):
            check_named_files(Settings(body=BodySettings(file=str(tmp_path / name))))
        with pytest.raises(SettingsError, match=name):
            check_named_files(Settings(tracking=TrackingSettings(lifter=str(tmp_path / name))))
    check_named_files(Settings(body=BodySettings(file=str(open_body_path()))))


def test_shapes_of_another_body_are_refused(tmp_path: Path, film: list[Frame]) -> None:
    path = write_network(tmp_path / "smpl.onnx", np.zeros(VECTOR_SIZE), facts=FACTS | {"shape_space": "smpl"})
    with pytest.raises(SettingsError, match="gives shapes of 'smpl'"):
        Resources(settings_for(path)).tracker.track(film, Footage(unit_id="u"))
