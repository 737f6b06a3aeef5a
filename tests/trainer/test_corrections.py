"""Corrections of the motion: what they are, that they find planted misalignment, that depth is better for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from schemas.errors import CheckpointError, SettingsError
from schemas.settings import with_overrides
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import RADIUS_M, rays, sphere_depth, sphere_row
from tests.trainer.test_training import StoppedAfter
from trainer.batch import Batch, batch_of_row, collate
from trainer.checkpoint import load_checkpoint
from trainer.config import CorrectionSettings, DataSettings, LossSettings, ModelSettings, Settings, preset
from trainer.corrections import CorrectionTable, corrected, displacements, prior, variable_count
from trainer.data import SampleRef
from trainer.metrics import best_offset
from trainer.objective import losses_of
from trainer.processes import Processes
from trainer.train import fit
from trainer.warp import pixel_rays, project, reference_points

SETTINGS = CorrectionSettings(field_nodes=5)
TURNS_DEG = (9.0, -9.0, 14.0, -13.0)
BASE_RADIUS_M = 0.57


def plant(batch: Batch, seed: int, turn_deg: float = 0.7, shift_m: float = 0.012) -> Batch:
    """The batch with each reference's points turned and shifted, by scipy and not by what is tested."""
    rng = np.random.default_rng(seed)
    points = rays(256) * batch.base_depth[0, 0].numpy()[..., None]
    mask = batch.base_depth[0, 0].numpy() > 0
    motion = batch.motion.clone()
    for number in range(motion.shape[1]):
        moved = points + motion[0, number, 3:].permute(1, 2, 0).numpy()
        centre = moved[mask].mean(0)
        turn = Rotation.from_rotvec(np.radians(turn_deg) * rng.choice([-1, 1], 3))
        wrong = turn.apply((moved - centre).reshape(-1, 3)).reshape(moved.shape) + centre
        wrong += shift_m * rng.choice([-1, 1], 3) * [1, 1, 0]
        motion[0, number, 3:] = torch.from_numpy((wrong - points) * mask[..., None]).permute(2, 0, 1).float()
    return replace(batch, motion=motion)


def pixels(batch: Batch, offset: torch.Tensor) -> torch.Tensor:
    points = reference_points(offset, batch.base_depth, pixel_rays(batch.K, (256, 256)), batch.motion)
    return project(points, batch.reference_K)[0]


def sphere_batch(seed: int, base_radius_m: float) -> Batch:
    return batch_of_row(sphere_row(seed, base_radius_m=base_radius_m, turns_deg=TURNS_DEG), DataSettings())


def drawn(
    batch: Batch, seed: int, scale: float = 1.0, settings: CorrectionSettings = SETTINGS
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    count = batch.motion.shape[1]
    return scale * torch.randn(1, count, variable_count(settings), generator=generator)


def test_zero_changes_nothing_and_a_shift_is_a_shift() -> None:
    batch = sphere_batch(1, RADIUS_M)
    zero = torch.zeros(1, 4, variable_count(SETTINGS))
    assert torch.equal(corrected(batch, zero, SETTINGS).motion, batch.motion)
    shifted = zero.clone()
    shifted[0, 2, 4] = 1.5
    delta = displacements(batch, shifted, SETTINGS)
    assert (delta[0, [0, 1, 3]] == 0).all()
    expected = torch.tensor([0.0, 1.5 * SETTINGS.shift_m, 0.0]).view(3, 1, 1).expand(3, 256, 256)
    torch.testing.assert_close(delta[0, 2], expected)


def test_a_turn_is_scipys_to_first_order_about_the_bodys_middle() -> None:
    """1.5 degrees: rotation minus identity, less the second-order term of at most |w|^2 r / 2 = .2 mm at .6 m."""
    batch = sphere_batch(2, RADIUS_M)
    variables = torch.zeros(1, 4, variable_count(SETTINGS))
    variables[0, 1, :3] = torch.tensor([0.6, -0.5, 0.6])
    mask = batch.base_depth[0, 0].numpy() > 0
    moved = rays(256) * batch.base_depth[0, 0].numpy()[..., None]
    moved = (moved + batch.motion[0, 1, 3:].permute(1, 2, 0).numpy())[mask]
    around = moved - moved.mean(0)
    turn = Rotation.from_rotvec(np.radians(SETTINGS.turn_deg) * np.array([0.6, -0.5, 0.6]))
    delta = displacements(batch, variables, SETTINGS)[0, 1].permute(1, 2, 0).numpy()[mask]
    np.testing.assert_allclose(delta, turn.apply(around) - around, atol=2.5e-4)
    assert np.abs(delta).max() > 8e-3


def test_the_field_is_bilinear_between_its_nodes_and_leaves_z_alone() -> None:
    """A node's value at its own pixel, the mean of two half-way: nodes of a 5 x 5 grid are 63.75 pixels apart."""
    batch = sphere_batch(3, RADIUS_M)
    variables = torch.zeros(1, 4, variable_count(SETTINGS))
    nodes = variables[0, 0, 6:].view(2, 5, 5)
    nodes[0, 0, 0], nodes[1, 4, 4] = 2.0, -3.0
    delta = displacements(batch, variables, SETTINGS)[0, 0] / SETTINGS.field_m
    assert float(delta[0, 0, 0]) == pytest.approx(2.0, abs=1e-5)
    assert float(delta[1, 255, 255]) == pytest.approx(-3.0, abs=1e-5)
    assert float(delta[0, 0, 32]) == pytest.approx(2.0 * (1 - 32 / 63.75), abs=1e-5)
    assert (delta[0, 64:, :] == 0).all()
    assert (delta[2] == 0).all()


def test_gradients_in_float64() -> None:
    batch = sphere_batch(4, RADIUS_M)
    small = {
        name: getattr(batch, name)[..., 120:126, 120:127].double()
        for name in ("base_depth", "motion", "valid")
    }
    small |= {"target": batch.target[..., 120:126, 120:127].double(), "photo_depth": small["base_depth"]}
    cut = replace(batch, K=batch.K.double(), **small)
    variables = drawn(batch, 0, settings=CorrectionSettings(field_nodes=2)).double().requires_grad_()
    settings = CorrectionSettings(field_nodes=2)
    assert torch.autograd.gradcheck(lambda z: displacements(cut, z, settings), (variables,))
    numbers = torch.tensor([[0, 1, -1, -1]])
    assert torch.autograd.gradcheck(lambda z: prior(z, numbers), (variables,))
    drawn_twice = variables.detach()
    expected = drawn_twice[0, :2].square().sum() / 2
    assert float(prior(drawn_twice, numbers)[0]) == pytest.approx(float(expected))


def test_planted_misalignment_is_found() -> None:
    """The true surface, references that are off by 1.5 to 2.5 pixels: what is left is a fifth of a pixel."""
    true = sphere_batch(5, RADIUS_M)
    wrong = plant(true, 0)
    zero = torch.zeros(1, 1, 256, 256)
    seen = true.valid[0, :, 0] > 0
    before = (pixels(wrong, zero) - pixels(true, zero)).norm(dim=-1)[0][seen].median()
    assert 1.2 < float(before) < 4
    variables = torch.zeros(1, 4, variable_count(SETTINGS), requires_grad=True)
    _descend(wrong, SETTINGS, variables, None, steps=50)
    after = pixels(corrected(wrong, variables.detach(), SETTINGS), zero)
    error = (after - pixels(true, zero)).norm(dim=-1)[0][seen].median()
    assert float(error) < 0.25, float(error)


def test_depth_is_better_with_corrections_where_references_are_misaligned() -> None:
    """Offset and corrections learned together, against the offset alone; errors after one offset."""
    wrong = plant(sphere_batch(6, BASE_RADIUS_M), 6)
    errors = {}
    for learns in (False, True):
        coarse = torch.zeros(1, 1, 12, 12, requires_grad=True)
        variables = torch.zeros(1, 4, variable_count(SETTINGS), requires_grad=learns)
        _descend(wrong, SETTINGS, variables, coarse, steps=50)
        offset = torch.nn.functional.interpolate(coarse.detach(), 256, mode="bilinear")[0, 0].numpy()
        seen = wrong.valid[0].amax(0)[0].numpy() > 0
        found, true = sphere_depth(256, BASE_RADIUS_M)[seen] + offset[seen], sphere_depth(256, RADIUS_M)[seen]
        errors[learns] = np.abs(found - true - best_offset(found, true)).mean()
    assert errors[True] < 0.5 * errors[False], errors


def _descend(
    batch: Batch,
    settings: CorrectionSettings,
    variables: torch.Tensor,
    coarse: torch.Tensor | None,
    *,
    steps: int,
) -> None:
    window = batch.body_window
    groups = [{"params": [variables], "lr": 0.1}] if variables.requires_grad else []
    groups += [{"params": [coarse], "lr": 0.004}] if coarse is not None else []
    optimizer = torch.optim.Adam(groups, betas=(0.8, 0.95))
    for _ in range(steps):
        zero = torch.zeros(1, 1, 2, 2) if coarse is None else coarse
        offset = torch.nn.functional.interpolate(zero, 256, mode="bilinear")
        optimizer.zero_grad()
        moved = corrected(batch, variables, settings).windowed(window)
        total = losses_of(moved, offset[..., *window], LossSettings(gamma_smooth=0.3, gamma_reg=0.0)).total
        (total + settings.prior_weight * prior(variables, batch.reference_numbers).mean()).backward()
        optimizer.step()


def table_of(batch: Batch, count: int) -> CorrectionTable:
    refs = [
        SampleRef(
            sample_id=name, source_id="s", track_id="t", path="x", row_group=0, row=0, reference_count=count
        )
        for name in batch.sample_ids
    ]
    return CorrectionTable(refs, SETTINGS)


def test_only_pairs_that_were_seen_move_and_padding_moves_none() -> None:
    both = collate([plant(sphere_batch(7, RADIUS_M), 2), sphere_batch(8, RADIUS_M)])
    table = table_of(both, 4)
    numbers = torch.tensor([[0, 2, -1, -1], [3, -1, -1, -1]])
    batch = replace(both, reference_numbers=numbers)
    assert table.rows(batch).tolist() == [[0, 2, -1, -1], [7, -1, -1, -1]]
    gradients = torch.ones(2, 4, variable_count(SETTINGS))
    for _ in range(2):
        table.step([(table.rows(batch), gradients)], 8, Processes(device=torch.device("cpu")))
    moved = (table.values != 0).any(1)
    assert moved.nonzero().flatten().tolist() == [0, 2, 7]
    before = table.values.detach().clone()
    other = replace(both, reference_numbers=torch.tensor([[1, -1, -1, -1], [-1, -1, -1, -1]]))
    table.step([(table.rows(other), gradients)], 8, Processes(device=torch.device("cpu")))
    assert (table.values != before).any(1).nonzero().flatten().tolist() == [1]
    assert torch.equal(table.of(batch)[0, :2], table.values.detach()[[0, 2]])
    assert (table.of(batch)[0, 2:] == 0).all()


TINY = ModelSettings(downs=3, width=8, stem_width=8, kernel_px=3, groups=2, blocks=1, head_blocks=1)
RUN = with_overrides(
    replace(preset("small"), model=TINY),
    ["train.max_steps=4", "train.batch_size=2", "train.log_every=1", "train.validate_every=2", "data.workers=0",
     "data.validation_share=0.0", "train.warm_up_steps=1", "corrections.learn=true", "data.max_references=1"],
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [sphere_row(seed, base_radius_m=0.57, turns_deg=(9.0, -8.0)) for seed in range(4)]
    return write_dataset(tmp_path_factory.mktemp("corrections") / "dataset", rows)


def test_a_run_keeps_its_corrections_and_resumes_exactly(root: Path, tmp_path: Path) -> None:
    fit(str(root), str(tmp_path / "whole"), RUN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.run.train_step", StoppedAfter(steps=2))
        with pytest.raises(KeyboardInterrupt):
            fit(str(root), str(tmp_path / "parts"), RUN)
    fit(str(root), str(tmp_path / "parts"), RUN, resume=True)
    whole, parts = (load_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    for name, value in whole.corrections().items():
        assert torch.equal(value, parts.corrections()[name]), name
    seen = (whole.corrections()["values"] != 0).any(1)
    assert 4 <= int(seen.sum()) <= 8  # four steps of two pairs, some of them seen twice
    for name, value in whole.model().state_dict().items():
        assert torch.equal(value, parts.model().state_dict()[name])
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "parts").glob("*.safetensors")) == [
        "corrections", "optimizer", "weights",
    ]  # fmt: skip


def test_corrections_of_other_samples_are_refused(root: Path, tmp_path: Path) -> None:
    one = with_overrides(RUN, ["train.max_steps=1"])
    fit(str(root), str(tmp_path), one)
    fewer = with_overrides(one, ["train.max_steps=2", "data.where=frame_index < 25"])
    with pytest.raises(CheckpointError, match="other samples or settings"):
        fit(str(root), str(tmp_path), fewer, resume=True)
    fit(str(root), str(tmp_path / "plain"), with_overrides(one, ["corrections.learn=false"]))
    with pytest.raises(CheckpointError, match="without corrections"):
        fit(str(root), str(tmp_path / "plain"), one, resume=True)


@pytest.mark.parametrize("change", ["data.flip=true", "data.crop_jitter=0.1"])
def test_crops_that_move_cannot_be_corrected(change: str) -> None:
    with pytest.raises(SettingsError, match=r"corrections\.learn"):
        with_overrides(Settings(corrections=CorrectionSettings(learn=True)), [change])
