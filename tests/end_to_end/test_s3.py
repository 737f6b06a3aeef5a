"""Datasets in buckets of a real S3 server: made, resumed, checked and trained from, whatever the network does."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.dataset.compaction import compact_dataset
from pipeline.dataset.forgetting import forget
from pipeline.dataset.verification import verify
from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas import addresses
from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.files import Files
from schemas.settings import with_overrides
from tests.cluster.s3 import download, variables
from tests.support.fast_units import STARTS, fast_command, fast_resources, fast_settings, write_clips
from tests.support.s3_server import MISSING, FaultyProxy, environment, is_installed, make_bucket, s3_server
from tests.trainer.test_runs import SETTINGS, difference
from trainer.train import fit

pytestmark = [
    pytest.mark.usefixtures("demo_clip"),  # `run` looks for the models
    pytest.mark.skipif(not is_installed(), reason=MISSING),
]
IDS = ("a", "b", "nobody")
FAULTS = {"error": 0.08, "lost": 0.05, "broken": 0.05, "slow": 0.05}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), IDS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    root = tmp_path_factory.mktemp("made") / "dataset"
    go_on(clips, str(root))
    return root


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as endpoint:
        make_bucket(endpoint, "bucket")
        yield endpoint


@pytest.fixture
def faulty(server: str) -> Iterator[FaultyProxy]:
    """The server behind a network that loses every fifth request."""
    with FaultyProxy(server, FAULTS, seed=3) as proxy, variables(environment(proxy.endpoint)):
        yield proxy


def go_on(clips: Path, root: str):
    found = clips_from_arguments([str(clips)])
    return run(found, root, fast_settings(), make_resources=fast_resources)


def test_a_bucket_behind_a_bad_network_holds_what_the_folder_holds(
    made: Path, clips: Path, faulty: FaultyProxy, tmp_path: Path
) -> None:
    address = "s3://bucket/made"
    summary = go_on(clips, address)
    assert (summary.units_kept, summary.units_failed, summary.clips_read) == (2, 1, 3)
    assert min(faulty.happened[fault] for fault in FAULTS) > 0
    expected = Dataset.open(made)
    checked = verify(address, render=2)
    assert (checked.problems, checked.rendered) == ([], 2)
    assert checked.content_hash == expected.content_hash()
    assert go_on(clips, address).units_skipped == len(IDS)
    down = download(address, tmp_path / "down")
    assert {path.name for path in down.iterdir()} == {path.name for path in made.iterdir()}
    for name in ("README.md", "croissant.json", "meta/manifest.json"):
        assert (down / name).read_bytes() == (made / name).read_bytes()
    assert verify(str(down), render=0).content_hash == expected.content_hash()
    settings = with_overrides(SETTINGS, ["train.max_steps=1", 'data.held_out=["b-s000-w000/p00"]'])
    fit(str(made), str(tmp_path / "local"), settings)
    fit(address, str(tmp_path / "remote"), settings)
    assert difference(tmp_path / "local", tmp_path / "remote") == 0


def test_a_killed_run_into_a_bucket_is_resumed(made: Path, clips: Path, server: str, tmp_path: Path) -> None:
    address, starts = "s3://bucket/killed", tmp_path / "starts"
    with variables(environment(server) | {STARTS: str(starts)}):
        command = fast_command("run", clips, "--out", address)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            files = Files(address)
            while not files.listed("meta/records", ".json") and process.poll() is None:
                time.sleep(0.1)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        before = len(files.listed("meta/records", ".json"))
        assert go_on(clips, address).units_skipped == before
        assert Dataset.open(address).content_hash() == Dataset.open(made).content_hash()
        assert verify(address, render=0).problems == []
    begun = starts.read_text().split()
    assert len(begun) <= len(IDS) + 1  # one was begun again at most


def test_the_index_of_an_uploaded_dataset_is_read_in_place_of_its_records(
    made: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "s3://bucket/uploaded"
    with variables(environment(server)):
        filesystem, path = addresses.filesystem_of(address)
        files = sorted(each for each in made.rglob("*") if each.is_file())
        files.sort(key=lambda each: each.name == "units.jsonl")
        for each in files:
            if each.name == "units.jsonl":
                time.sleep(1.1)  # the server tells time in seconds
            with filesystem.open_output_stream(f"{path}/{each.relative_to(made).as_posix()}") as sink:
                sink.write(each.read_bytes())
        asked = []
        read = Files._content
        monkeypatch.setattr(Files, "_content", lambda self, name: asked.append(name) or read(self, name))
        opened = Dataset.open(address)
        assert opened.content_hash() == Dataset.open(made).content_hash()
        assert asked == []
        for change in (compact_dataset, lambda root: forget(root, "source-a")):
            with pytest.raises(DatasetError, match="in a bucket"):
                change(address)


def test_what_is_wrong_with_a_bucket_is_said_in_bounded_time(
    clips: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with variables(environment(server)):
        for call in (lambda: go_on(clips, "s3://nowhere/x"), lambda: Dataset.open("s3://nowhere/x")):
            with pytest.raises(DatasetError, match="has no bucket 'nowhere'") as caught:
                call()
            assert "make the bucket" in str(caught.value)
        with pytest.raises(DatasetError, match=r"no meta/info\.json"):
            Dataset.open("s3://bucket/nothing")
    with (
        FaultyProxy(server, {"denied": 1}) as proxy,
        variables(environment(proxy.endpoint)),
        pytest.raises(DatasetError, match="AWS_ACCESS_KEY_ID"),
    ):
        go_on(clips, "s3://bucket/x")
    monkeypatch.setattr(addresses, "ANSWER_LIMIT_S", 2.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        for is_listening in (False, True):
            if is_listening:
                silent.listen()
            begin_s = time.monotonic()
            with (
                variables(environment(f"http://127.0.0.1:{port}")),
                pytest.raises(DatasetError, match=rf"127\.0\.0\.1:{port}.*does not answer"),
            ):
                go_on(clips, f"s3://bucket/x{is_listening}")
            assert time.monotonic() - begin_s < 60
