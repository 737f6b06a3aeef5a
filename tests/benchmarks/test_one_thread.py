"""What is said to be measured on one thread is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COUNT = """
import importlib, sys
importlib.import_module(sys.argv[1])
import numba, os
print(numba.get_num_threads(), os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"])
"""


@pytest.mark.parametrize(
    "module", ["tests.cluster.stage_table", "tests.benchmarks.__main__", "tests.benchmarks.stage_costs"]
)
@pytest.mark.parametrize(("given", "expected"), [({}, "1 1 1"), ({"OMP_NUM_THREADS": "2"}, "1 2 1")])
def test_one_thread_before_numpy_is_loaded(module: str, given: dict[str, str], expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    said = subprocess.run(
        [sys.executable, "-c", COUNT, module],
        env=environment | given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == expected.split()
