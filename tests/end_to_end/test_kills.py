"""The same dataset however it is made: disturbed by kill -9, in another order, in a plain loop, by two workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.fingerprint import fingerprint
from pipeline.run import resolve, run
from pipeline.sink import UnitSink
from pipeline.steps import process_segment
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from tests.soak.kills import Kill, soak
from tests.support.fast_units import fast_settings, fast_toolbox, write_clips

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models


def test_killed_and_resumed_is_the_same_dataset(tmp_path: Path) -> None:
    """The short form of `make soak`: driver, unit process and worker, one after the other."""
    kills = [
        Kill(victim="worker", workers=2, after_units=3, delay_s=0.29),
        Kill(victim="driver", workers=2, after_units=5, delay_s=0.05),
        Kill(victim="unit", workers=1, after_units=4, delay_s=0.21),
    ]
    result = soak(tmp_path, kills, units=30)
    assert result.final_hash == result.undisturbed_hash
    assert result.problems == ()
    assert 30 < result.starts <= 30 + result.redone_allowed


def test_plain_loop_and_another_order_give_the_same_content(tmp_path: Path) -> None:
    clips = clips_from_arguments([str(write_clips(tmp_path / "clips", ["a", "b", "c", "nobody"]))])
    settings = fast_settings()
    run(clips, str(tmp_path / "one"), settings, make_toolbox=fast_toolbox)
    run(clips[::-1], str(tmp_path / "backwards"), settings, make_toolbox=fast_toolbox)
    expected = Dataset.open(tmp_path / "one").content_hash()
    assert Dataset.open(tmp_path / "backwards").content_hash() == expected
    settings = resolve(settings)
    toolbox, plain = fast_toolbox(settings), tmp_path / "plain"
    for clip in clips:
        for segment in segments_of(clip, settings.video):
            with UnitSink(str(plain), segment.unit_id, fingerprint(segment, settings)) as sink:
                sink.outcome = process_segment(segment, toolbox, settings, sink.emit).outcome
    (plain / "meta/info.json").write_bytes((tmp_path / "one/meta/info.json").read_bytes())
    assert Dataset.open(plain).content_hash() == expected
