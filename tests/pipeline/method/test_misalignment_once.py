"""How far two frames disagree is read once, whichever of them is the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.method import verdicts
from pipeline.method.segment import process_segment
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from tests.support.clips import even_times, write_clip
from tests.support.fast_units import FPS, FRAMES, SIDE_PX, fast_resources, fast_settings

ALL_PAIRS = (
    "pairs.target_stride=1",
    "pairs.candidate_gaps_s=[0.07,0.14,0.2]",
    "pairs.max_references=6",
    "pairs.min_mean_baseline_m=0.01",
)
NUMBERS = ("textured_fraction", "matched_fraction", "across_px", "along_px", "misalignment_px")

Pairs = dict[tuple[int, int], dict[str, Any]]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wall of soft spots that stands still, whatever the body before it does."""
    noise = np.random.default_rng(0).normal(size=(SIDE_PX, SIDE_PX, 3))
    wall = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    path = tmp_path_factory.mktemp("film") / "wall.mp4"
    write_clip(path, lambda _: wall, even_times(FRAMES, FPS))
    return path


def pairs_of(film: Path, *overrides: str) -> Pairs:
    """Rows of `pairs` by target and reference."""
    settings = fast_settings(*ALL_PAIRS, *overrides)
    (clip,) = clips_from_arguments([str(film)])
    (segment,) = segments_of(clip, settings.video)
    pairs: Pairs = {}

    def emit(table: str, row: dict[str, Any]) -> None:
        if table == "pairs":
            pairs[row["target_frame"], row["reference_frame"]] = dict(row)

    process_segment(segment, fast_resources(settings), emit)
    return pairs


@pytest.fixture(scope="module")
def ungated(film: Path) -> Pairs:
    return pairs_of(film, "pairs.max_misalignment_px=null")


def test_both_directions_of_a_pair_tell_the_same(ungated: Pairs) -> None:
    both = [(row, ungated[reference, target]) for (target, reference), row in ungated.items()]
    assert len(both) > 30
    assert not any(row["estimated"] for row, _ in both)
    assert len({row["misalignment_px"] for row, _ in both}) > 10
    for row, opposite in both:
        assert [row[name] for name in NUMBERS] == [opposite[name] for name in NUMBERS]
        assert row["photo_error"] != opposite["photo_error"]


def test_it_is_read_in_the_direction_that_is_rendered_first(
    film: Path, ungated: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Targets come in order of time, so that is with the earlier frame as the target."""
    read: list[float | None] = []
    real = verdicts.misalignment

    def noting(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        read.append(found.misalignment_px)
        return found

    monkeypatch.setattr(verdicts, "misalignment", noting)
    pairs_of(film, "pairs.max_misalignment_px=null")
    earlier = [row["misalignment_px"] for (target, reference), row in ungated.items() if target < reference]
    assert sorted(read, key=str) == sorted(earlier, key=str)


def test_a_pair_is_not_rendered_whose_opposite_is_misaligned(film: Path, ungated: Pairs) -> None:
    sizes = [row["misalignment_px"] for row in ungated.values() if row["misalignment_px"] is not None]
    limit_px = float(np.median(sizes))
    gated = pairs_of(film, f"pairs.max_misalignment_px={limit_px!r}")
    assert gated.keys() == ungated.keys()
    beyond = 0
    for (target, reference), row in gated.items():
        whole = ungated[target, reference]
        size = whole["misalignment_px"]
        is_beyond = size is not None and size > limit_px
        beyond += is_beyond
        assert row["misalignment_px"] == size
        assert row["kept"] is not is_beyond
        assert row["reason"] == ("misaligned" if is_beyond else "")
        assert row["estimated"] is (is_beyond and target > reference)
        assert (row["photo_error"] is None) is row["estimated"]
        assert row["mean_baseline_m"] == pytest.approx(whole["mean_baseline_m"], rel=0.05)
    assert 10 < beyond < len(gated) - 10
