"""`docker/launch_slurm.sh` on a cluster of two nodes: kill -9 of a task, its retry on "another" node, the merge.

Skipped where Slurm is missing; nothing is installed here (`make cluster` does).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.dataset.verification import verify
from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from tests.cluster import Unavailable
from tests.cluster.processes import processes_with
from tests.cluster.slurm import ROOT, launch, logs
from tests.cluster.slurm_cluster import require_slurm, slurm_cluster
from tests.end_to_end.conftest import demo_clip  # noqa: F401
from tests.support.fast_units import SETTINGS, STARTS, fast_resources, fast_settings, write_clips

IDS = ("a", "b", "nobody-1", "nobody-2", "nobody-4", "nobody-5")
VICTIM = "1/3"
PYTHON = """#!/bin/bash
# `python -m pipeline` with units that cost nothing. The first run of the victim's shard is killed after its first unit,
# and its lock is made to look as if another node had left it.
export PYTHONPATH={root}
if [[ $3 != run ]]; then exec {python} "$@"; fi
shift 3
command=({python} -m tests.support.fast_units run {settings} "$@")
if [[ " $* " != *" --shard {victim} "* || -e {mark} ]]; then exec "${{command[@]}}"; fi
touch {mark}
"${{command[@]}}" & pid=$!
until ls {part}/meta/records/*.json >/dev/null 2>&1; do sleep 0.05; done
kill -9 $pid
sed -i 's/"host": "[^"]*"/"host": "elsewhere"/' {part}/meta/shards/*.lock
exit 137
"""


@pytest.fixture
def _slurm() -> None:
    try:
        require_slurm()
    except Unavailable as error:
        pytest.skip(str(error))


def launched(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The launch script, where it is not expected to reach Slurm."""
    words = ["bash", str(ROOT / "docker/launch_slurm.sh"), *arguments]
    return subprocess.run(words, env=os.environ | variables, capture_output=True, text=True)


@pytest.mark.usefixtures("_slurm", "demo_clip")
def test_a_killed_task_is_tried_again_and_the_shards_are_merged(tmp_path: Path) -> None:
    manifest = write_clips(tmp_path / "clips", IDS)
    clips = clips_from_arguments([str(manifest)])
    run(clips, str(tmp_path / "whole"), fast_settings(), make_resources=fast_resources)
    out, starts, python = tmp_path / "dataset", tmp_path / "starts", tmp_path / "python"
    part = f"{out}.parts/{VICTIM.replace('/', '-of-')}"
    settings = " ".join(f"--set '{setting}'" for setting in SETTINGS)
    facts = {"root": ROOT, "python": sys.executable, "settings": settings, "victim": VICTIM, "part": part}
    python.write_text(PYTHON.format(mark=tmp_path / "killed", **facts))
    python.chmod(0o755)
    with slurm_cluster(tmp_path / "slurm") as cluster:
        said = launch(
            cluster,
            manifest,
            out,
            "--",
            "--comment=through",
            shards=3,
            python=str(python),
            variables={STARTS: str(starts)},
        )
        assert "array job 1: 3 shards" in said
        comments = cluster.ask("squeue", "--noheader", "--format", "%k").split()
        assert comments == ["through"] * len(comments)
        assert comments
        cluster.wait(600)
    said = logs(out)
    assert (tmp_path / "killed").exists(), said
    assert "ended without finishing; going on where it stopped" in said, said
    assert Dataset.open(out).content_hash() == Dataset.open(tmp_path / "whole").content_hash(), said
    assert verify(str(out), render=0).problems == []
    begun = starts.read_text().split()
    assert len(IDS) <= len(begun) <= len(IDS) + 1  # what was at work when the task was killed
    assert [path.name for path in Path(f"{out}.parts").iterdir()] == ["logs"]  # moved
    assert not list(processes_with("SLURM_CONF", str(tmp_path / "slurm/slurm.conf")))
    again = launched(str(manifest), str(out))
    assert again.returncode == 1
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["clips.csv"], {}, "usage:"),
        (["clips.csv", "out"], {"SHARDS": "0"}, "SHARDS is '0'"),
        (["clips.csv", "out"], {"WORKERS": "two"}, "WORKERS is 'two'"),
    ],
)
def test_wrong_usage_is_said(arguments: list[str], variables: dict[str, str], said: str) -> None:
    done = launched(*arguments, **variables)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_merge_says_which_shards_are_missing(tmp_path: Path) -> None:
    note = tmp_path / "parts/0-of-2/meta/shards/0-of-2.json"
    note.parent.mkdir(parents=True)
    note.write_text("{}")
    done = launched("--merge", str(tmp_path / "parts"), "2", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "shards not finished: 1 of 2" in done.stderr
