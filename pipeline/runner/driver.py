"""One run: check the folder, run the graph, say what came of it. The driver's side of `python -m pipeline run`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from pipeline.assets import asset_path
from pipeline.config import Settings
from pipeline.dataset.card import publish_documents
from pipeline.dataset.folder import held, prepare_folder, storage_as_dataset_errors
from pipeline.dataset.folder_lock import RunLock
from pipeline.dataset.forgetting import without_forgotten
from pipeline.dataset.run_packing import packing
from pipeline.dataset.settling import settle
from pipeline.dataset.storage import (
    is_readable,
    spool_folder,
    typed_storage_errors,
)
from pipeline.host.temporary import all_temporary_files_in, owned_folder
from pipeline.method.named_files import check_named_files
from pipeline.method.resources import Resources, shared_resources
from pipeline.records import ClipRef
from pipeline.rendering import resolve_backend
from pipeline.runner import graph
from pipeline.runner.beam_options import QuietRunner, pipeline_options, runner_name
from pipeline.runner.costs import costs_of, summary_of
from pipeline.runner.progress import ProgressDisplay, read_note
from pipeline.runner.stop_signals import WorkerGuard, stop_signals
from pipeline.runner.subprocesses import close_idle
from pipeline.runner.summary import RunSummary, with_focal_lengths, write_summary
from pipeline.runner.units import STOP_NOTE, UnitWork
from pipeline.video.source import checked_id
from schemas.addresses import check_reachable, is_remote
from schemas.errors import DatasetError
from schemas.settings import with_overrides


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
    make_resources: Callable[[Settings], Resources] = shared_resources,
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
    check_reachable(root)
    with held(root) if local else nullcontext() as lock:
        settings = prepare_folder(root, settings, settings_from)
        if local:
            settle(root)
        if is_readable(root):
            clips = without_forgotten(clips, root)
        with packing(root, settings.run.pack_every_units) if local else nullcontext():
            result = _carry_out(
                clips,
                options,
                UnitWork(settings=settings, root=root, retry=retry, make_resources=make_resources),
                lock=lock,
                beam_args=beam_args,
                isolated=isolated and not beam_args,
            )
        summary = summary_of(result, costs_of(result, time.monotonic() - begin_s, workers))
        if is_readable(root):
            with storage_as_dataset_errors(), typed_storage_errors(root):
                if local:
                    settle(root)
                summary = with_focal_lengths(summary, root)
                write_summary(summary, root)
                publish_documents(root)
                if local:
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
        runner = QuietRunner() if runner_name(beam_args) == "FnApiRunner" else runner_name(beam_args)
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


def resolve(settings: Settings) -> Settings:
    """Settings with everything that depends on this machine decided: the rasteriser by name, models present."""
    for name in ("pose_detection.tflite", "pose_landmark_full.tflite"):
        asset_path(name)
    check_named_files(settings)
    backend = resolve_backend(settings.rendering.rasterizer)
    return with_overrides(settings, [f"rendering.rasterizer={backend}"])
