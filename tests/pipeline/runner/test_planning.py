"""Plans from a sample: the same for the same seed, intervals that hold the truth as often as they say; bills."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Settings
from pipeline.records import ClipRef
from pipeline.runner import planning
from pipeline.runner.clip_plans import clip_plans, sample_of, total_of
from pipeline.runner.paper_costs import CLIP_REQUESTS, STAGE_SHARES, UNIT_REQUESTS, bill
from pipeline.runner.planning import BUILT_IN, plan, print_plan
from pipeline.runner.summary import STAGES
from schemas.errors import SettingsError
from tests.support.clips import even_times, moving_blob, write_clip

SIZES = [12, 24, 48]
"""Frames of three films, at 12 a second."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[ClipRef]:
    """Forty clips of three films, and one that is not there."""
    folder = tmp_path_factory.mktemp("films")
    films = [
        write_clip(folder / f"{size}.mp4", moving_blob((48, 64), 1.0), even_times(size, 12.0))
        for size in SIZES
    ]
    named = [str(films[number % 3]) for number in range(39)] + [str(folder / "gone.mp4")]
    return [ClipRef(clip_id=f"c{at}", uri=uri, source_id="s") for at, uri in enumerate(named)]


def test_many_processes_find_what_one_finds(clips: list[ClipRef]) -> None:
    found = clip_plans(clips, Settings(), None)
    assert found == [each for clip in clips for each in clip_plans([clip], Settings(), None)]
    assert [round(each.windows[0][1] * each.fps) for each in found[:39]] == SIZES * 13
    assert found[39].windows == ()


def test_a_sample_is_that_of_its_seed(clips: list[ClipRef]) -> None:
    chosen = sample_of(clips, 10, 7)
    assert chosen == sample_of(clips, 10, 7)
    assert chosen != sample_of(clips, 10, 8)
    assert [clip for clip in clips if clip in chosen] == chosen
    assert len(set(chosen)) == 10
    assert sample_of(clips, None, 7) == sample_of(clips, 40, 7) == clips
    with pytest.raises(SettingsError, match="--sample"):
        sample_of(clips, 0, 7)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(6666)
    lengths = rng.gamma(4.0, 25.0, size=1000)
    held = []
    for _ in range(1000):
        estimate = total_of(list(rng.choice(lengths, 60, replace=False)), len(lengths))
        held.append(abs(estimate.value - lengths.sum()) <= estimate.margin)
    assert 0.92 < np.mean(held) < 0.975
    # closed form: two values, Student's t of one degree of freedom is 12.706
    pair = total_of([1.0, 3.0], 10)
    assert pair.value == 20.0
    assert pair.margin == pytest.approx(12.7062 * math.sqrt(2) * 10 * math.sqrt(0.8 / 2), rel=1e-4)
    assert total_of([1.0, 3.0], 2).margin == 0.0
    assert total_of([3.0], 2).margin == math.inf


def test_a_plan_of_a_sample_says_how_sure_it_is(
    clips: list[ClipRef], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = plan(clips, Settings(), out=None, like=None)
    assert (whole.frames, whole.unreadable, whole.margin) == (sum(SIZES) * 13, 1, 0.0)
    sampled = plan(clips, Settings(), out=None, like=None, sample=20)
    assert sampled == plan(clips, Settings(), out=None, like=None, sample=20)
    assert sampled.clips == 40
    assert sampled.probed == 20
    assert 0 < sampled.margin < 0.6
    assert abs(sampled.frames - whole.frames) <= sampled.margin * sampled.frames
    print_plan(sampled)
    assert "scaled up from 20 clip(s)" in capsys.readouterr().out
    million = plan(clips[:3], Settings(), out=None, like=None, as_many_as=10**6, price_per_core_hour=0.04)
    assert million.frames == round(sum(SIZES) / 3 * 1e6)
    assert million.bill.price == pytest.approx(million.hours * 0.04)
    print_plan(million, with_bill=True)
    said = capsys.readouterr().out
    assert f"price {million.bill.price:.2f}" in said
    assert "refining bodies" in said


def test_what_probing_many_clips_costs_is_said_before(
    clips: list[ClipRef], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_MANY_CLIPS", 2)
    plan(clips[:3], Settings(), out=None, like=None)
    assert "probing 3 of 3 clips takes about" in capsys.readouterr().err
    plan(clips[:3], Settings(), out=None, like=None, sample=2)
    assert capsys.readouterr().err == ""


def test_a_bill_is_linear_and_its_stages_add_up() -> None:
    facts = {"frames": 7200.0, "seconds_per_frame": 0.5, "bytes_per_frame": 1e6}
    one = bill(clips=10, units=12, price_per_core_hour=0.5, **facts)
    assert (one.core_hours, one.gigabytes, one.price) == (1.0, 7.2, 0.5)
    assert sum(one.stage_core_hours.values()) == pytest.approx(1.0, abs=0.002)
    assert one.requests.reads == 10 * CLIP_REQUESTS.reads + 12 * UNIT_REQUESTS.reads
    twice = bill(clips=20, units=24, **{**facts, "frames": 14400.0})
    assert twice.core_hours == 2 * one.core_hours
    assert twice.requests.writes == 2 * one.requests.writes
    assert twice.price is None
    assert set(STAGE_SHARES) <= set(STAGES)
    assert BUILT_IN.stage_shares == STAGE_SHARES


def test_the_cost_on_paper_is_what_plan_computes() -> None:
    """Every figure of the table in docs/clusters.md."""
    page = (Path(__file__).parents[3] / "docs/clusters.md").read_text()
    rows = dict(re.findall(r"^\| ([a-z][^|]*?) \| ([^|]*\|[^|]*) \|$", page, re.M))
    clips, frames = 10**6, 230 * 10**6
    found = bill(
        clips=clips,
        units=clips,
        frames=frames,
        seconds_per_frame=BUILT_IN.seconds_per_frame,
        bytes_per_frame=BUILT_IN.bytes_per_frame,
        price_per_core_hour=0.04,
    )
    rate_ms = 1e3 * BUILT_IN.seconds_per_frame
    expected = {"frames": f"| {frames:,}"}
    for stage, hours in found.stage_core_hours.items():
        expected[STAGES[stage]] = f"{rate_ms * STAGE_SHARES[stage]:.1f} ms | {hours:,.0f} core hours"
    expected |= {
        "all of it": f"{rate_ms:.1f} ms | {found.core_hours:,.0f} core hours",
        "price, at 0.04 a core hour": f"| {found.price:,.0f}",
        "dataset": f"{BUILT_IN.bytes_per_frame / 1e3:.0f} kB | {found.gigabytes:,.0f} GB",
        "reads, from a bucket into a bucket": f"26 a clip of one unit | {found.requests.reads:,}",
        "writes": f"14 | {found.requests.writes:,}",
        "deletions": f"7 | {found.requests.deletes:,}",
    }
    assert {name: rows.get(name) for name in expected} == expected
