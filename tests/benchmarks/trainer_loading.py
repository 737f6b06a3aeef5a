"""Rows from the dataset against a webdataset of npz files, and against the time of a training step."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from schemas.dataset import Dataset
from tests.benchmarks.measuring import Benchmark, Call, UnavailableError
from tests.benchmarks.trainer_steps import TURNS_DEG, made_batch, stepping
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import sphere_row
from trainer.batch import collate
from trainer.config import preset
from trainer.data import Samples, read_index
from trainer.loading import Loader
from trainer.stopping import Stopping

ROWS, STEPS = 24, 40


def benchmarks() -> list[Benchmark]:
    """All ratios are peer / ours; bars 6, 1 and 33."""
    return [
        Benchmark(
            name="loader_vs_webdataset_npz",
            detail=f"{ROWS} rows of 6 references as arrays: dataset in shuffled order (ours), webdataset's own npz "
            "encoding in a tar, in order (peer); encoded images left as they are by both",
            prepare=_against_webdataset,
        ),
        Benchmark(
            name="load_share_small",
            detail="loading a batch of `small` in shuffled order (ours), its training step (peer), one thread each",
            prepare=_against_a_step,
        ),
        Benchmark(
            name="waiting_share_small",
            detail=f"ms that each of {STEPS} steps of `small` waits for its batch of 2 samples (ours), and that it "
            "takes with the wait (peer); one loading process beside the training process, one thread each. "
            "Goal 33: 3 %",
            measure=_waiting,
        ),
    ]


def made_dataset(rows: list[dict[str, Any]]) -> tuple[Path, Samples]:
    """A dataset in a folder of its own."""
    root = write_dataset(Path(tempfile.mkdtemp(prefix="loading-")) / "dataset", rows, per_unit=ROWS)
    settings = preset("small").data
    return root, Samples(read_index(Dataset.open(root)), settings, seed=0, training=True)


def _rows() -> list[dict[str, Any]]:
    """Three samples, again and again under new names: drawing spheres takes longer than what is timed."""
    drawn = [sphere_row(seed, base_radius_m=0.57, turns_deg=TURNS_DEG) for seed in range(3)]
    return [drawn[at % 3] | {"sample_id": f"clip/p00/{at:06d}"} for at in range(ROWS)]


def _against_webdataset() -> tuple[Call, Call]:
    try:
        import webdataset
    except ModuleNotFoundError:
        raise UnavailableError("webdataset is not installed: `make bench` installs it") from None
    rows = _rows()
    root, samples = made_dataset(rows)
    tar = root.parent / "samples.tar"
    with webdataset.TarWriter(str(tar)) as writer:
        for number, row in enumerate(rows):
            writer.write({"__key__": f"{number:06d}", "maps.npz": _arrays(row)} | _images(row))
    order = np.random.default_rng(0).permutation(ROWS)

    def ours() -> list[dict[str, Any]]:
        return [samples.row(int(at)) for at in order]

    def peer() -> list[dict[str, Any]]:
        reader = webdataset.WebDataset(str(tar), shardshuffle=False).decode()
        return [{**sample.pop("maps.npz"), **sample} for sample in reader]

    first, other = samples.row(3), peer()[3]
    assert np.array_equal(first["references"][2]["motion"], other["motion"][2])
    assert first["references"][2]["image"] == other["2.image.bytes"]
    return ours, peer


def _arrays(row: dict[str, Any]) -> dict[str, np.ndarray]:
    references = row["references"]
    return {
        "input_depth": row["input_depth"].astype(np.float32),
        "base_depth": row["base_depth"].astype(np.float32),
        "K": row["K"],
        "motion": np.stack([reference["motion"] for reference in references]),
        "validity": np.stack([reference["validity"] for reference in references]),
        "reference_K": np.stack([reference["K"] for reference in references]),
    }


def _images(row: dict[str, Any]) -> dict[str, bytes]:
    references = {f"{at}.image.bytes": reference["image"] for at, reference in enumerate(row["references"])}
    return {"image.bytes": row["image"]} | references


def _against_a_step() -> tuple[Call, Call]:
    torch.set_num_threads(1)
    _, samples = made_dataset(_rows())
    order = np.random.default_rng(0).permutation(ROWS)
    places = iter(int(order[at % ROWS]) for at in range(10**6))

    def ours() -> None:
        collate([samples[0, next(places)] for _ in range(2)])

    return ours, stepping(preset("small"), made_batch(2, 3))


def _waiting() -> tuple[float, float]:
    torch.set_num_threads(1)
    _, samples = made_dataset(_rows())
    step, waited_s = stepping(preset("small"), made_batch(2, 3)), 0.0
    order = np.random.default_rng(0).integers(ROWS, size=(STEPS + 1, 2)).tolist()
    places = [[(0, at) for at in batch] for batch in order]
    with Loader(samples, places, workers=1, time_limit_s=60.0, stopping=Stopping()) as loader:
        next(loader)  # the process starts
        step()
        begin_s = time.perf_counter()
        for _ in range(STEPS):
            asked_s = time.perf_counter()
            next(loader)
            waited_s += time.perf_counter() - asked_s
            step()
        whole_s = time.perf_counter() - begin_s
    return 1e3 * waited_s / STEPS, 1e3 * whole_s / STEPS
