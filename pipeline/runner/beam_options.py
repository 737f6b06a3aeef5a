"""Which of Beam's runners carries a run out, and with which options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipeline.runner.beam_flags import check_flags
from schemas.errors import SettingsError


class QuietRunner(FnApiRunner):
    """Beam's own runner; its worker processes are started by `pipeline.runner.beam_worker`."""

    def run_via_runner_api(self, pipeline_proto: Any, options: PipelineOptions) -> Any:
        for environment in pipeline_proto.components.environments.values():
            environment.payload = environment.payload.replace(
                b"apache_beam.runners.worker.sdk_worker_main", b"pipeline.runner.beam_worker"
            )
        return super().run_via_runner_api(pipeline_proto, options)


def pipeline_options(workers: int, beam_args: Sequence[str]) -> PipelineOptions:
    """Beam's options: FnApiRunner in one process or in `workers` processes, or whatever `beam_args` ask for."""
    if workers < 1:
        raise SettingsError(f"--workers cannot be {workers}.", remedy="Give 1 or more.")
    if runner_name(beam_args) == "DaskRunner":
        raise SettingsError(
            "DaskRunner is refused: it loses and duplicates elements while reporting success.",
            remedy="Use --workers N here, or DataflowRunner.",
        )
    check_flags(beam_args)
    arguments = list(beam_args)
    if not beam_args and workers > 1:
        arguments += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    return PipelineOptions(arguments)


def runner_name(beam_args: Sequence[str]) -> str:
    for position, argument in enumerate(beam_args):
        if argument.startswith("--runner="):
            return argument.partition("=")[2]
        if argument == "--runner" and position + 1 < len(beam_args):
            return beam_args[position + 1]
    return "FnApiRunner"
