"""Clips read from a bucket and a dataset written into one, through Beam's file systems."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from apache_beam.io.localfilesystem import LocalFileSystem

from pipeline.config import preset
from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.settings import with_overrides
from tests.end_to_end.conftest import FAST


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
