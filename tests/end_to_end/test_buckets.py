"""Clips read from a bucket and a dataset written into one, through Beam's file systems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from apache_beam.io.localfilesystem import LocalFileSystem

from pipeline.config import preset
from pipeline.runner.driver import resolve, run
from pipeline.runner.paper_costs import CLIP_REQUESTS, UNIT_REQUESTS
from pipeline.runner.units import UnitWork, cut_clip, render_unit, track_unit
from pipeline.video.source import clips_from_arguments
from schemas.settings import with_overrides
from tests.end_to_end.conftest import FAST
from tests.support.fast_units import fast_resources, fast_settings, write_clips


class FolderBucket(LocalFileSystem):
    """A bucket that is a folder: `folder://path`. Beam finds file systems by their class, as it does gs:// and s3://."""

    @classmethod
    def scheme(cls) -> str:
        return "folder"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths)])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def _local(self, path: str) -> str:
        return path.removeprefix("folder:/")

    def mkdirs(self, path: str) -> None:
        Path(self._local(path)).mkdir(parents=True, exist_ok=True)

    def has_dirs(self) -> bool:
        return False

    def match(self, patterns, limits=None):
        return super().match([self._local(pattern) for pattern in patterns], limits)

    def create(self, path, *arguments, **named):
        Path(self._local(path)).parent.mkdir(parents=True, exist_ok=True)  # buckets have no folders
        return super().create(self._local(path), *arguments, **named)

    def open(self, path, *arguments, **named):
        return super().open(self._local(path), *arguments, **named)

    def rename(self, sources, destinations):
        return super().rename(
            [self._local(path) for path in sources], [self._local(path) for path in destinations]
        )

    def exists(self, path: str) -> bool:
        return super().exists(self._local(path))

    def delete(self, paths):
        return super().delete([self._local(path) for path in paths])


@pytest.mark.usefixtures("demo_clip")
def test_a_run_from_bucket_to_bucket_gives_the_same_samples(
    dataset: Path, manifest: Path, demo_clip: Path, tmp_path: Path
) -> None:
    (clip,) = clips_from_arguments([str(manifest)])
    there = replace(clip, uri=f"folder:/{demo_clip}")
    gone = replace(clip, clip_id="gone", uri=f"folder:/{tmp_path}/gone.mp4")
    settings = with_overrides(preset("paper"), FAST[1::2])
    summary = run([there, gone], f"folder:/{tmp_path}/out", settings)
    assert summary.exit_code == 3
    made = sorted((tmp_path / "out" / "samples").iterdir())
    assert [path.name for path in made] == [path.name for path in sorted((dataset / "samples").iterdir())]
    assert made[0].read_bytes() == (dataset / "samples" / made[0].name).read_bytes()
    again = run([there, gone], f"folder:/{tmp_path}/out", settings)
    assert again.units_skipped == 1


def test_requests_of_a_clip_and_a_unit_are_those_that_plan_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clip of one unit, from bucket to bucket: what `plan --price-per-core-hour` multiplies."""
    calls: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        function = getattr(FolderBucket, name)

        def call(self: FolderBucket, *arguments: Any, **named: Any) -> Any:
            calls[name] += 1
            return function(self, *arguments, **named)

        return call

    for name in ("open", "exists", "create", "rename", "delete"):
        monkeypatch.setattr(FolderBucket, name, counted(name))
    (clip,) = clips_from_arguments([str(write_clips(tmp_path / "clips", ["a"]))])
    work = UnitWork(
        settings=resolve(fast_settings()), root=f"folder:/{tmp_path}/out", make_resources=fast_resources
    )
    cut = cut_clip(work, replace(clip, uri=f"folder:/{clip.uri}"))
    (segment,) = cut.todo
    render_unit(work, track_unit(work, segment)[0])
    expected = {
        name: getattr(CLIP_REQUESTS, name) + getattr(UNIT_REQUESTS, name)
        for name in ("reads", "writes", "deletes")
    }
    assert {
        "reads": calls["open"] + calls["exists"],
        "writes": calls["create"] + calls["rename"] + 2,  # a rename is a copy and a deletion
        "deletes": calls["rename"] + calls["delete"] + 1,
    } == expected, calls  # this unit is not refined: it has no shard of `surfaces`
