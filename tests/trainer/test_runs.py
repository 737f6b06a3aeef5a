"""Runs as a whole: mixed data, several processes, averaged weights, stopping in time and on request, bad rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from schemas.dataset import Dataset
from schemas.errors import CheckpointError, DatasetError, SettingsError
from schemas.settings import as_dict, with_overrides
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import sphere_row
from trainer.checkpoint import Progress, load_checkpoint
from trainer.cli import main
from trainer.config import ModelSettings, Settings, preset
from trainer.data import read_index
from trainer.model import ReconNet
from trainer.report import REPORT_NAME
from trainer.step import train_step, update_average
from trainer.train import NonFiniteLossError, StoppedError, fit

TINY = ModelSettings(downs=3, width=8, stem_width=8, kernel_px=3, groups=2, blocks=1, head_blocks=1)
SETTINGS = with_overrides(
    replace(preset("small"), model=TINY),
    ["train.max_steps=4", "train.batch_size=2", "train.log_every=1", "train.validate_every=100", "data.workers=0",
     'data.held_out=["held"]', "data.split_by=track", "train.validation_samples=1", "train.warm_up_steps=1"],
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]


def with_settings(*overrides: str) -> Settings:
    return with_overrides(SETTINGS, overrides)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [sphere_row(seed, base_radius_m=0.57, turns_deg=(9.0,)) for seed in range(1, 7)]
    for row in rows:
        row["track_id"] = "held" if row["sample_id"].endswith("60") else row["track_id"]
        row["mean_baseline_m"] = 0.5 + row["frame_index"] / 100
    return write_dataset(tmp_path_factory.mktemp("runs") / "dataset", rows, per_unit=6)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [sphere_row(seed, base_radius_m=0.57, turns_deg=(8.0,), track="other/p00") for seed in (7, 8)]
    return write_dataset(tmp_path_factory.mktemp("other") / "dataset", rows)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder).trained_model().state_dict()


def difference(first: Path, second: Path) -> float:
    """|a - b| / |a| over all weights. Single weights say little: where a gradient is near 0, Adam divides rounding
    errors by it (up to 1.5e-5 after four steps, depending on the processor)."""
    a, b = (torch.cat([value.flatten() for value in weights(folder).values()]) for folder in (first, second))
    return float((a - b).norm() / a.norm())


def logged(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_accumulating_two_batches_is_one_of_twice_the_size(root: Path, tmp_path: Path) -> None:
    slow = "train.learning_rate=1e-3"  # Adam makes as much of rounding as of a gradient where that is nearly zero
    fit(str(root), str(tmp_path / "whole"), with_settings(slow))
    fit(str(root), str(tmp_path / "parts"), with_settings(slow, "train.batch_size=1", "train.accumulate=2"))
    fit(str(root), str(tmp_path / "half"), with_settings(slow, "train.batch_size=1"))
    assert difference(tmp_path / "whole", tmp_path / "parts") < 1e-5
    assert difference(tmp_path / "whole", tmp_path / "half") > 1e-4


def test_two_processes_that_accumulate_are_one_with_four_times_the_batch(root: Path, tmp_path: Path) -> None:
    """As a user starts them: torchrun on this machine, two processes that talk by gloo. Corrections are shared too."""
    settings = with_settings("corrections.learn=true", "train.batch_size=4")
    fit(str(root), str(tmp_path / "one"), settings)
    parts = with_overrides(settings, ["train.batch_size=1", "train.accumulate=2"])
    said = torchrun(2, root, tmp_path / "two", parts)
    assert difference(tmp_path / "one", tmp_path / "two") < 1e-5
    assert "2 x cpu" in said
    one, two = (pq.read_table(tmp_path / name / REPORT_NAME).to_pylist() for name in ("one", "two"))
    for first, second in zip(one, two, strict=True):
        assert first["seen"] == second["seen"]
        assert first["photo"] == pytest.approx(second["photo"], abs=1e-5)
    whole, shared = (load_checkpoint(tmp_path / name).corrections()["values"] for name in ("one", "two"))
    assert whole.abs().max() > 0.1
    torch.testing.assert_close(whole, shared, atol=1e-4, rtol=0)


def torchrun(count: int, root: Path, out: Path, settings: Settings) -> str:
    """Trains in so many processes by `torchrun -m trainer fit`; returns what they said."""
    with started_torchrun(count, root, out, settings) as process:
        said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    return said


@contextmanager
def started_torchrun(
    count: int, root: Path, out: Path, settings: Settings
) -> Iterator[subprocess.Popen[str]]:
    changes = [
        f"{section}.{name}={value if isinstance(value, str) else json.dumps(value)}"
        for section, fields in as_dict(settings).items()
        for name, value in fields.items()
    ]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command = [*launcher, "-m", "trainer", "fit", str(root), "--out", str(out), "--device", "cpu"]
    process = subprocess.Popen(
        [*command, *(part for change in changes for part in ("--set", change))],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def test_sigterm_to_torchrun_leaves_a_checkpoint(root: Path, tmp_path: Path) -> None:
    """It reaches the loading processes too, which must not take the training processes along."""
    settings = with_settings("train.batch_size=1", "train.max_steps=1000", "data.workers=1")
    with started_torchrun(2, root, tmp_path, settings) as process:
        deadline = time.monotonic() + 240
        while not (tmp_path / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        process.terminate()
        said = process.communicate(timeout=60)[1]
    assert "stopped by SIGTERM after step" in said, said
    assert load_checkpoint(tmp_path).step >= 1
    settings = replace(settings, train=replace(settings.train, max_steps=load_checkpoint(tmp_path).step + 1))
    fit(str(root), str(tmp_path), with_overrides(settings, ["data.workers=0"]), resume=True)
    steps = [entry["step"] for entry in logged(tmp_path) if "photo" in entry]
    assert steps == list(range(1, settings.train.max_steps + 1))


def test_mixed_datasets_resume_exactly_and_are_seen_in_their_shares(
    root: Path, other: Path, tmp_path: Path
) -> None:
    settings = with_settings("train.max_steps=5", "train.validate_every=2", "data.weights=[0.8, 0.2]")
    roots = [str(root), str(other)]
    fit(roots, str(tmp_path / "whole"), settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.run.train_step", _Told(after=2))
        with pytest.raises(StoppedError, match="--resume"):
            fit(roots, str(tmp_path / "parts"), settings)
    assert load_checkpoint(tmp_path / "parts").step == 3  # the step in which SIGTERM came was finished
    fit(roots, str(tmp_path / "parts"), settings, resume=True)
    assert difference(tmp_path / "whole", tmp_path / "parts") == 0
    groups = {row["group"]: row for row in pq.read_table(tmp_path / "whole" / REPORT_NAME).to_pylist()}
    assert (groups["clip/p00"]["seen"], groups["other/p00"]["seen"]) == (8, 2)
    with pytest.raises(SettingsError, match="2 weights for 1 datasets"):
        fit(str(root), str(tmp_path / "x"), settings)


class _Told:
    """Sends this process SIGTERM while a step runs."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(self, *arguments: object) -> object:
        if not self._left:
            os.kill(os.getpid(), signal.SIGTERM)
        self._left -= 1
        return train_step(*arguments)  # type: ignore[arg-type]


def test_the_average_is_what_predicts_and_resumes_exactly(root: Path, tmp_path: Path) -> None:
    settings = with_settings("train.average_decay=0.9", "train.validate_every=2")
    last = fit(str(root), str(tmp_path / "whole"), settings)
    checkpoint = load_checkpoint(tmp_path / "whole")
    averaged, trained = checkpoint.model().state_dict(), checkpoint.trained_model().state_dict()
    assert any(not torch.equal(averaged[name], trained[name]) for name in averaged)
    assert last is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.run.train_step", _Told(after=1))
        with pytest.raises(StoppedError):
            fit(str(root), str(tmp_path / "parts"), settings)
    fit(str(root), str(tmp_path / "parts"), settings, resume=True)
    again = load_checkpoint(tmp_path / "parts")
    assert all(torch.equal(averaged[name], value) for name, value in again.model().state_dict().items())
    assert difference(tmp_path / "whole", tmp_path / "parts") == 0


def test_the_average_in_closed_form() -> None:
    mean, value = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(mean.weight, 0.0)
    torch.nn.init.constant_(value.weight, 1.0)
    update_average(mean, value, step=10_000, decay=0.75)
    update_average(mean, value, step=10_001, decay=0.75)
    assert mean.weight.item() == pytest.approx(1 - 0.75**2)
    update_average(mean, value, step=0, decay=0.99)  # early: only a tenth is kept
    assert mean.weight.item() == pytest.approx(1 - 0.75**2 * 0.1)


def test_fine_tuning_begins_with_the_other_runs_weights(root: Path, other: Path, tmp_path: Path) -> None:
    fit(str(root), str(tmp_path / "first"), SETTINGS)
    still = with_settings("train.max_steps=1", "train.learning_rate=1e-12", "data.held_out=[]")
    fit(str(other), str(tmp_path / "second"), still, start_from=str(tmp_path / "first"))
    assert difference(tmp_path / "first", tmp_path / "second") < 1e-9
    assert load_checkpoint(tmp_path / "second").step == 1
    with pytest.raises(CheckpointError, match="other model settings"):
        fit(
            str(other),
            str(tmp_path / "x"),
            replace(still, model=replace(TINY, width=16)),
            start_from=str(tmp_path / "first"),
        )


def test_patience_ends_a_run_that_gets_no_better(root: Path, tmp_path: Path) -> None:
    settings = with_settings(
        "train.max_steps=30", "train.validate_every=1", "train.patience=2", "train.learning_rate=1e-30"
    )
    fit(str(root), str(tmp_path), settings)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.step == 3  # the first is the best, then two that are no better
    assert load_checkpoint(tmp_path / "best").step == 1
    assert Progress().after(0.5).after(0.6) == Progress(best_photo_error=0.5, validations_since=1)
    assert Progress().after(0.5).after(0.4) == Progress(best_photo_error=0.4)


@pytest.mark.parametrize(
    "extra",
    [
        ["train.precision=bfloat16", "train.channels_last=true"],
        ["train.deterministic=true"],
        ["losses.photo_px=512", "losses.pyramid_levels=2", "losses.minimum_over_references=true"],
    ],
)
def test_options_train(root: Path, tmp_path: Path, extra: list[str]) -> None:
    fit(str(root), str(tmp_path), with_settings("train.max_steps=2", *extra))
    entries = [entry for entry in logged(tmp_path) if "photo" in entry]
    assert all(np.isfinite(entry["total"]) for entry in entries)
    assert all(value.dtype == torch.float32 for value in weights(tmp_path).values())
    assert not torch.are_deterministic_algorithms_enabled()


def test_no_preset_holds_what_corrupts_memory_in_channels_last() -> None:
    """torch: a 1x1 convolution with stride 2 and fewer than 16 inputs writes outside its buffers in backward."""
    for name in ("paper", "released", "small", "fine", "supervised"):
        with torch.device("meta"):
            model = ReconNet(preset(name).model)
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d) and module.stride != (1, 1):
                assert module.kernel_size != (1, 1)


def damaged(root: Path, to: Path, rows: list[int]) -> Path:
    """A copy of a dataset in which the target pictures of these rows are other bytes, sizes and checksums right."""
    kept = list(Dataset.open(root).rows("samples"))
    for at in rows:
        kept[at]["image"] = b"\xff\xd8\xff no picture"
    return write_dataset(to / "dataset", kept, per_unit=6)


def test_one_bad_row_is_skipped_counted_and_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(str(damaged(root, tmp_path, [2])), str(tmp_path / "out"), with_settings("train.max_steps=3"))
    said = capsys.readouterr().err
    assert "skipped an unreadable sample" in said
    assert "clip/p00/000030 (row 2 of row group 0)" in said
    assert "unit-000.parquet" in said
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "out").values())


def test_many_bad_rows_stop_the_run(root: Path, tmp_path: Path) -> None:
    broken = damaged(root, tmp_path, [0, 1, 2, 3, 4])
    with pytest.raises(DatasetError, match=r"4 of 4 samples could not be read.*unit-000\.parquet.*row"):
        fit(str(broken), str(tmp_path / "out"), SETTINGS)


def test_a_loss_that_is_not_finite_stops_where_that_is_set(root: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.run.train_step", lambda *arguments: None)
        with pytest.raises(NonFiniteLossError, match="1 of 1 steps"):
            fit(str(root), str(tmp_path), with_settings("train.on_non_finite=stop"))


def test_what_a_folder_holds_after_a_run(root: Path, tmp_path: Path) -> None:
    fit(str(root), str(tmp_path), SETTINGS)
    names = {path.name.split("-")[0] for path in tmp_path.iterdir()}
    assert names == {
        "checkpoint.json",
        "log.jsonl",
        "optimizer",
        "weights",
        REPORT_NAME,
        "panels.png",
        "curves.png",
    }
    rows = pq.read_table(tmp_path / REPORT_NAME).to_pylist()
    assert {row["by"] for row in rows} == {"source_id", "track_id", "mean_baseline_m", "valid_fraction"}
    (source,) = [row for row in rows if row["by"] == "source_id"]
    entries = [entry["photo"] for entry in logged(tmp_path) if "photo" in entry]
    assert source["seen"] == 8
    assert source["photo"] == pytest.approx(np.mean(entries), rel=1e-5)
    assert source["gradient_norm"] > 0
    bands = [row for row in rows if row["by"] == "mean_baseline_m"]
    assert len(bands) == 4
    assert sum(row["samples"] for row in bands) == 5


def test_wrong_inputs_are_named(root: Path, other: Path, tmp_path: Path) -> None:
    table = pq.read_table(Dataset.open(other).shards("samples")[0])
    facts = dict(table.schema.metadata)
    for changed, expected in (
        (table.drop_columns(["body_vector"]), "columns of table 'samples'"),
        (table.replace_schema_metadata(facts | {b"humandepth.version": b"99"}), "version '99'"),
        (table.replace_schema_metadata(facts | {b"humandepth.table": b"frames"}), "table 'frames'"),
    ):
        path = tmp_path / "shard.parquet"
        pq.write_table(changed, path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Dataset, "shards", lambda self, name, path=path: [path])
            with pytest.raises(DatasetError, match=expected) as caught:
                read_index(Dataset.open(other))
        assert str(path) in str(caught.value)
    with pytest.raises(DatasetError, match=r"no sample for which .*nobody.* holds"):
        fit(str(root), str(tmp_path / "out"), with_settings('data.where=track_id == "nobody"'))
    with pytest.raises(DatasetError, match="is not a dataset"):
        fit(str(tmp_path), str(tmp_path / "out"), SETTINGS)


def test_the_command_line_mixes_and_stops(
    root: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["train.max_steps=1", "train.batch_size=1", "data.workers=0", "data.validation_share=0.0"]
    changes += ["model.width=8", "model.downs=2"]
    wanted = ["--preset", "small", *(part for change in changes for part in ("--set", change))]
    a, b, c = (str(tmp_path / name) for name in "abc")
    assert main(["fit", str(root), str(other), "--weights", "0.8", "0.2", "--out", a, *wanted]) == 0
    assert load_checkpoint(a).settings.data.weights == (0.8, 0.2)
    assert main(["fit", str(root), "--out", b, "--from", a, *wanted]) == 0
    assert main(["fit", str(root), "--out", c, "--from", a, "--resume", *wanted]) == 2
    assert "--from" in capsys.readouterr().err


def test_tensorboard_gets_curves_and_panels_or_says_what_is_missing(root: Path, tmp_path: Path) -> None:
    settings = with_settings("train.max_steps=1", "train.tensorboard=true")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch.utils.tensorboard", None)
        with pytest.raises(SettingsError, match=r"humandepth\[tensorboard\]"):
            fit(str(root), str(tmp_path / "without"), settings)
    pytest.importorskip("tensorboard")
    fit(str(root), str(tmp_path / "with"), settings)
    (events,) = (tmp_path / "with" / "tensorboard").iterdir()
    written = events.read_bytes()
    for name in (b"training/photo", b"validation/reduction", b"panels"):
        assert name in written
