"""Direct optimisation: it finds the true offset where everything is exact, and its figures are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.dataset import Dataset
from schemas.errors import SettingsError
from schemas.prediction import Prediction, prediction_path
from schemas.truth import Truth
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import RADIUS_M, map_intrinsics, sphere_depth, sphere_row
from trainer.batch import collate
from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.cli import main
from trainer.config import DataSettings, preset
from trainer.data import Samples, read_index
from trainer.model import ReconNet
from trainer.objective import losses_of
from trainer.predictor import Predictor
from trainer.probe import PROBE_LOSSES, ProbeSettings, optimised_offset
from trainer.recovery import Recovery, mean_recovery, recovery
from trainer.subject import subjects_of_dataset

BASE_RADIUS_M = 0.56


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = [sphere_row(seed, base_radius_m=BASE_RADIUS_M, turns_deg=(10.0, -14.0, 18.0)) for seed in (1, 2)]
    return str(write_dataset(tmp_path_factory.mktemp("probe") / "dataset", rows))


def test_most_of_a_sphere_that_is_too_small_is_found(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = sphere_depth(256, RADIUS_M)
    for seed in (1, 2):
        path = prediction_path(tmp_path / "truth", f"clip/p00/{10 * seed:06d}")
        Truth(depth_m=truth, K=map_intrinsics(256)).save(path)
    arguments = ["probe", dataset, "--out", str(tmp_path / "out"), "--steps", "40", "--device", "cpu"]
    assert main([*arguments, "--truth", str(tmp_path / "truth")]) == 0
    said = capsys.readouterr().out
    assert "wrote 2 optimised depth(s)" in said
    assert float(said.rpartition(":")[2].split()[0]) > 30  # % recovered
    found = Prediction.load(tmp_path / "out" / "clip_p00_000010.npz")
    np.testing.assert_array_equal(found.depth_m > 0, found.base_depth_m > 0)
    base = found.base_depth_m > 0
    before, after = (np.abs(depth - truth)[base].mean() for depth in (found.base_depth_m, found.depth_m))
    assert after < 0.25 * before  # the pictures know where the whole surface lies, too


def test_samples_do_not_interact(dataset: str) -> None:
    samples = Samples(read_index(Dataset.open(dataset)), DataSettings(), seed=0, training=False)
    settings = ProbeSettings(steps=6)
    together = optimised_offset(collate([samples[0, 0], samples[0, 1]]), PROBE_LOSSES, settings)
    alone = optimised_offset(samples[0, 0], PROBE_LOSSES, settings)
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)
    assert alone.abs().max() > 1e-3


def test_smoothness_and_the_pull_to_zero_hold_for_what_is_not_expected(dataset: str) -> None:
    samples = Samples(read_index(Dataset.open(dataset)), DataSettings(), seed=0, training=False)
    batch = samples[0, 0]
    bumps = 0.02 * torch.sin(torch.arange(256.0) / 9)[:, None] * torch.cos(torch.arange(256.0) / 7)
    offset = bumps[None, None] * batch.mask
    alone, expected = (
        losses_of(batch, offset, PROBE_LOSSES),
        losses_of(batch, offset, PROBE_LOSSES, expected=offset),
    )
    torch.testing.assert_close(expected.photo, alone.photo)  # pictures see the whole offset
    assert float(alone.smooth) > 1e-3
    assert float(alone.reg) > 1e-3
    assert float(expected.smooth) == float(expected.reg) == 0
    further = losses_of(batch, offset + 0.01, PROBE_LOSSES, expected=offset)
    assert float(further.reg) == pytest.approx(0.01, rel=1e-5)


def test_a_probe_begins_at_the_shape_that_a_network_predicts(dataset: str, tmp_path: Path) -> None:
    """One small step of the optimiser leaves that nearly as it is; the network's constant is not taken over."""
    torch.manual_seed(3)
    settings = preset("small")
    model = ReconNet(settings.model)
    torch.nn.init.normal_(model.last.weight, std=0.3)
    save_checkpoint(tmp_path / "checkpoint", model, torch.optim.Adam(model.parameters()), settings, 1, {})
    arguments = ["probe", dataset, "--out", str(tmp_path / "out"), "--steps", "1", "--device", "cpu"]
    assert main([*arguments, "--checkpoint", str(tmp_path / "checkpoint")]) == 0
    found = Prediction.load(tmp_path / "out" / "clip_p00_000010.npz")
    on_body = found.base_depth_m > 0
    (subject,) = subjects_of_dataset(dataset, ["clip/p00/000010"])
    predicted = Predictor(load_checkpoint(tmp_path / "checkpoint"), "cpu").predict(subject)
    offset_m = (predicted.depth_m - predicted.base_depth_m)[on_body]
    assert offset_m.std() > 5e-3
    np.testing.assert_allclose(
        (found.depth_m - found.base_depth_m)[on_body], offset_m - offset_m.mean(), atol=2e-3
    )
    assert (found.depth_m[~on_body] == 0).all()


def test_recovery_in_closed_form() -> None:
    """Half of the base is 3 cm off: after the best offset every pixel errs by 1.5 cm, found by a third of that."""
    truth = np.full((20, 20), 4.0)
    wrong = np.zeros((20, 20))
    wrong[:10] = 0.03
    seen = np.ones((20, 20), bool)
    found = recovery(truth + wrong / 3 + 0.2, truth + wrong, truth, seen)
    assert found.base_mm == pytest.approx(15)
    assert found.found_mm == pytest.approx(5)
    assert found.share == pytest.approx(2 / 3)
    seen[:10] = False
    slanted = truth + 1e-3 * np.indices(seen.shape)[1]
    assert recovery(truth + wrong, slanted, truth, seen).base_mm == pytest.approx(5)
    far = np.where(np.indices(seen.shape)[0] == 15, 0.5, 0.0)  # no offset could mend it: not counted
    assert recovery(truth, truth + far, truth, np.ones_like(seen)).base_mm == pytest.approx(0, abs=1e-9)
    assert np.isnan(recovery(truth, truth, np.zeros_like(truth), seen).share)


def test_a_mean_of_recoveries_is_one_of_errors() -> None:
    nothing = Recovery(base_mm=float("nan"), found_mm=float("nan"))
    mean = mean_recovery([Recovery(base_mm=10, found_mm=4), Recovery(base_mm=30, found_mm=26), nothing])
    assert (mean.base_mm, mean.found_mm, mean.share) == (20, 15, 0.25)


def test_wrong_settings_are_named(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="probe steps"):
        ProbeSettings(steps=0)
    assert main(["probe", dataset, "--out", str(tmp_path), "--batch", "0"]) == 2
    assert main(["probe", dataset, "--out", str(tmp_path), "--sample", "none"]) == 1


def test_corrections_take_up_what_bodies_err_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each reference's body is 1 cm aside, in a direction of its own: without corrections that becomes depth."""
    row = sphere_row(3, base_radius_m=BASE_RADIUS_M, turns_deg=(10.0, -14.0, 18.0))
    aside = np.random.default_rng(5).standard_normal((len(row["references"]), 3))
    for reference, direction in zip(row["references"], aside, strict=True):
        on_body = (row["base_depth"] > 0)[..., None]
        shift = 0.01 * direction / np.linalg.norm(direction)
        reference["motion"] = (reference["motion"] + on_body * np.r_[0, 0, 0, shift]).astype(np.float16)
    root = str(write_dataset(tmp_path / "dataset", [row]))
    truth = Truth(depth_m=sphere_depth(256, RADIUS_M), K=map_intrinsics(256))
    truth.save(prediction_path(tmp_path / "truth", row["sample_id"]))
    recovered = {}
    for flags in ((), ("--corrections",)):
        arguments = [
            "probe",
            root,
            "--out",
            str(tmp_path / "out"),
            "--steps",
            "60",
            "--device",
            "cpu",
            *flags,
        ]
        assert main([*arguments, "--truth", str(tmp_path / "truth")]) == 0
        recovered[flags] = float(capsys.readouterr().out.rpartition(":")[2].split()[0])
    assert recovered["--corrections",] > recovered[()] + 15, recovered
