"""For tests of the pipeline: kernels are compiled by one process."""

from __future__ import annotations

import pytest

from tests.support.kernels import compile_once


@pytest.fixture(scope="session", autouse=True)
def _kernels(tmp_path_factory: pytest.TempPathFactory) -> None:
    compile_once(tmp_path_factory)
