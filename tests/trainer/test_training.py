"""Training learns what is true, can be stopped and resumed, and says what is wrong."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.dataset import Dataset
from schemas.errors import CheckpointError, SettingsError
from schemas.prediction import Prediction, prediction_path
from schemas.settings import with_overrides
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import RADIUS_M, map_intrinsics, sphere_depth, sphere_row
from trainer.batch import batch_of_row, collate
from trainer.checkpoint import FACTS_NAME, load_checkpoint, load_into, save_checkpoint
from trainer.cli import main
from trainer.config import DataSettings, ModelSettings, Settings, preset
from trainer.data import Samples, read_index
from trainer.metrics import depth_errors
from trainer.model import ReconNet
from trainer.objective import losses_of, validate
from trainer.step import learning_rate_factor, train_step
from trainer.train import NonFiniteLossError, fit
from trainer.truth import Truths

BASE_RADIUS_M = 0.56
TINY = ModelSettings(downs=4, width=16, stem_width=8, kernel_px=3, groups=4, blocks=1, head_blocks=1)
SETTINGS = with_overrides(
    replace(preset("small"), model=TINY),
    ["train.max_steps=6", "train.batch_size=1", "train.log_every=1", "train.validate_every=3", "data.split_by=track",
     'data.held_out=["clip/p01"]', "losses.gamma_reg=0.0", "data.workers=0"],
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [sphere_row(seed, base_radius_m=BASE_RADIUS_M, track=f"clip/p0{seed % 2}") for seed in range(6)]
    return write_dataset(tmp_path_factory.mktemp("train") / "dataset", rows)


@pytest.fixture(scope="module")
def true_offset() -> torch.Tensor:
    base, true = sphere_depth(256, BASE_RADIUS_M), sphere_depth(256, RADIUS_M)
    return torch.from_numpy(np.where(base > 0, true - base, 0)).float()[None, None]


def test_the_loss_is_lowest_at_the_truth(true_offset: torch.Tensor) -> None:
    """The reference picture, carried by the true depth, is the target's picture: nothing else fits as well."""
    batch = batch_of_row(sphere_row(1, base_radius_m=BASE_RADIUS_M), DataSettings())
    settings = replace(SETTINGS.losses, gamma_smooth=0.0)
    photo = {
        share: float(losses_of(batch, share * true_offset, settings).photo)
        for share in (0.0, 0.5, 0.9, 1.0, 1.1, 2.0)
    }
    assert min(photo, key=photo.__getitem__) == 1.0
    assert photo[1.0] < 0.25 * photo[0.0], photo
    wrong = float(losses_of(replace(batch, motion=-batch.motion), true_offset, settings).photo)
    assert wrong > photo[0.0]


def test_descending_the_loss_finds_the_depth(true_offset: torch.Tensor) -> None:
    """No network: the offset itself, from the base depth, must approach the truth by the loss alone."""
    rows = [sphere_row(1, base_radius_m=BASE_RADIUS_M, turns_deg=(8.0, -8.0, 14.0))]
    batch = batch_of_row(rows[0], DataSettings())
    window = batch.body_window
    cut, truth = batch.windowed(window), true_offset[..., window[0], window[1]]
    coarse = torch.zeros(1, 1, 12, 12, requires_grad=True)
    optimizer = torch.optim.Adam([coarse], lr=0.004)
    for _ in range(60):
        offset = torch.nn.functional.interpolate(coarse, truth.shape[-2:], mode="bilinear")
        optimizer.zero_grad()
        losses_of(cut, offset, SETTINGS.losses).total.backward()
        optimizer.step()
    seen = cut.valid.amax(1) > 0
    before, after = truth[seen].abs().mean(), (offset.detach() - truth)[seen].abs().mean()
    assert after < 0.35 * before, (float(before), float(after))


def test_a_step_lowers_the_loss_of_its_batch(root: Path) -> None:
    torch.manual_seed(0)
    model = ReconNet(TINY)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batch = batch_of_row(sphere_row(1, base_radius_m=BASE_RADIUS_M), SETTINGS.data)
    seen = [train_step(model, optimizer, [batch], SETTINGS) for _ in range(15)]
    totals = [step[0][0].total.item() for step in seen if step is not None]
    assert len(totals) == 15
    assert totals[-1] < 0.97 * totals[0], totals


def test_cutting_to_the_body_changes_no_loss(true_offset: torch.Tensor) -> None:
    batch = batch_of_row(sphere_row(2, base_radius_m=BASE_RADIUS_M), DataSettings())
    window = batch.body_window
    whole = losses_of(batch, true_offset, SETTINGS.losses)
    cut = losses_of(batch.windowed(window), true_offset[..., window[0], window[1]], SETTINGS.losses)
    assert float(cut.total) == pytest.approx(float(whole.total), rel=1e-5)


def test_padding_changes_no_loss() -> None:
    short = batch_of_row(sphere_row(1, turns_deg=(10.0,)), DataSettings())
    long = batch_of_row(sphere_row(2, turns_deg=(9.0, 7.0, -8.0)), DataSettings())
    both = collate([short, long])
    offset = torch.full((2, 1, 256, 256), 0.01)
    alone = losses_of(short, offset[:1], SETTINGS.losses)
    other = losses_of(both, offset, SETTINGS.losses)
    rest = losses_of(long, offset[:1], SETTINGS.losses)
    np.testing.assert_allclose(other.photo, [float(alone.photo), float(rest.photo)], rtol=1e-5)


def test_fit_leaves_a_checkpoint_and_a_log(root: Path, tmp_path: Path) -> None:
    last = fit(str(root), str(tmp_path / "out"), SETTINGS)
    assert last is not None
    assert last.samples == 3
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.settings == SETTINGS
    assert checkpoint.step == 6
    assert checkpoint.validation == last.as_dict()
    entries = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "total" in entry] == [1, 2, 3, 4, 5, 6]
    assert [entry["step"] for entry in entries if "validation" in entry] == [3, 6]
    refs = [ref for ref in read_index(Dataset.open(root)) if ref.track_id == "clip/p01"]
    held = Samples(refs, SETTINGS.data, seed=1, training=False)
    again = validate(checkpoint.model(), [held[0, at] for at in range(3)], torch.device("cpu"))
    assert again.photo_error == pytest.approx(last.photo_error, rel=1e-6)


def test_validation_of_the_truth_is_better_than_the_base(true_offset: torch.Tensor) -> None:
    class Oracle(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return true_offset.expand(len(inputs), -1, -1, -1)

    batches = [batch_of_row(sphere_row(seed, base_radius_m=BASE_RADIUS_M), DataSettings()) for seed in (1, 2)]
    seen = validate(Oracle(), batches, torch.device("cpu"))  # type: ignore[arg-type]
    assert seen.photo_error < 0.4 * seen.base_photo_error
    assert seen.reduction > seen.constant_reduction + 0.1
    assert seen.mean_offset_m == pytest.approx(float(true_offset[true_offset != 0].abs().mean()), rel=1e-3)


def test_the_control_of_a_constant_is_that_constant() -> None:
    """A network that gives 3 cm everywhere is no better than 3 cm: both are measured alike."""

    class Constant(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.full((len(inputs), 1, 256, 256), -0.03)

    batches = [batch_of_row(sphere_row(seed, base_radius_m=BASE_RADIUS_M), DataSettings()) for seed in (1, 2)]
    seen = validate(Constant(), batches, torch.device("cpu"))
    assert seen.constant_photo_error == pytest.approx(seen.photo_error, rel=1e-4)
    assert seen.constant_reduction == pytest.approx(seen.reduction, abs=1e-4)
    assert abs(seen.reduction) > 0.1


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_stopping_and_resuming_changes_no_bit(root: Path, tmp_path: Path, optimiser: str) -> None:
    settings = with_overrides(SETTINGS, [f"train.optimiser={optimiser}"])
    fit(str(root), str(tmp_path / "whole"), settings)
    # The schedule belongs to the whole run, so the first part is stopped, not told to be shorter.
    stopped = StoppedAfter(steps=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.run.train_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            fit(str(root), str(tmp_path / "parts"), settings)
    assert load_checkpoint(tmp_path / "parts").step == 3
    fit(str(root), str(tmp_path / "parts"), settings, resume=True)
    whole, parts = (load_checkpoint(tmp_path / name).model().state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


class StoppedAfter:
    """`train_step` that is interrupted after so many steps."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def __call__(self, *arguments: object) -> object:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        return train_step(*arguments)  # type: ignore[arg-type]


def test_an_existing_checkpoint_is_not_overwritten(root: Path, tmp_path: Path) -> None:
    one_step = with_overrides(SETTINGS, ["train.max_steps=1"])
    fit(str(root), str(tmp_path), one_step)
    with pytest.raises(CheckpointError, match="--resume"):
        fit(str(root), str(tmp_path), one_step)
    other = replace(one_step, model=replace(TINY, width=24))
    with pytest.raises(CheckpointError, match="other model settings"):
        fit(str(root), str(tmp_path), other, resume=True)


def test_a_loss_that_is_not_finite_changes_nothing_and_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ReconNet(TINY)
    batch = batch_of_row(sphere_row(1), SETTINGS.data)
    batch.inputs[:] = float("nan")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert train_step(model, torch.optim.Adam(model.parameters()), [batch], SETTINGS) is None
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.run.train_step", lambda *arguments: None)
        with pytest.raises(NonFiniteLossError, match="clip/p00"):
            fit(str(root), str(tmp_path), SETTINGS)
    assert "skipped; samples clip/p00" in capsys.readouterr().err


def test_the_rate_warms_up_and_falls() -> None:
    settings = replace(SETTINGS.train, max_steps=1000, warm_up_steps=10)
    factors = [learning_rate_factor(step, 0.0, settings) for step in range(1000)]
    assert factors[0] == pytest.approx(0.1, rel=1e-3)
    assert max(factors) == pytest.approx(1, abs=1e-3)
    assert all(a > b for a, b in itertools.pairwise(factors[20:]))
    assert factors[-1] == pytest.approx(0.01, rel=0.01)
    timed = replace(settings, max_minutes=2.0)
    assert learning_rate_factor(10, 1.0, timed) == pytest.approx(0.505)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model = ReconNet(TINY)
    optimizer = torch.optim.Adam(model.parameters())
    save_checkpoint(tmp_path / "ck", model, optimizer, Settings(model=TINY), 7, {"photo_error": 0.1})
    return tmp_path / "ck"


def test_checkpoints_hold_no_pickle_and_one_set_of_files(checkpoint: Path) -> None:
    model = ReconNet(TINY)
    save_checkpoint(checkpoint, model, torch.optim.Adam(model.parameters()), Settings(model=TINY), 8, {})
    names = sorted(path.name for path in checkpoint.iterdir())
    assert names == [FACTS_NAME, "optimizer-0000008.safetensors", "weights-0000008.safetensors"]
    assert load_checkpoint(checkpoint).step == 8


def test_damaged_checkpoints_are_refused(checkpoint: Path) -> None:
    weights = checkpoint / "weights-0000007.safetensors"
    whole, facts = weights.read_bytes(), (checkpoint / FACTS_NAME).read_text()
    weights.write_bytes(whole[:-1] + b"\0")
    with pytest.raises(CheckpointError, match="weights-0000007"):
        load_checkpoint(checkpoint)
    weights.write_bytes(whole)
    renamed, escaping = facts.replace('"width"', '"breadth"'), facts.replace('"step": 7', '"step": "../7"')
    for broken in ("{", "[]", "{}", renamed, escaping):
        (checkpoint / FACTS_NAME).write_text(broken)
        with pytest.raises(CheckpointError, match="not a checkpoint"):
            load_checkpoint(checkpoint)
    (checkpoint / FACTS_NAME).write_text(facts.replace('"format_version": 3', '"format_version": 4'))
    with pytest.raises(CheckpointError, match="version 4"):
        load_checkpoint(checkpoint)
    with pytest.raises(CheckpointError, match="nowhere"):
        load_checkpoint(checkpoint / "nowhere")


def test_checkpoints_of_version_2_are_read(checkpoint: Path) -> None:
    facts = json.loads((checkpoint / FACTS_NAME).read_text())
    facts["format_version"] = 2
    del facts["settings"]["data"]["selection"]
    facts["settings"]["data"]["view"] = "wide"
    (checkpoint / FACTS_NAME).write_text(json.dumps(facts))
    assert load_checkpoint(checkpoint).settings.data == DataSettings(selection="wide")


def test_weights_of_another_architecture_are_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="another architecture"):
        load_into(ReconNet(replace(TINY, width=24)), checkpoint / "weights-0000007.safetensors")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The true depth of two of the three held-out samples."""
    folder = tmp_path_factory.mktemp("truth")
    for name in ("clip/p01/000010", "clip/p01/000030"):
        depth = sphere_depth(256, RADIUS_M).astype(np.float32)
        found = Prediction(depth_m=depth, base_depth_m=depth, K=map_intrinsics(256))
        found.save(prediction_path(folder, name))
    return folder


def test_validation_knows_the_depth_error_where_the_truth_is_known(
    truth: Path, true_offset: torch.Tensor
) -> None:
    class Oracle(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return true_offset.expand(len(inputs), -1, -1, -1)

    rows = [sphere_row(seed, base_radius_m=BASE_RADIUS_M, track="clip/p01") for seed in (1, 2, 3)]
    batches = [batch_of_row(row, DataSettings()) for row in rows]
    seen = validate(Oracle(), batches, torch.device("cpu"), Truths(truth))
    assert seen.depth_errors is not None
    assert seen.base_depth_errors is not None
    assert seen.depth_errors.mae_mm < 1e-3
    base, true = sphere_depth(256, BASE_RADIUS_M), sphere_depth(256, RADIUS_M)
    expected = depth_errors(base.astype(np.float32), true, map_intrinsics(256))
    assert seen.base_depth_errors.mae_mm == pytest.approx(expected.mae_mm, rel=1e-4)
    assert seen.as_dict()["base_depth_normals_deg"] == pytest.approx(expected.normals_deg, rel=1e-3)
    assert validate(Oracle(), batches, torch.device("cpu")).depth_errors is None


def test_fit_logs_the_depth_error(root: Path, truth: Path, tmp_path: Path) -> None:
    changes = ["--set", "train.max_steps=1", "--set", "data.workers=0", "--set", 'data.held_out=["clip/p01"]']
    changes += ["--set", "data.split_by=track", "--set", "model.width=8", "--set", "model.downs=2"]
    wanted = ["--preset", "small", "--device", "cpu", *changes]
    given = [
        "fit",
        str(root),
        "--truth",
        str(truth),
        "--where",
        "frame_index < 45",
        "--out",
        str(tmp_path / "a"),
    ]
    assert main([*given, *wanted]) == 0
    entries = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    (validation,) = [entry["validation"] for entry in entries if "validation" in entry]
    assert validation["samples"] == 2
    assert 0 < validation["depth_mae_mm"] < 1.5 * validation["base_depth_mae_mm"]
    assert load_checkpoint(tmp_path / "a").validation == validation
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="true depth of none"):
        fit(str(root), str(tmp_path / "b"), with_overrides(SETTINGS, [f"data.truth={tmp_path / 'empty'}"]))


def test_a_resumed_log_holds_no_step_twice(root: Path, tmp_path: Path) -> None:
    """A run that died after its last checkpoint has logged steps that the next one takes again."""
    settings = with_overrides(SETTINGS, ["train.max_steps=4", "train.validate_every=2"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.run.train_step", StoppedAfter(steps=3))
        with pytest.raises(KeyboardInterrupt):
            fit(str(root), str(tmp_path), settings)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 9, "mi')
    fit(str(root), str(tmp_path), settings, resume=True)
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "total" in entry] == [1, 2, 3, 4]


def test_moments_come_back_on_the_device_of_their_parameters(tmp_path: Path) -> None:
    model = ReconNet(SETTINGS.model)
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    save_checkpoint(tmp_path, model, optimizer, SETTINGS, 1, {})
    elsewhere = ReconNet(SETTINGS.model).to("meta")
    restored = torch.optim.Adam(elsewhere.parameters())
    load_checkpoint(tmp_path).restore_optimizer(restored)
    for state in restored.state.values():
        assert state["exp_avg"].device.type == state["exp_avg_sq"].device.type == "meta"
        assert state["step"].device.type == "cpu"
