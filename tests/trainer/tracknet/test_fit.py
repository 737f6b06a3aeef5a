"""Pictures keep their bodies through every change; a run learns, goes on where it stopped, exports what it learnt."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.body.model import BodyModel
from schemas.conventions import VECTOR_BETAS, VECTOR_POSE
from schemas.errors import CheckpointError, DatasetError
from tests.trainer.tracknet.made_up import BODY_FILE, SETTINGS, vector, write_pictures
from trainer.cli import main
from trainer.stopping import StoppedError
from trainer.tracknet import train
from trainer.tracknet.body import TorchBody
from trainer.tracknet.checkpoint import load_tracknet
from trainer.tracknet.config import PictureSettings, TrackNetSettings
from trainer.tracknet.model import TrackNet
from trainer.tracknet.pictures import (
    Pictures,
    jittered,
    mirrored,
    person_crop,
    read_pictures,
    recropped,
    stacked,
)
from trainer.tracknet.train import fit_tracknet, split_sources, tracknet_step
from trainer.tracknet.validation import validate_tracknet

SMALL = [
    "--preset", "small", "--set", "network.image_px=32", "--set", "network.width=8", "--set", "network.hidden=64",
    "--set", "network.scaling=hmr", "--set", "train.batch_size=4", "--set", "train.max_steps=6",
    "--set", "train.log_every=1", "--set", "train.validate_every=3", "--set", "train.warm_up_steps=2",
    "--set", "pictures.validation_share=0.3",
]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures.parquet")


def places(found: np.ndarray, size: int) -> np.ndarray:
    """(24, 2) pixels of a vector's joints in its crop."""
    joints = BodyModel.open_body().joints(found[VECTOR_POSE].reshape(24, 3), found[VECTOR_BETAS], np.zeros(3))
    return size / 2 * (1 + found[0] * (joints[:, :2] + found[1:3]))


def test_a_vector_follows_its_crop() -> None:
    rng = np.random.default_rng(0)
    found = vector(rng)
    mask = np.zeros((256, 256), bool)
    mask[40:216, 90:170] = True
    crop = jittered(person_crop(mask, 1.2), PictureSettings(), rng)
    image = rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)
    small, moved = recropped(image, found, crop, 128)
    expected = (places(found, 256) - crop[:2] + crop[2] / 2) * 128 / crop[2]
    np.testing.assert_allclose(places(moved, 128), expected, atol=1e-9)
    assert small.shape == (128, 128, 3)
    np.testing.assert_allclose(person_crop(mask, 1.2), [130, 128, 1.2 * 176])


def test_a_crop_shows_what_lies_there() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    image[100:140, 60:100] = 255
    picture, _ = recropped(image, vector(np.random.default_rng(0)), np.array([80.0, 120, 80]), 40)
    bright = picture[..., 0] > 127
    assert bright[10:30, 10:30].all()
    assert bright.sum() == 400


def test_a_mirrored_body_is_the_body_in_the_mirror() -> None:
    found = vector(np.random.default_rng(1))
    found[VECTOR_BETAS] = 0  # the mean shape is exactly symmetric; others are to a millimetre
    flipped = mirrored(found)
    swapped = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22]
    expected = places(found, 256)[swapped] * [-1, 1] + [256, 0]
    np.testing.assert_allclose(places(flipped, 256), expected, atol=1e-6)
    np.testing.assert_allclose(mirrored(flipped), found)


def test_pictures_are_a_function_of_seed_epoch_and_place(table: Path) -> None:
    refs = read_pictures([str(table)])
    first, again, other = (
        Pictures(refs, PictureSettings(), 32, seed=seed, training=True) for seed in (1, 1, 2)
    )
    for one, two in zip(first[3, 5], again[3, 5], strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first[3, 5][0], other[3, 5][0])
    assert not torch.equal(first[3, 5][0], first[4, 5][0])
    still = Pictures(refs, PictureSettings(), 32, seed=1, training=False)
    assert torch.equal(still[0, 5][0], still[9, 5][0])
    image, found = still[0, 5]
    assert image.shape == (3, 32, 32)
    assert found.shape == (85,)


def test_a_source_is_on_one_side_of_the_split(table: Path) -> None:
    refs = read_pictures([str(table)])
    training, held_out = split_sources(refs, 0.3)
    assert held_out
    assert not {ref.source_id for ref in training} & {ref.source_id for ref in held_out}
    assert len(training) + len(held_out) == len(refs)
    with pytest.raises(DatasetError, match="from 1 source"):
        split_sources(refs[:1], 0.3)


def test_pictures_can_be_learnt_by_heart(table: Path) -> None:
    torch.manual_seed(0)
    plain = PictureSettings(flip=False, background="keep", occluder_share=0, colour_jitter=False)
    settings = TrackNetSettings(network=replace(SETTINGS.network, dropout=0.0), pictures=plain)
    pictures = Pictures(read_pictures([str(table)]), plain, 32, seed=0, training=False)
    images, truth = stacked([pictures[0, at] for at in range(8)])
    model, body = TrackNet(settings.network), TorchBody.load(BODY_FILE)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    seen = [
        float(tracknet_step(model, optimizer, images, truth, body, settings).total.detach())
        for _ in range(50)
    ]
    assert seen[-1] < 0.35 * seen[0]


def test_a_frozen_encoder_stays(table: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, train=replace(SETTINGS.train, freeze_encoder=True))
    torch.manual_seed(settings.train.seed)
    before = TrackNet(settings.network).state_dict()
    fit_tracknet([str(table)], str(tmp_path / "out"), settings, BODY_FILE, device="cpu")
    after = load_tracknet(tmp_path / "out").model().state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("encoder.") for name in changed)


def test_the_real_command_resumes_bit_for_bit(table: Path, tmp_path: Path) -> None:
    common = ["tracknet", "fit", str(table), "--body", BODY_FILE, "--device", "cpu", *SMALL]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*common, "--out", str(whole)]) == 0
    assert main([*common, "--out", str(whole)]) == 1  # it holds a checkpoint
    # learning rates follow max_steps, so a run that is cut short is one that was stopped: take its middle checkpoint
    settings = load_tracknet(whole).settings
    _fit_until(3, table, parts, settings)
    assert load_tracknet(parts).step == 3
    assert main([*common, "--out", str(parts), "--resume"]) == 0
    one, other = (load_tracknet(folder).model().state_dict() for folder in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)
    entries = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert entries[0]["validation"]["mean_pose_mpjpe_mm"] > 0
    assert {entry["step"] for entry in entries} == set(range(7))
    other_shape = [
        *common,
        "--out",
        str(tmp_path / "new"),
        "--from",
        str(whole),
        "--set",
        "network.hidden=32",
    ]
    assert main(other_shape) == 1


def _fit_until(step: int, table: Path, out: Path, settings: TrackNetSettings) -> None:
    """A run that ends in the middle, as a killed one does after its checkpoint."""

    class Killed(Exception):
        pass

    save = train.save_tracknet

    def save_and_die(*arguments) -> None:
        save(*arguments)
        if arguments[4] == step:
            raise Killed

    train.save_tracknet = save_and_die
    try:
        with pytest.raises(Killed):
            fit_tracknet([str(table)], str(out), settings, BODY_FILE, device="cpu")
    finally:
        train.save_tracknet = save


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_the_exported_file_gives_the_networks_numbers(table: Path, tmp_path: Path, suffix: str) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    fit_tracknet([str(table)], str(tmp_path / "out"), SETTINGS, BODY_FILE, device="cpu")
    out = tmp_path / f"tracknet{suffix}"
    assert main(["tracknet", "export", "--checkpoint", str(tmp_path / "out"), "--out", str(out)]) == 0
    assert out.stat().st_size > 1000


def test_damaged_checkpoints_are_refused(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fit_tracknet([str(table)], str(out), SETTINGS, BODY_FILE, device="cpu")
    (weights,) = out.glob("weights-*")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="is not the file"):
        load_tracknet(out)
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        load_tracknet(tmp_path)


def test_rows_that_hold_nobody_are_named(tmp_path: Path) -> None:
    refs = read_pictures([str(write_pictures(tmp_path / "p.parquet", 1))])
    pictures = Pictures(refs, PictureSettings(), 32, seed=0, training=False)
    group = pictures._row_group(refs[0], "mask")
    row = group.to_pylist()[0] | {"body_vector": [float("nan")] * 85}
    pictures._groups[refs[0].path, 0] = group.from_pylist([row], schema=group.schema)
    with pytest.raises(DatasetError, match="s0/000: its mask is empty, or its body vector"):
        pictures.row(0)


def test_mixed_precision_is_near(table: Path) -> None:
    plain = PictureSettings(flip=False, background="keep", occluder_share=0, colour_jitter=False)
    pictures = Pictures(read_pictures([str(table)]), plain, 32, seed=0, training=False)
    images, truth = stacked([pictures[0, at] for at in range(8)])
    body, totals = TorchBody.load(BODY_FILE), []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        settings = replace(SETTINGS, train=replace(SETTINGS.train, precision=precision))
        model = TrackNet(replace(settings.network, dropout=0.0))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        steps = [tracknet_step(model, optimizer, images, truth, body, settings) for _ in range(3)]
        totals.append([float(step.total.detach()) for step in steps])
    assert totals[0] != totals[1]
    np.testing.assert_allclose(totals[1], totals[0], rtol=0.05)


def test_a_run_that_is_told_to_stop_leaves_a_checkpoint(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit_tracknet([str(table)], str(whole), SETTINGS, BODY_FILE, device="cpu")
    taken = []

    def step_and_signal(*arguments):
        taken.append(tracknet_step(*arguments))
        if len(taken) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return taken[-1]

    monkeypatch.setattr(train, "tracknet_step", step_and_signal)
    with pytest.raises(StoppedError, match="after step 2"):
        fit_tracknet([str(table)], str(parts), SETTINGS, BODY_FILE, device="cpu")
    monkeypatch.undo()
    assert load_tracknet(parts).step == 2
    fit_tracknet([str(table)], str(parts), SETTINGS, BODY_FILE, resume=True, device="cpu")
    one, other = (load_tracknet(folder).model().state_dict() for folder in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_validation_of_a_network_that_says_the_mean(table: Path) -> None:
    model, body = TrackNet(SETTINGS.network), TorchBody.load(BODY_FILE)
    for layer in (model.decpose, model.decshape, model.deccam):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    pictures = Pictures(read_pictures([str(table)]), SETTINGS.pictures, 32, seed=0, training=False)
    images, truth = stacked([pictures[0, at] for at in range(5)])
    found = validate_tracknet(
        model, body, [(images[:2], truth[:2]), (images[2:], truth[2:])], torch.device("cpu")
    )
    assert found["mpjpe_mm"] == pytest.approx(found["mean_pose_mpjpe_mm"], rel=1e-4)
    assert 0 < found["pa_mpjpe_mm"] < found["mpjpe_mm"]
    oracle, pose = BodyModel.open_body(), truth[:, 3:75].double().numpy().reshape(5, 24, 3)
    true = oracle.joints(pose, truth[:, 75:].double().numpy(), np.zeros(3))
    upright = np.zeros((24, 3))
    upright[0, 0] = np.pi
    mean = oracle.joints(upright, np.zeros(10), np.zeros(3))
    error = np.linalg.norm((mean - mean[:1]) - (true - true[:, :1]), axis=-1).mean()
    assert found["mpjpe_mm"] == pytest.approx(1000 * error, rel=1e-3)
    with torch.no_grad():
        mean_vector = model(images)
    exact = validate_tracknet(model, body, [(images, mean_vector)], torch.device("cpu"))
    assert max(exact.values()) < 0.01
