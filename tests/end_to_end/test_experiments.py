"""tools/experiments prepares in memory what the pipeline writes and the trainer reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from pipeline.commands.main import main as pipeline
from schemas.dataset import Dataset
from trainer.batch import collate
from trainer.config import DataSettings
from trainer.data import Samples, read_index

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "experiments"
FILM = {"duration_s": 1.0, "fps": 10, "height_px": 256, "width_px": 256, "supersampling": 1, "loose_share": 0}


def test_samples_in_memory_are_those_of_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))
    from material import ClipWork, Variant, prepare
    from resident import Pictures, Resident

    films, out = tmp_path / "films", tmp_path / "exact"
    settings = [f"--set={name}={value}" for name, value in FILM.items()]
    assert pipeline(["studio", "film", "--out", str(films), "--clips=1", "--seed=3", *settings]) == 0
    few = [
        "--set=pairs.max_misalignment_px=null",
        "--set=pairs.target_stride=5",
        "--set=rendering.rasterizer=compiled",
    ]
    assert pipeline(["studio", "run", str(films), "--out", str(out), *few]) == 0
    work = ClipWork(
        film=next(films.glob("*.mp4")),
        tracked=None,
        variant=Variant(),
        target_stride=5,
        with_truth=True,
        out=tmp_path,
    )
    samples = Samples(read_index(Dataset.open(out)), DataSettings(), seed=0, training=False)
    assert prepare(work) == len(samples) > 1
    assert prepare(work) == len(samples)  # prepared before
    device = torch.device("cpu")
    resident = Resident.load([work], Pictures.load([work], device), device, 6)
    found = resident.batch(range(len(samples)))
    wanted = collate([samples[0, at] for at in range(len(samples))])
    assert found.sample_ids == wanted.sample_ids
    counts = wanted.references.shape[1]
    for name, tolerance in (("K", 1e-4), ("base_depth", 1e-4), ("inputs", None), ("target", None)):
        difference = (getattr(found, name) - getattr(wanted, name)).abs()
        assert difference.max() <= tolerance if tolerance else difference.mean() < 0.01, name
    for name in ("motion", "valid", "reference_K"):  # what is padded counts no pixel
        torch.testing.assert_close(getattr(found, name)[:, :counts], getattr(wanted, name), atol=1e-3, rtol=0)
    assert not found.valid[:, counts:].any()
    shown = wanted.valid.amax(dim=(2, 3, 4)) > 0
    assert (found.references[:, :counts] - wanted.references).abs().mean(dim=(2, 3, 4))[shown].max() < 0.02
    for at, truth in resident.truths.items():
        both = (found.base_depth[at, 0] > 0) & (torch.from_numpy(truth.body_depth_m) > 0)
        assert (found.base_depth[at, 0] - torch.from_numpy(truth.body_depth_m)).abs()[both].max() < 1e-4
    for name in ("material", "resident"):
        sys.modules.pop(name)


def test_a_network_is_taught_by_tracks_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps teach nothing yet; what is scored has to be there, and a constant recovers nothing."""
    monkeypatch.syspath_prepend(str(TOOLS))
    from taught import main

    settings = [f"--set={name}={value}" for name, value in FILM.items()]
    for part, seed in (("train", 3), ("held", 4)):
        out = str(tmp_path / part)
        assert pipeline(["studio", "film", "--out", out, "--clips=1", f"--seed={seed}", *settings]) == 0
    given = [str(tmp_path), "--out", str(tmp_path / "taught.jsonl"), "--train=train.max_steps=2"]
    for more in ([], ["--clothes", "--train=train.precision=bfloat16"]):
        assert main([*given, "--train=train.batch_size=1", *more]) == 0
    (line, clothed) = [json.loads(text) for text in (tmp_path / "taught.jsonl").read_text().splitlines()]
    assert line["people"] == 1
    assert line["samples"] == 2
    assert line["network"] > 0
    assert abs(line["mean alone recovered"][0]) < 1e-3
    assert line["dressed"] != line["base"] == line["mean clothes"]
    assert clothed["base"] == line["base"] != clothed["mean clothes"]
    for name in ("taught", "dressed", "material"):
        sys.modules.pop(name)
