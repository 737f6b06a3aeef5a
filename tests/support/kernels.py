"""Compiled kernels, shared by the processes of a test run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.method.segment import process_segment
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from tests.support.fast_units import FastResources, fast_settings, write_clips
from tests.support.made_once import made_once


def compile_once(factory: pytest.TempPathFactory) -> None:
    """Lets one process of pytest-xdist compile the kernels of a unit into numba's cache while the others wait.

    In a fresh checkout that takes 29 s of CPU time, which every process would spend: none sees what another is
    compiling. With the cache filled it takes 0.6 s.
    """
    if os.environ.get("PYTEST_XDIST_WORKER"):
        made_once(factory, "kernels", _make_a_unit)


def _make_a_unit(folder: Path) -> None:
    (clip,) = clips_from_arguments([str(write_clips(folder, ["a"]))])
    settings = fast_settings("refine.mode=track", "refine.levels_px=[96]", "refine.iterations=1")
    for segment in segments_of(clip, settings.video):
        process_segment(segment, FastResources(settings), lambda table, row: None)
