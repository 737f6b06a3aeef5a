"""Whether more than a constant was learned: the figure, its interval, and the cause that is named where not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.prediction import Prediction, prediction_path
from schemas.settings import with_overrides
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import RADIUS_M, map_intrinsics, sphere_depth, sphere_row
from tests.trainer.test_training import SETTINGS
from trainer.batch import batch_of_row
from trainer.cli import main
from trainer.config import DataSettings
from trainer.data import Samples, read_index
from trainer.evaluate_photo import evaluate_photo
from trainer.evidence import Evidence, evidence_of
from trainer.learned import learned_from
from trainer.objective import SampleErrors, sample_errors
from trainer.train import fit

BASE_RADIUS_M = 0.56


def errors(sources: list[str], constant: np.ndarray, refined: np.ndarray) -> tuple[list[SampleErrors], dict]:
    found = [
        SampleErrors(
            sample_id=str(at), references=2, base=1.1 * c, refined=r, constant=c, offset_spread_m=0.01
        )
        for at, (c, r) in enumerate(zip(constant.tolist(), refined.tolist(), strict=True))
    ]
    return found, {str(at): (source, f"{source}/{at % 2}") for at, source in enumerate(sources)}


def test_the_share_is_that_of_sums_and_the_interval_that_of_sources() -> None:
    """Sources differ and their samples do not: by samples the interval would be far too narrow."""
    rng = np.random.default_rng(3)
    sources = np.repeat([f"s{at}" for at in range(12)], 30)
    gain = np.repeat(rng.normal(0.1, 0.15, 12), 30)
    constant = rng.uniform(0.5, 1.5, len(sources))
    found = learned_from(*errors(list(sources), constant, constant * (1 - gain)), seed=1)
    assert found is not None
    assert found.beyond_constant == pytest.approx(1 - (constant * (1 - gain)).sum() / constant.sum())
    assert (found.groups, found.grouped_by, found.samples) == (12, "source", 360)
    by_source = constant.reshape(12, 30).sum(axis=1), (constant * gain).reshape(12, 30).sum(axis=1)
    spread = np.std(by_source[1] / by_source[0], ddof=1) / np.sqrt(12)
    assert (found.high - found.low) / 4 == pytest.approx(spread, rel=0.25)
    assert found == learned_from(*errors(list(sources), constant, constant * (1 - gain)), seed=1)
    assert found.photo_error == pytest.approx((constant * (1 - gain)).sum() / 720)


def test_a_gain_of_every_source_is_shown_and_none_is_not() -> None:
    rng = np.random.default_rng(4)
    sources, constant = [f"s{at % 8}" for at in range(80)], rng.uniform(0.5, 1.5, 80)
    better = learned_from(*errors(sources, constant, 0.9 * constant + rng.normal(0, 0.01, 80)), seed=0)
    same = learned_from(*errors(sources, constant, constant + rng.normal(0, 0.01, 80)), seed=0)
    assert better is not None
    assert same is not None
    assert better.is_shown
    assert not same.is_shown
    assert "-10." in better.sentence() or "-9." in better.sentence()
    assert "no shape was learned" in same.sentence()


@pytest.mark.parametrize(
    ("sources", "tracks", "grouped_by", "groups"),
    [(5, 10, "source", 5), (3, 6, "track", 6), (1, 2, "sample", 30), (1, 1, "sample", 30)],
)
def test_too_few_people_show_nothing(sources: int, tracks: int, grouped_by: str, groups: int) -> None:
    """Whatever all of their samples gain; what is resampled is the coarsest of which there are five."""
    ones = np.ones(30)
    found, _ = errors(["s"] * 30, ones, 0.5 * ones)
    keys = {each.sample_id: (f"s{at % sources}", f"t{at % tracks}") for at, each in enumerate(found)}
    learned = learned_from(found, keys, seed=0)
    assert learned is not None
    assert (learned.grouped_by, learned.groups) == (grouped_by, groups)
    assert learned.is_shown == (grouped_by != "sample")
    assert ("too few people" in learned.sentence()) != learned.is_shown
    assert learned_from([], {}, seed=0) is None


def test_a_constant_is_its_own_control_and_the_truth_is_beyond_it() -> None:
    batch = batch_of_row(sphere_row(1, base_radius_m=BASE_RADIUS_M), DataSettings())
    base, true = sphere_depth(256, BASE_RADIUS_M), sphere_depth(256, RADIUS_M)
    offset = torch.from_numpy(np.where(base > 0, true - base, 0)).float()[None, None]
    (flat,) = sample_errors(batch, torch.full_like(offset, -0.03))
    (found,) = sample_errors(batch, offset)
    assert flat.refined == pytest.approx(flat.constant, rel=1e-5)
    assert flat.offset_spread_m < 1e-7
    assert found.refined < 0.7 * found.constant
    inside = base > 0
    values = (true - base)[inside]
    assert found.offset_spread_m == pytest.approx(np.abs(values - values.mean()).mean(), rel=1e-3)


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"misalignment_px": 3.0}, "misalignment"),
        ({"rotation_deg": 2.0}, "few turns"),
        ({"people": 1}, "few people"),
        ({"found_fraction": 0.02}, "texture"),
        ({"found_fraction": None, "misalignment_px": 1.0}, "misalignment"),
    ],
)
def test_the_cause_that_is_furthest_off_is_named_first(changed: dict, first: str) -> None:
    sound = Evidence(people=100, misalignment_px=0.3, rotation_deg=15.0, found_fraction=0.6)
    assert sound.reasons() == []
    assert replace(sound, **changed).reasons()[0].startswith(first)


def pair(row: dict, reference: dict, **numbers: float | None) -> dict:
    """A row of `pairs` for a reference of a sample."""
    names = ("mean_baseline_m", "median_baseline_m", "p10_baseline_m", "p90_baseline_m", "rotation_deg", "parallax_px",
             "baseline_over_depth", "visible_fraction", "valid_fraction")  # fmt: skip
    return {name: row[name] for name in ("source_id", "clip_id", "track_id")} | {
        "target_frame": row["frame_index"], "reference_frame": reference["frame_index"], "gap_frames": 1, "gap_s": 0.1,
        "estimated": False, **{name: reference[name] for name in names}, "target_depth_m": 4.0, "focal_px": 500.0,
        "photo_error": 0.1, "across_px": None, "along_px": None, "kept": True, "reason": "", **numbers,
    }  # fmt: skip


def test_fit_says_what_was_learned_and_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [sphere_row(seed, base_radius_m=BASE_RADIUS_M, track=f"clip/p0{seed % 2}") for seed in range(4)]
    root = write_dataset(tmp_path / "dataset", rows)
    fit(str(root), str(tmp_path / "out"), with_overrides(SETTINGS, ["train.max_steps=1"]))
    said = capsys.readouterr().err
    facts = json.loads((tmp_path / "out" / "checkpoint.json").read_text())["learned"]
    assert (facts["grouped_by"], facts["samples"], facts["is_shown"]) == ("sample", 2, False)
    assert "beyond a constant" in said
    assert "warning: nothing beyond a constant was learned that shows" in said
    assert facts["reasons"][0].startswith("few people: 1 source")


def test_evidence_is_that_of_the_kept_pairs_of_tracks_that_are_trained_on(tmp_path: Path) -> None:
    from pipeline.dataset.unit_sink import UnitSink

    rows = [sphere_row(seed, track=f"clip/p0{seed % 2}") for seed in range(2)]
    root = write_dataset(tmp_path / "dataset", rows)
    with UnitSink(str(root), "unit-pairs", "fingerprint") as sink:
        for row, apart in zip(rows, (1.5, 9.0), strict=True):
            numbers = {"misalignment_px": apart, "textured_fraction": 0.5, "matched_fraction": 0.4}
            sink.emit("pairs", pair(row, row["references"][0], **numbers))
            sink.emit(
                "pairs",
                pair(row, row["references"][1], **(numbers | {"kept": False, "misalignment_px": 50.0})),
            )
    dataset = Dataset.open(root)
    training = [ref for ref in read_index(dataset) if ref.track_id == "clip/p00"]
    found = evidence_of([dataset], training)
    assert found.people == 1
    assert found.misalignment_px == 1.5
    assert found.found_fraction == pytest.approx(0.2)
    assert found.rotation_deg == pytest.approx(10.0, abs=0.1)


@pytest.fixture
def predicted(tmp_path: Path) -> tuple[Path, Path]:
    """A dataset of two tracks; predictions are the truth for one sample of each and a constant for the others."""
    rows = [sphere_row(seed, base_radius_m=BASE_RADIUS_M, track=f"clip/p0{seed % 2}") for seed in range(4)]
    root = write_dataset(tmp_path / "dataset", rows)
    true = sphere_depth(256, RADIUS_M)
    for at, row in enumerate(rows):
        base = row["base_depth"]
        depth = np.where(base > 0, true if at < 2 else base - 0.03, 0)
        prediction = Prediction(
            depth_m=depth.astype(np.float32), base_depth_m=base.astype(np.float32), K=map_intrinsics(256)
        )
        prediction.save(prediction_path(tmp_path / "predicted", row["sample_id"]))
    return tmp_path / "predicted", root


def test_evaluate_gives_the_same_figures_for_predictions(
    predicted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = predicted
    out = tmp_path / "evaluation.json"
    assert main(["evaluate", str(folder), "--dataset", str(root), "--out", str(out)]) == 0
    assert "beyond a constant: -" in capsys.readouterr().out
    photo = json.loads(out.read_text())["photo"]
    assert (photo["samples"], photo["grouped_by"], photo["groups"]) == (4, "sample", 4)
    assert photo["beyond_constant"] > 0
    assert not photo["is_shown"]
    assert photo["photo_error"] < photo["constant_photo_error"] < photo["base_photo_error"]
    refs = read_index(Dataset.open(root))
    samples = Samples(refs, DataSettings(max_references=99), seed=0, training=False)
    expected = []
    for at, ref in enumerate(refs):
        batch = samples[0, at]
        prediction = Prediction.load(prediction_path(folder, ref.sample_id))
        base = batch.base_depth[0, 0].numpy()
        offset = torch.from_numpy(np.where(base > 0, prediction.depth_m - base, 0)).float()[None, None]
        expected += sample_errors(batch, offset)
    count = sum(each.references for each in expected)
    assert photo["photo_error"] == pytest.approx(sum(each.refined for each in expected) / count, rel=1e-6)


def test_predictions_of_other_bodies_or_of_nothing_are_refused(
    predicted: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, root = predicted
    path = next(iter(sorted(folder.glob("*.npz"))))
    stored = Prediction.load(path)
    replace(stored, base_depth_m=stored.base_depth_m + np.float32(0.05)).save(path)
    with pytest.raises(DatasetError, match="its base depth is not that of sample"):
        evaluate_photo(folder, str(root))
    with pytest.raises(DatasetError, match="no prediction of a sample"):
        evaluate_photo(tmp_path, str(root))
    assert main(["evaluate", str(folder)]) == 2
