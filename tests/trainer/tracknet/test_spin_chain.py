"""A file in SPIN's layout, end to end: converted, fine-tuned, exported, and run by the pipeline's `network` tracker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.body.model import BodyModel, open_body_path
from pipeline.config import BodySettings, Settings, TrackingSettings
from pipeline.method.resources import Resources
from pipeline.records import Footage
from pipeline.tracking.network_tracker import NetworkTracker
from schemas.conventions import VECTOR_BETAS, VECTOR_POSE
from tests.support.rendered_people import rendered, walking
from tests.trainer.tracknet.foreign_files import as_from_a_gpu, save, spin_state
from tests.trainer.tracknet.made_up import write_pictures
from trainer.cli import main
from trainer.tracknet.checkpoint import load_tracknet
from trainer.tracknet.export import facts_of
from trainer.tracknet.rotations import rotation_from_rotvec

FEW = [
    f"--set=train.{name}={value}"
    for name, value in (("batch_size", 4), ("max_steps", 3), ("log_every", 1), ("validate_every", 3))
]


def smpl_like_body(path: Path) -> Path:
    """The open body's arrays in a file that does not say whose they are, as SMPL's own do not."""
    with np.load(open_body_path()) as archive:
        np.savez(path, **{name: archive[name] for name in archive.files})
    return path


def rotations(pose: torch.Tensor) -> torch.Tensor:
    return rotation_from_rotvec(pose.double().unflatten(-1, (24, 3)))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with smpl.npz, SPIN's file converted to spin/, and that fine-tuned to tuned/."""
    folder = tmp_path_factory.mktemp("spin")
    body, spin = smpl_like_body(folder / "smpl.npz"), folder / "spin"
    pictures = write_pictures(folder / "pictures.parquet")
    source = as_from_a_gpu(
        save(folder / "model_checkpoint.pt", {"model": spin_state(), "epoch": 3}, zipped=False)
    )
    assert main(["tracknet", "convert", str(source), "--out", str(spin), "--set=network.image_px=64"]) == 0
    fit = [
        "tracknet",
        "fit",
        str(pictures),
        "--body",
        str(body),
        "--device",
        "cpu",
        "--from",
        str(spin),
        *FEW,
    ]
    assert main([*fit, "--out", str(folder / "tuned")]) == 0
    # a network of other settings is another network
    other = ["--out", str(folder / "other"), "--set=network.regressor_activation=relu"]
    assert main([*fit, *other]) == 1
    return folder


def test_fine_tuning_keeps_what_spin_computes(tuned: Path) -> None:
    before, after = load_tracknet(tuned / "spin"), load_tracknet(tuned / "tuned")
    assert after.settings.network == before.settings.network
    assert after.settings.network.regressor_activation == "none"
    assert facts_of(after)["regressor_activation"] == "none"  # and in the exported file
    assert not torch.equal(before.model().fc1.weight, after.model().fc1.weight)


def test_the_tracker_runs_it(tuned: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    body, exported = tuned / "smpl.npz", tuned / "spin.onnx"
    assert main(["tracknet", "export", "--checkpoint", str(tuned / "tuned"), "--out", str(exported)]) == 0
    settings = Settings(
        body=BodySettings(file=str(body)), tracking=TrackingSettings(tracker="network", network=str(exported))
    )
    tracker = Resources(settings).tracker
    assert isinstance(tracker, NetworkTracker)
    performance = walking(turn_deg=20, seconds=0.1, betas=np.zeros(10))
    film = list(rendered(BodyModel.open_body(), performance))
    ((track, seen),) = tracker.track_with_landmarks(film, Footage(unit_id="u"))
    images = (
        torch.from_numpy(np.stack([portrait.image for portrait in seen.portraits])).permute(0, 3, 1, 2) / 255
    )
    with torch.no_grad():
        expected = load_tracknet(tuned / "tuned").model().eval()(images)
    found = torch.from_numpy(np.asarray(track.vector))
    torch.testing.assert_close(
        rotations(found[:, VECTOR_POSE]), rotations(expected[:, VECTOR_POSE]), atol=2e-3, rtol=0
    )
    mean = expected[:, VECTOR_BETAS].mean(0, keepdim=True).expand(len(found), -1)
    torch.testing.assert_close(found[:, VECTOR_BETAS].float(), mean, atol=2e-3, rtol=0)
