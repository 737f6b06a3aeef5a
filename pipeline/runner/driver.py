"""One run: check the folder, run the graph, say what came of it. The driver's side of `python -m pipeline run`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult

from pipeline.assets import asset_path
from pipeline.config import Settings
from pipeline.dataset.card import publish_documents
from pipeline.dataset.compaction import settle
from pipeline.dataset.fingerprint import row_settings
from pipeline.dataset.folder_lock import LOCK_PATH, RunLock
from pipeline.dataset.forgetting import without_forgotten
from pipeline.dataset.unit_sink import (
    SPOOL,
    is_remote,
    join,
    publish_text,
    read_json,
    spool_folder,
    typed_storage_errors,
)
from pipeline.host.temporary import all_temporary_files_in, owned_folder
from pipeline.method.named_files import check_named_files, named_file_digests
from pipeline.method.resources import Toolbox, shared_toolbox, stored_settings
from pipeline.records import ClipRef
from pipeline.rendering import resolve_backend
from pipeline.runner import graph
from pipeline.runner.progress import ProgressDisplay, read_note
from pipeline.runner.stop_signals import WorkerGuard, stop_signals
from pipeline.runner.subprocesses import close_idle
from pipeline.runner.summary import COUNTED, STAGES, RunCosts, RunSummary, with_focal_lengths, write_summary
from pipeline.runner.units import STOP_NOTE, UnitWork, peak_mb
from pipeline.video.source import checked_id
from schemas.dataset import FILES_PATH, INFO_PATH, SETTINGS_PATH, dataset_info
from schemas.errors import DatasetError, SettingsError, StorageError
from schemas.escaping import shown
from schemas.settings import as_dict, with_overrides


def run(
    clips: Sequence[ClipRef],
    root: str,
    settings: Settings,
    *,
    workers: int = 1,
    beam_args: Sequence[str] = (),
    retry: str | None = None,
    isolated: bool = False,
    settings_from: str | None = None,
    make_toolbox: Callable[[Settings], Toolbox] = shared_toolbox,
) -> RunSummary:
    """Preprocesses clips into the dataset at `root`; units finished before with the same fingerprint are skipped.

    `retry` names a reason whose failed units are tried again (empty: every reason). `isolated` does the work in child
    processes, which can be ended at the time limit and may crash. `settings_from` decides where a folder was made with
    other settings: `dataset` goes on with the folder's, `command` remakes it with these.

    Raises SettingsError, AssetError or DatasetError before any work is done when it cannot succeed, and SourceError for
    an id that may not become part of a file's name.
    """
    begin_s = time.monotonic()
    for clip in clips:
        checked_id(clip.clip_id)
        checked_id(clip.source_id)
    settings = resolve(settings)
    options = pipeline_options(workers, beam_args)
    local = not is_remote(root)
    with _held(root) if local else nullcontext() as lock:
        settings = prepare_folder(root, settings, settings_from)
        if local:
            settle(root)
            clips = without_forgotten(clips, root)
        result = _carry_out(
            clips,
            options,
            UnitWork(settings=settings, root=root, retry=retry, make_toolbox=make_toolbox),
            lock=lock,
            beam_args=beam_args,
            isolated=isolated and not beam_args,
        )
        summary = _summary(result, _costs(result, time.monotonic() - begin_s, workers))
        if local:
            with _storage_as_dataset_errors(), typed_storage_errors(root):
                settle(root)
                summary = with_focal_lengths(summary, root)
                write_summary(summary, root)
                publish_documents(root)
                spool_folder(root).rmdir()
    return summary


def _carry_out(
    clips: Sequence[ClipRef],
    options: PipelineOptions,
    work: UnitWork,
    *,
    lock: RunLock | None,
    beam_args: Sequence[str],
    isolated: bool,
) -> PipelineResult:
    on_this_machine = not beam_args
    with ExitStack() as stack:
        temporary = stack.enter_context(owned_folder("run"))
        folder = temporary / "progress"
        folder.mkdir()
        if on_this_machine:
            stack.enter_context(all_temporary_files_in(temporary))
            stack.enter_context(ProgressDisplay(str(folder), len(clips)))
            stack.callback(close_idle)
            stack.enter_context(WorkerGuard(temporary))
            stack.enter_context(stop_signals(work.root, lock, temporary))
            work = replace(work, progress_folder=str(folder))
        runner = _QuietRunner() if _runner_name(beam_args) == "FnApiRunner" else _runner_name(beam_args)
        job = beam.Pipeline(runner=runner, options=options)
        graph.build(
            job,
            clips,
            work,
            on_cluster=not on_this_machine,
            isolated=isolated,
            driver_pid=os.getpid() if on_this_machine else None,
        )
        try:
            result = job.run()
            result.wait_until_finish()
        except Exception as error:
            note = read_note(folder / STOP_NOTE)
            if note is None:
                raise
            raise DatasetError(str(note["message"]), remedy=str(note["remedy"])) from error
    return result


class _QuietRunner(FnApiRunner):
    """Beam's own runner; its worker processes are started by `pipeline.runner.beam_worker`."""

    def run_via_runner_api(self, pipeline_proto: Any, options: PipelineOptions) -> Any:
        for environment in pipeline_proto.components.environments.values():
            environment.payload = environment.payload.replace(
                b"apache_beam.runners.worker.sdk_worker_main", b"pipeline.runner.beam_worker"
            )
        return super().run_via_runner_api(pipeline_proto, options)


def resolve(settings: Settings) -> Settings:
    """Settings with everything that depends on this machine decided: the rasteriser by name, models present."""
    for name in ("pose_detection.tflite", "pose_landmark_full.tflite"):
        asset_path(name)
    check_named_files(settings)
    backend = resolve_backend(settings.rendering.rasterizer)
    return with_overrides(settings, [f"rendering.rasterizer={backend}"])


def prepare_folder(root: str, settings: Settings, settings_from: str | None = None) -> Settings:
    """Writes `info.json` and `settings.json`, or checks those of an existing dataset; returns the settings to use."""
    info, present = read_json(root, INFO_PATH), read_json(root, SETTINGS_PATH)
    if info is not None and info != dataset_info():
        raise DatasetError(
            f"{root} holds a dataset of another format or table version ({INFO_PATH}).",
            remedy="Give another --out folder.",
        )
    wanted = row_settings(settings)
    if present is not None:
        made_with = {name: values for name, values in present.items() if name != "run"}
        if made_with != wanted and settings_from == "dataset":
            settings = replace(stored_settings(made_with, join(root, SETTINGS_PATH)), run=settings.run)
        elif made_with != wanted and settings_from != "command":
            changed = ", ".join(_changed(made_with, wanted))
            raise DatasetError(
                f"{root} was made with other settings ({SETTINGS_PATH}: {changed}).",
                remedy="Give another --out folder, or say which: --settings-from dataset goes on with the folder's, "
                "--settings-from command makes it again with these.",
            )
    if info is None and not is_remote(root):
        _refuse_other_folder(root)
    with _storage_as_dataset_errors(), typed_storage_errors(root):
        publish_text(json.dumps(dataset_info(), indent=1) + "\n", root, INFO_PATH)
        publish_text(json.dumps(as_dict(settings), indent=1) + "\n", root, SETTINGS_PATH)
        publish_text(json.dumps(named_file_digests(settings), indent=1) + "\n", root, FILES_PATH)
    return settings


@contextmanager
def _held(root: str) -> Iterator[RunLock]:
    """The folder's lock; a folder that is no dataset is refused before anything is put into it."""
    if read_json(root, INFO_PATH) is None:
        _refuse_other_folder(root)
    with RunLock(root) as lock:
        if lock.stale is not None:
            said = (
                f"{root}: process {lock.stale.get('pid')} ended without finishing; going on where it stopped."
            )
            print(shown(said), file=sys.stderr)
        yield lock


def _refuse_other_folder(root: str) -> None:
    """Raises DatasetError where a folder holds anything that an interrupted first run would not have left."""
    folder = Path(root)
    ours = {SPOOL, "meta"}
    if folder.is_dir() and (
        any(path.name not in ours for path in folder.iterdir())
        or any(path.name != Path(LOCK_PATH).name for path in folder.glob("meta/*"))
    ):
        raise DatasetError(f"{root} is not empty and not a dataset.", remedy="Give another --out folder.")


@contextmanager
def _storage_as_dataset_errors() -> Iterator[None]:
    """In the driver a disk that cannot be written is an error like others: one line, exit code 1."""
    try:
        yield
    except StorageError as error:
        raise DatasetError(error.message, remedy=error.remedy) from error


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


def _counters(result: PipelineResult) -> Counter[str]:
    """Our counters by name; several steps may count the same thing."""
    found: Counter[str] = Counter()
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == graph.NAMESPACE:
            value = counter.committed if counter.committed is not None else counter.attempted
            found[counter.key.metric.name] += int(value)
    return found


def _summary(result: PipelineResult, costs: RunCosts) -> RunSummary:
    found = _counters(result)
    return RunSummary(**{name: found.get(name.replace("_", "-"), 0) for name in COUNTED}, costs=costs)


def _costs(result: PipelineResult, wall_s: float, workers: int) -> RunCosts:
    found = _counters(result)
    peaks = [
        int(entry.committed.max if entry.committed is not None else entry.attempted.max)
        for entry in result.metrics().query()["distributions"]
        if entry.key.metric.namespace == graph.NAMESPACE and entry.key.metric.name == "peak-mb"
    ]
    stage_s = {stage: found.get(graph.STAGE_PREFIX + stage, 0) / 1000 for stage in STAGES}
    return RunCosts(
        wall_s=round(wall_s, 3),
        workers=workers,
        peak_mb=max([peak_mb(), *peaks]),
        stage_s={stage: seconds for stage, seconds in stage_s.items() if seconds},
        failed={
            name.removeprefix("failed-"): count
            for name, count in sorted(found.items())
            if name.startswith("failed-")
        },
    )


def _changed(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    paths = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            paths += _changed(old, new, f"{prefix}{name}.")
        elif old != new:
            paths.append(f"{prefix}{name}: {old} -> {new}")
    return paths
