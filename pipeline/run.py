"""One run: check the folder, run the graph, say what came of it. The driver's side of `python -m pipeline run`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from pipeline import graph
from pipeline.assets import asset_path
from pipeline.card import dataset_card
from pipeline.config import Settings
from pipeline.progress import ProgressDisplay
from pipeline.records import ClipRef
from pipeline.rendering import resolve_backend
from pipeline.sink import is_remote, publish_text, read_json
from schemas.dataset import INFO_PATH, SETTINGS_PATH, Dataset, dataset_info
from schemas.errors import DatasetError, SettingsError
from schemas.settings import as_dict, with_overrides

WORKER_DIED = 70
"""Exit code when a worker process was killed: finished units stay, the same command goes on with the rest."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What came of a run, from the graph's counters (units finished earlier are counted by their outcome)."""

    units_kept: int
    units_failed: int
    units_skipped: int
    samples: int
    frames_kept: int
    pairs_kept: int
    pairs_dropped: int

    @property
    def exit_code(self) -> int:
        """0 all well, 3 some units failed, 4 nothing was kept."""
        if not self.units_kept:
            return 4
        return 3 if self.units_failed else 0


def run(
    clips: Sequence[ClipRef],
    root: str,
    settings: Settings,
    *,
    workers: int = 1,
    beam_args: Sequence[str] = (),
) -> RunSummary:
    """Preprocesses clips into the dataset at `root`; units finished before with the same fingerprint are skipped.

    Raises SettingsError, AssetError or DatasetError before any work is done when it cannot succeed.
    """
    settings = resolve(settings)
    options = pipeline_options(workers, beam_args)
    prepare_folder(root, settings)
    with tempfile.TemporaryDirectory(prefix="humandepth-progress-") as folder:
        local = not beam_args
        display = ProgressDisplay(folder) if local else nullcontext()
        with _worker_guard(), display:
            job = beam.Pipeline(runner=_runner_name(beam_args), options=options)
            graph.build(job, clips, settings, root, folder if local else None)
            result = job.run()
            result.wait_until_finish()
    summary = _summary(result)
    if not is_remote(root):
        publish_text(dataset_card(Dataset.open(root)), root, "README.md")
    return summary


def resolve(settings: Settings) -> Settings:
    """Settings with everything that depends on this machine decided: the rasteriser by name, models present."""
    for name in ("pose_detection.tflite", "pose_landmark_full.tflite"):
        asset_path(name)
    backend = resolve_backend(settings.rendering.rasterizer)
    return with_overrides(settings, [f"rendering.rasterizer={backend}"])


def prepare_folder(root: str, settings: Settings) -> None:
    """Writes `info.json` and `settings.json`, or checks that an existing dataset was made with the same settings."""
    info, present = read_json(root, INFO_PATH), read_json(root, SETTINGS_PATH)
    if info is not None and info != dataset_info():
        raise DatasetError(
            f"{root} holds a dataset of another format or table version.", remedy="Give another --out folder."
        )
    if present is not None and present != as_dict(settings):
        changed = ", ".join(_changed(present, as_dict(settings)))
        raise DatasetError(
            f"{root} was made with other settings ({changed}).",
            remedy="Give another --out folder, or delete this one to make it again.",
        )
    if info is None and not is_remote(root) and os.path.isdir(root) and os.listdir(root):
        raise DatasetError(f"{root} is not empty and not a dataset.", remedy="Give another --out folder.")
    publish_text(json.dumps(dataset_info(), indent=1) + "\n", root, INFO_PATH)
    publish_text(json.dumps(as_dict(settings), indent=1) + "\n", root, SETTINGS_PATH)


def pipeline_options(workers: int, beam_args: Sequence[str]) -> PipelineOptions:
    """Beam's options: FnApiRunner in one process or in `workers` processes, or whatever `beam_args` ask for."""
    if workers < 1:
        raise SettingsError(f"--workers cannot be {workers}.", remedy="Give 1 or more.")
    if _runner_name(beam_args) == "DaskRunner":
        raise SettingsError(
            "DaskRunner is refused: it loses and duplicates elements while reporting success.",
            remedy="Use --workers N here, or DataflowRunner.",
        )
    arguments = list(beam_args)
    if not beam_args and workers > 1:
        arguments += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    return PipelineOptions(arguments)


def _runner_name(beam_args: Sequence[str]) -> str:
    for position, argument in enumerate(beam_args):
        if argument.startswith("--runner="):
            return argument.partition("=")[2]
        if argument == "--runner" and position + 1 < len(beam_args):
            return beam_args[position + 1]
    return "FnApiRunner"


class _worker_guard:
    """Ends the job when a worker process dies: Beam's runner would wait for it for ever."""

    def __enter__(self) -> None:
        self._before = threading.excepthook

        def hook(arguments: threading.ExceptHookArgs) -> None:
            self._before(arguments)
            if arguments.thread is not None and arguments.thread.name == "run_worker":
                print("error: a worker process died. Run the same command again to go on.", file=sys.stderr)
                os._exit(WORKER_DIED)

        threading.excepthook = hook

    def __exit__(self, *details: object) -> None:
        threading.excepthook = self._before


def _summary(result: PipelineResult) -> RunSummary:
    found = {
        counter.key.metric.name: int(
            counter.committed if counter.committed is not None else counter.attempted
        )
        for counter in result.metrics().query()["counters"]
        if counter.key.metric.namespace == graph.NAMESPACE
    }
    names = RunSummary.__dataclass_fields__
    return RunSummary(**{name: found.get(name.replace("_", "-"), 0) for name in names})


def _changed(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    paths = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            paths += _changed(old, new, f"{prefix}{name}.")
        elif old != new:
            paths.append(f"{prefix}{name}: {old} -> {new}")
    return paths
