"""One run: check the folder, let an engine work, say what came of it. The driver's side of `python -m pipeline run`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace

from pipeline.assets import asset_path, tracking_assets
from pipeline.config import Settings
from pipeline.dataset.card import publish_documents
from pipeline.dataset.clip_shards import ClipShard, forget_shard_notes, write_shard_note
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
from pipeline.runner.engines import Engine, make_engine
from pipeline.runner.joined_summary import summary_of_shards
from pipeline.runner.progress import ProgressDisplay, read_note
from pipeline.runner.steps import Steps
from pipeline.runner.stop_signals import stop_signals
from pipeline.runner.subprocesses import close_idle
from pipeline.runner.summary import (
    RunSummary,
    summary_facts,
    summary_of,
    with_focal_lengths,
    write_summary,
)
from pipeline.runner.tally import Tally
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
    shard: ClipShard | None = None,
    make_resources: Callable[[Settings], Resources] = shared_resources,
    engine: Engine | None = None,
) -> RunSummary:
    """Preprocesses clips into the dataset at `root`; units finished before with the same fingerprint are skipped.

    `retry` names a reason whose failed units are tried again (empty: every reason). `isolated` does the work in child
    processes, which can be ended at the time limit and may crash. `settings_from` decides where a folder was made with
    other settings: `dataset` goes on with the folder's, `command` remakes it with these. With a `shard` only the clips
    that fall to it are done; runs of other shards may write into the folder meanwhile, and whichever ends last makes
    the documents. `engine` carries it out; without one Beam does, with `workers` or `beam_args`.

    Raises SettingsError, AssetError or DatasetError before any work is done when it cannot succeed, and SourceError for
    an id that may not become part of a file's name.
    """
    begin_s = time.monotonic()
    for clip in clips:
        checked_id(clip.clip_id)
        checked_id(clip.source_id)
    settings = resolve(settings)
    engine = engine or make_engine("beam", workers=workers, arguments=beam_args)
    local = not is_remote(root)
    check_reachable(root)
    clips = clips if shard is None else shard.clips(clips)
    with held(root, shard) if local else nullcontext() as lock:
        if lock is not None and not lock.alone and settings_from == "command":
            settings_from = None  # would change the settings of shards at work
        settings = prepare_folder(root, settings, settings_from)
        if lock is not None:
            forget_shard_notes(root, shard)
            if lock.alone:
                settle(root)
            lock.share()
        if is_readable(root):
            clips = without_forgotten(clips, root)
        work = UnitWork(settings=settings, root=root, retry=retry, make_resources=make_resources)
        with packing(root, settings.run.pack_every_units) if local and shard is None else nullcontext():
            tally = _carry_out(clips, engine, Steps(work=work, isolated=isolated), lock)
        summary = summary_of(tally, time.monotonic() - begin_s)
        if not is_readable(root):
            return summary
        with storage_as_dataset_errors(), typed_storage_errors(root):
            if lock is not None:
                if shard is not None:
                    write_shard_note(root, shard, len(clips), summary_facts(summary))
                if not lock.regain():
                    return summary
                settle(root)
            summary = with_focal_lengths(summary, root)
            write_summary(
                summary_of_shards(root, shard.count) if shard is not None and local else summary, root
            )
            publish_documents(root)
            if local:
                spool_folder(root).rmdir()
    return summary


def _carry_out(clips: Sequence[ClipRef], engine: Engine, steps: Steps, lock: RunLock | None) -> Tally:
    """The engine's work, watched: progress is shown, signals end it, temporary files go when it ends."""
    with ExitStack() as stack:
        temporary = stack.enter_context(owned_folder("run"))
        folder = temporary / "progress"
        folder.mkdir()
        if engine.is_local:
            stack.enter_context(all_temporary_files_in(temporary))
            stack.callback(close_idle)
            steps = replace(steps, driver_pid=os.getpid())
        if engine.shows_progress:
            stack.enter_context(ProgressDisplay(str(folder), len(clips)))
            stack.enter_context(stop_signals(steps.work.root, lock, temporary))
            steps = replace(steps, work=replace(steps.work, progress_folder=str(folder)))
        try:
            return engine.carry_out(clips, steps)
        except Exception as error:
            note = read_note(folder / STOP_NOTE)
            if note is None:
                raise
            raise DatasetError(str(note["message"]), remedy=str(note["remedy"])) from error


def resolve(settings: Settings) -> Settings:
    """Settings with everything that depends on this machine decided: the rasteriser by name, models present."""
    for name in tracking_assets(settings.tracking):
        asset_path(name)
    check_named_files(settings)
    backend = resolve_backend(settings.rendering.rasterizer)
    return with_overrides(settings, [f"rendering.rasterizer={backend}"])
