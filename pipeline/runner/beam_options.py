"""Which of Beam's runners carries a run out, and with which options."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from pipeline.runner.beam_flags import JOB_SERVERS, check_flags
from schemas.errors import EngineError, SettingsError

ENDPOINT_LIMIT_S = 15.0
"""How long a job service is waited for."""


def pipeline_options(workers: int, beam_args: Sequence[str]) -> PipelineOptions:
    """Beam's options: FnApiRunner with one thread a worker, or whatever `beam_args` ask for."""
    if runner_name(beam_args) == "DaskRunner":
        raise SettingsError(
            "DaskRunner is refused: it loses and duplicates elements while reporting success.",
            remedy="Use --workers N here, or DataflowRunner.",
        )
    check_flags(beam_args)
    arguments = list(beam_args)
    if not beam_args and workers > 1:
        arguments += ["--direct_running_mode=multi_threading", f"--direct_num_workers={workers}"]
    return PipelineOptions(arguments)


def runner_name(beam_args: Sequence[str]) -> str:
    """The runner that the options name; FnApiRunner without one."""
    for position, argument in enumerate(beam_args):
        if argument.startswith("--runner="):
            return argument.partition("=")[2]
        if argument == "--runner" and position + 1 < len(beam_args):
            return beam_args[position + 1]
    return "FnApiRunner"


def has_job_server(beam_args: Sequence[str]) -> bool:
    """Whether the runner hands its graph to a job server: none of them reads hints of a step's memory."""
    return runner_name(beam_args).lower().removesuffix("runner") in JOB_SERVERS


def check_job_endpoint(options: PipelineOptions) -> None:
    """Raises EngineError where the job service of `--job_endpoint` does not answer: Beam would wait for ever."""
    endpoint = options.view_as(PortableOptions).job_endpoint
    if not endpoint or endpoint == "embed":
        return
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ENDPOINT_LIMIT_S)
        except grpc.FutureTimeoutError:
            raise EngineError(
                f"no job service of Beam answers at {endpoint} (--job_endpoint, waited for {ENDPOINT_LIMIT_S:g} s).",
                remedy="Start it, or correct host and port; docs/clusters.md says how.",
            ) from None
