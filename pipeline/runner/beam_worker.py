"""What `--workers N` starts N times: Beam's own worker, without its chatter on the terminal."""

from __future__ import annotations

import runpy

from pipeline.host.logs import only_errors_on_stderr

if __name__ == "__main__":
    only_errors_on_stderr()
    runpy.run_module("apache_beam.runners.worker.sdk_worker_main", run_name="__main__")
