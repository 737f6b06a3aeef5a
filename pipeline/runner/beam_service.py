"""A job service for several machines without Flink or Dataflow: Beam's own local one, over one worker for each pool.

    python -m pipeline.runner.beam_service PORT POOL [POOL ...]

A pool is `python -m apache_beam.runners.worker.worker_pool_main --service_port=50000` on a machine, named HOST:50000
here; named twice, it starts two workers. Beam's local job service alone knows one worker, in one pool.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle
from threading import Lock
from typing import Any

import grpc
from apache_beam.portability import common_urns
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.local_job_service import BeamJob, LocalJobServicer

_ANSWER_LIMIT_S = 20.0


class PooledJob(BeamJob):
    """A job whose every step runs in one worker of each pool, whatever environment it was submitted with."""

    def __init__(self, *arguments: Any, workers: int, front: str) -> None:
        super().__init__(*arguments)
        self._workers, self._front = workers, front

    def _invoke_runner(self) -> Any:
        endpoint = endpoints_pb2.ApiServiceDescriptor(url=self._front)
        payload = beam_runner_api_pb2.ExternalPayload(endpoint=endpoint).SerializeToString()
        for environment in self._pipeline_proto.components.environments.values():
            environment.urn, environment.payload = common_urns.environments.EXTERNAL.urn, payload
        runner = FnApiRunner(provision_info=self._provision_info)
        runner._num_workers = self._workers  # Beam sets it for pipelines that it starts itself only
        return runner.run_via_runner_api(self._pipeline_proto, self.pipeline_options())


class PoolFront(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Hands requests on to pools by turns; a pool that does not answer is named in the job's error."""

    def __init__(self, pools: Sequence[str]) -> None:
        self._next, self._lock = cycle(pools), Lock()

    def StartWorker(self, request: Any, context: Any) -> Any:
        """See Beam's `BeamFnExternalWorkerPool`."""
        with self._lock:
            pool = next(self._next)
        with grpc.insecure_channel(pool) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=_ANSWER_LIMIT_S)
                stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
                return stub.StartWorker(request, timeout=_ANSWER_LIMIT_S)
            except (grpc.FutureTimeoutError, grpc.RpcError):
                return beam_fn_api_pb2.StartWorkerResponse(
                    error=f"the worker pool at {pool} does not answer."
                )

    def StopWorker(self, request: Any, context: Any) -> Any:
        """Nothing: a worker ends when its job closes the line to it."""
        return beam_fn_api_pb2.StopWorkerResponse()


def serve(port: int, pools: Sequence[str]) -> None:
    """Answers at `port` until the process is ended."""
    server = grpc.server(ThreadPoolExecutor(8))
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(PoolFront(pools), server)
    front = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    job = partial(PooledJob, workers=len(pools), front=front)
    LocalJobServicer(beam_job_type=job).start_grpc_server(port)
    print(f"jobs are taken at port {port}, for {len(pools)} worker(s)", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        sys.exit("usage: python -m pipeline.runner.beam_service PORT POOL [POOL ...]")
    serve(int(sys.argv[1]), sys.argv[2:])
