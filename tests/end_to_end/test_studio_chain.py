"""Films, datasets of exact and of spoilt bodies, truths, the probe and the table, each by its command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.commands.main import main as pipeline
from schemas.dataset import Dataset
from schemas.prediction import prediction_path
from schemas.truth import Truth
from trainer.cli import main as trainer

FILM = {"duration_s": 1.0, "fps": 10, "height_px": 256, "width_px": 256, "supersampling": 1, "loose_share": 0}
FEW = ["--set=pairs.target_stride=5", "--set=pairs.max_references=2", "--set=rendering.rasterizer=compiled"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("studio")
    settings = [f"--set={name}={value}" for name, value in FILM.items()]
    assert pipeline(["studio", "film", "--out", str(root / "films"), "--clips=1", "--seed=3", *settings]) == 0
    assert pipeline(["studio", "run", str(root / "films"), "--out", str(root / "exact"), *FEW]) == 0
    return root


def test_true_bodies_give_the_base_depth_of_a_perfect_tracker(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--studio", str(folder / "films"), "--out", str(folder / "truth")]
    assert pipeline(["studio", "truth", str(folder / "exact"), *arguments]) == 0
    assert "clothes off the body" in capsys.readouterr().out
    rows = list(Dataset.open(folder / "exact").rows("samples"))
    assert len(rows) == 2
    for row in rows:
        truth = Truth.load(prediction_path(folder / "truth", row["sample_id"]))
        both = (row["base_depth"] > 0) & (truth.body_depth_m > 0)
        assert both.sum() > 0.999 * max((row["base_depth"] > 0).sum(), (truth.body_depth_m > 0).sum())
        assert (
            np.abs(row["base_depth"] - truth.body_depth_m)[both].max() < 1e-4
        )  # half a step of the stored depth


def test_spoilt_bodies_are_spoilt_and_the_folder_is_not_mixed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "spoilt"
    arguments = ["studio", "run", str(folder / "films"), "--out", str(out), "--jitter-cm=2", "--jitter-deg=2"]
    arguments += ["--set=pairs.max_misalignment_px=null"]  # the gate drops every pair of such bodies
    assert pipeline([*arguments, *FEW]) == 0
    exact, spoilt = (
        {row["frame_index"]: row["body_vector"] for row in Dataset.open(folder / name).rows("frames")}
        for name in ("exact", "spoilt")
    )
    assert exact.keys() == spoilt.keys()
    turned = np.degrees(np.abs(np.array([spoilt[at][3:75] - exact[at][3:75] for at in exact])))
    assert 0.5 < np.median(turned) < 2
    assert pipeline([*arguments, *FEW]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_probe_stands_in_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, probed = str(folder / "truth"), str(folder / "probed")
    assert (
        pipeline(["studio", "truth", str(folder / "exact"), f"--studio={folder / 'films'}", f"--out={truth}"])
        == 0
    )
    assert trainer(["probe", str(folder / "exact"), "--steps=2", f"--truth={truth}", f"--out={probed}"]) == 0
    assert "recovered" in capsys.readouterr().out
    assert trainer(["evaluate", probed, "--truth", truth, f"--also=optimised={probed}"]) == 0
    said = capsys.readouterr().out
    for name in (
        "plane",
        "true body",
        "base",
        "refined",
        "optimised",
        "MAE mm by part",
        "torso",
        "MAE mm by pose",
    ):
        assert name in said
