"""Short clips for the ways: pieces of the demo clip, small and at half its frame rate, so that a unit takes seconds."""

from __future__ import annotations

from pathlib import Path

import av

from pipeline.assets import asset_path
from tests.support.clips import even_times, write_clip

COUNT = 6
FRAMES = 18
"""A track has at least 15."""
FPS = 15.0
HEIGHT_WIDTH_PX = (360, 640)
_FIRST, _BETWEEN = 20, 26
"""Frames of the demo clip, which has 230 at 30 a second."""


def cut_clips(folder: Path, count: int = COUNT) -> list[Path]:
    """Writes the clips and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(asset_path("demo.mp4"))) as film:
        height, width = HEIGHT_WIDTH_PX
        pictures = [
            frame.to_ndarray(format="rgb24", width=width, height=height) for frame in film.decode(video=0)
        ]
    paths = []
    for number in range(count):
        first = _FIRST + number * _BETWEEN
        piece = pictures[first : first + 2 * FRAMES : 2]
        path = folder / f"piece-{number}.mp4"
        paths.append(write_clip(path, lambda at, piece=piece: piece[at], even_times(len(piece), FPS)))
    return paths
