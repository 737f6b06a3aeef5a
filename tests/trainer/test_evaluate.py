"""Depth errors in closed form, and the files they come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import DatasetError
from schemas.prediction import Prediction
from schemas.truth import PARTS, Truth
from tests.support.sphere_scene import RADIUS_M, map_intrinsics, sphere_depth
from trainer.cli import main
from trainer.evaluate import evaluate, image_errors, mae_by_part, mae_by_pose, means
from trainer.metrics import DETAIL_PX, depth_errors, detail

K = map_intrinsics(256)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return sphere_depth(256, RADIUS_M)


def test_an_offset_costs_nothing_and_a_scale_nothing_with_scale(truth: np.ndarray) -> None:
    mask = truth > 0
    moved = depth_errors(np.where(mask, truth + 0.7, 0), truth, K)
    assert moved.mae_mm < 1e-6
    assert moved.rmse_mm < 1e-6
    assert (moved.below_2cm, moved.below_5cm) == (1, 1)
    assert depth_errors(truth, truth, K).normals_deg < 1e-4
    stretched = depth_errors(1.2 * truth, truth, K)
    assert stretched.mae_scaled_mm < 1e-6
    assert stretched.mae_mm > 5


def test_closed_values(truth: np.ndarray) -> None:
    """A tenth of the pixels off by 3 cm, a tenth by 10 cm, the rest exact after its offset of 40 cm."""
    mask = truth > 0
    count = mask.sum()
    error = np.zeros(count)
    error[: count // 10] = 0.03
    error[count // 10 : 2 * (count // 10)] = -0.1
    depth = np.zeros_like(truth)
    depth[mask] = truth[mask] + 0.4 + error
    found = depth_errors(depth, truth, K)
    assert found.mae_mm == pytest.approx(13.0, abs=0.01)
    assert found.rmse_mm == pytest.approx(1000 * np.sqrt(0.1 * 0.03**2 + 0.1 * 0.1**2), abs=0.05)
    assert found.below_2cm == pytest.approx(0.8, abs=1e-3)
    assert found.below_5cm == pytest.approx(0.9, abs=1e-3)


def test_the_offset_is_the_best_constant_within_reach_of_the_medians(truth: np.ndarray) -> None:
    """Against the search that the method describes, by brute force."""
    mask = truth > 0
    depth = np.zeros_like(truth)
    depth[mask] = truth[mask] + np.random.default_rng(0).gamma(1.0, 0.06, mask.sum()) - 0.3
    found, true = depth[mask], truth[mask]
    medians = found - true - (np.median(found) - np.median(true))
    searched = min(np.abs(medians - shift).mean() for shift in np.linspace(-0.2, 0.2, 4001))
    assert depth_errors(depth, truth, K).mae_mm == pytest.approx(1000 * searched, abs=1e-3)


def test_the_angle_between_tilted_planes() -> None:
    """z = 4 / (1 - a x') is the plane z = 4 + a X: its normal leans by atan(a)."""
    u = (np.arange(256) + 0.5 - K[0, 2]) / K[0, 0]
    flat = np.full((256, 256), 4.0)
    leaning = np.broadcast_to(4 / (1 - 0.2 * u), (256, 256))
    assert depth_errors(leaning, flat, K).normals_deg == pytest.approx(np.degrees(np.arctan(0.2)), abs=0.05)


def test_detail_is_what_a_gaussian_leaves_behind() -> None:
    """A wave of wavelength l keeps 1 - exp(-2 (pi s / l)^2) of its size; an offset and a slope nothing."""
    flat = np.full((256, 256), 4.0)
    u = np.arange(256) + 0.5
    inner = np.zeros((256, 256), bool)
    inner[40:-40, 40:-40] = True
    for wavelength_px in (8.0, 32.0):
        wave = np.broadcast_to(0.01 * np.sin(2 * np.pi * u / wavelength_px), (256, 256))
        kept = detail(0.3 + 0.001 * u + wave, np.ones((256, 256), bool))
        share = 1 - np.exp(-2 * (np.pi * DETAIL_PX / wavelength_px) ** 2)
        np.testing.assert_allclose(kept[inner], (share * wave)[inner], atol=2e-5)
    wave = np.broadcast_to(0.01 * np.sin(2 * np.pi * u / 8), (256, 256))
    assert depth_errors(flat + wave + 0.5, flat, K).detail_mm == pytest.approx(20 / np.pi, rel=0.02)
    assert depth_errors(flat + 0.5, flat, K).detail_mm < 1e-6


def test_detail_does_not_look_beyond_the_body() -> None:
    rng = np.random.default_rng(5)
    depth, mask = rng.standard_normal((64, 64)), np.zeros((64, 64), bool)
    mask[20:44, 24:40] = True
    elsewhere = np.where(mask, depth, 100.0)
    np.testing.assert_allclose(detail(depth, mask), detail(elsewhere, mask), atol=1e-12)
    assert not detail(depth, mask)[~mask].any()


@pytest.fixture
def folders(truth: np.ndarray, tmp_path: Path) -> tuple[Path, Path]:
    mask = truth > 0
    v, _ = np.indices(truth.shape)
    base = np.where(mask, truth + 0.0005 * v, 0).astype(np.float32)
    for name in ("a", "b"):
        prediction = Prediction(
            depth_m=np.where(mask, truth + 0.1, 0).astype(np.float32), base_depth_m=base, K=K
        )
        prediction.save(tmp_path / "predicted" / f"{name}.npz")
        (tmp_path / "truth").mkdir(exist_ok=True)
        np.savez(tmp_path / "truth" / f"{name}.npz", depth_m=truth, K=K)
    return tmp_path / "predicted", tmp_path / "truth"


def test_folders_are_compared_beside_base_and_plane(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted, truths = folders
    out = tmp_path / "evaluation.json"
    assert main(["evaluate", str(predicted), "--truth", str(truths), "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    mean = written["means"]
    assert written["images"] == 2
    assert mean["refined"]["mae_mm"] < 0.01 < mean["base"]["mae_mm"] < mean["plane"]["mae_mm"]
    said = capsys.readouterr().out
    assert all(name in said for name in ("refined", "base", "plane", "2 image(s)"))
    assert means(evaluate(predicted, truths))["plane"].mae_mm == pytest.approx(mean["plane"]["mae_mm"])


def test_wrong_truths_are_named(folders: tuple[Path, Path], truth: np.ndarray, tmp_path: Path) -> None:
    predicted, truths = folders
    wrong = [
        ({"depth_m": truth[:128], "K": K}, "expected"),
        ({"depth_m": np.where(truth > 0, np.nan, 0), "K": K}, "not finite"),
        ({"depth_m": truth, "K": 2 * K}, "K is"),
        ({"depth_m": np.where(np.indices(truth.shape)[0] < 5, 1.0, 0), "K": K}, "share 0 pixels"),
        ({"depth": truth}, "is not a file of true depth"),
    ]
    for arrays, expected in wrong:
        np.savez(truths / "b.npz", **arrays)
        with pytest.raises(DatasetError, match=expected) as caught:
            evaluate(predicted, truths)
        assert str(truths / "b.npz") in str(caught.value)
    with pytest.raises(DatasetError, match=r"holds 0 truth\(s\), and none"):
        evaluate(predicted, tmp_path)


def test_what_has_no_partner_is_counted_and_left_out(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    predicted, truths = folders
    (truths / "b.npz").rename(truths / "c.npz")
    assert list(evaluate(predicted, truths)) == ["a"]
    assert main(["evaluate", str(predicted), "--truth", str(truths)]) == 0
    said = capsys.readouterr()
    assert "1 image(s)" in said.out
    assert "not compared: 1 prediction(s) without truth, 1 truth(s) without prediction" in said.out + said.err
    (truths / "a.npz").unlink()
    with pytest.raises(DatasetError, match=r"holds 1 truth\(s\), and none"):
        evaluate(predicted, truths)


def test_every_method_is_scored_over_the_pixels_that_all_know(truth: np.ndarray) -> None:
    half = np.where(np.indices(truth.shape)[1] < 128, truth, 0)
    wrong_elsewhere = np.where(half > 0, truth, np.where(truth > 0, truth + 1, 0))
    found = image_errors({"half": half, "whole": wrong_elsewhere}, Truth(depth_m=truth, K=K))
    assert found.methods["whole"].mae_mm < 1e-6
    assert found.parts_mm == {}
    assert found.pose == ""


def test_errors_by_part_keep_the_images_offset(truth: np.ndarray) -> None:
    """The head, a third of the pixels, lies 3 cm too far after the rest has set the offset."""
    mask = truth > 0
    part = np.zeros(truth.shape, np.uint8)
    order = np.flatnonzero(mask)
    part.flat[order] = 1 + PARTS.index("torso")
    part.flat[order[: len(order) // 3]] = 1 + PARTS.index("head")
    depth = np.where(mask, truth + 0.5 + 0.03 * (part == 1), 0)
    images = {
        "a": image_errors({"m": depth}, Truth(depth_m=truth, K=K, part=part, pose="walk")),
        "b": image_errors(
            {"m": np.where(mask, truth, 0)}, Truth(depth_m=truth, K=K, part=part, pose="squat")
        ),
    }
    assert images["a"].parts_mm["head"]["m"] == pytest.approx(30)
    assert images["a"].parts_mm["torso"]["m"] == pytest.approx(0, abs=1e-6)
    assert mae_by_part(images)["head"]["m"] == pytest.approx(15)
    assert list(mae_by_part(images)) == ["head", "torso"]
    assert mae_by_pose(images)["walk"]["m"] == pytest.approx(10, rel=1e-3)
    assert mae_by_pose(images)["squat"]["m"] == pytest.approx(0, abs=1e-6)


def test_other_depths_stand_in_the_same_table(
    folders: tuple[Path, Path], truth: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted, truths = folders
    mask, other = truth > 0, tmp_path / "other"
    for name in ("a", "b"):
        Truth(
            depth_m=truth,
            K=K,
            body_depth_m=np.where(mask, truth + 0.01 * (np.indices(truth.shape)[0] > 128), 0),
            part=np.where(mask, 2, 0).astype(np.uint8),
            pose="walk",
        ).save(truths / f"{name}.npz")
        Prediction(
            depth_m=truth.astype(np.float32), base_depth_m=np.where(mask, 4.0, 0).astype(np.float32), K=K
        ).save(other / f"{name}.npz")
    arguments = ["evaluate", str(predicted), "--truth", str(truths)]
    assert main([*arguments, f"--also=optimised={other}", f"--also-base=flat={other}"]) == 0
    said = capsys.readouterr().out
    lines = {line[:14].strip(): line.split() for line in said.splitlines()}
    assert list(lines)[:11] == ["2 image(s), af", "", "plane", "true body", "base", "refined", "optimised", "flat",
                                "refined recove", "optimised reco", "MAE mm by part"]  # fmt: skip
    assert float(lines["optimised"][1]) < 0.01
    assert float(lines["flat"][1]) == float(lines["plane"][1])
    assert float(lines["true body"][2]) == pytest.approx(5, abs=0.5)
    assert lines["torso"][1:] == [lines[name][-7] for name in ("plane", "true body", "base", "refined", "optimised",
                                                              "flat")]  # fmt: skip
    assert main([*arguments, "--also=nothing"]) == 2
    with pytest.raises(DatasetError, match="is not a prediction"):
        evaluate(predicted, truths, {"x": (tmp_path, False)})
