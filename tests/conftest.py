"""For all tests: files that take long are begun first."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

LONGEST = (
    "end_to_end/test_chain.py",
    "trainer/test_runs.py",
    "end_to_end/test_faults.py",
    "end_to_end/test_kills.py",
    "trainer/test_training.py",
    "end_to_end/test_mixed_run.py",
    "trainer/test_stopping.py",
    "end_to_end/test_bad_input.py",
    "trainer/test_corrections.py",
)
"""Measured. The second needs no kernels of the pipeline, so it fills the time in which one process compiles them."""


@pytest.fixture(autouse=True)
def _our_messages_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `caplog`, also after a command has given our logger a handler of its own."""
    for name in ("pipeline", "trainer"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist would hand out the files with the most tests first. The longest have few: two of its three processes
    # had nothing to do while the third ended with them.
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
