"""Downloads from a server on this machine and from recorded metadata; no live site."""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.main import main
from pipeline.download.collection import Collection, Fetched, name_of
from pipeline.download.refusals import DownloadError, RefusedError, download_error
from pipeline.download.video_site import YtDlpSite
from pipeline.video.decode import probe
from pipeline.video.source import clips_from_arguments
from schemas.errors import SettingsError, SourceError
from tests.support.clips import counting_frames, even_times, write_clip
from tests.support.video_server import VideoServer, video_server

# yt-dlp leaves the sockets of answers that it does not read to the end (too large, 404) to the collector, which may
# come at any time: here after every test.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed <socket:ResourceWarning"
)


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


RECORDED = {
    "id": "abcdefghijk",
    "title": "A dance \u2013 recorded metadata",
    "extractor": "youtube",
    "extractor_key": "Youtube",
    "webpage_url": "https://www.youtube.com/watch?v=abcdefghijk",
    "uploader": "Somebody",
    "upload_date": "20240102",
    "license": "Creative Commons Attribution license (reuse allowed)",
    "duration": 1.0,
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_clip(
        tmp_path_factory.mktemp("web") / "c.mp4", counting_frames(), even_times(30)
    ).read_bytes()


@pytest.fixture
def server(clip: bytes) -> Iterator[VideoServer]:
    with video_server() as running:
        running.files["/clip.mp4"] = clip
        yield running


def site(**changes: Any) -> YtDlpSite:
    options = {"rate_mb_per_s": 50.0, "max_gb": 1.0, "max_height_px": 1080, "allow_private": True}
    return YtDlpSite(**(options | changes))


def download(folder: Path, texts: list[str], using: Any, **options: Any) -> Any:
    options = {"pause_s": 0.0, "allow_private": True, "say": lambda line: None} | options
    return Collection(folder).download(texts, using, **options)


class RecordedSite(YtDlpSite):
    """yt-dlp that is given metadata instead of asking for it; files come from the local server."""

    def __init__(self, info: dict[str, Any], **changes: Any) -> None:
        options = {"rate_mb_per_s": 50.0, "max_gb": 1.0, "max_height_px": 1080, "allow_private": True}
        super().__init__(**(options | changes))
        self.info = info

    def describe(self, address: str) -> dict[str, Any]:
        return self.info


def formats(url: str) -> list[dict[str, Any]]:
    return [
        {"format_id": "18", "url": url, "ext": "mp4", "protocol": "https", "vcodec": "avc1", "acodec": "mp4a",
         "width": 64, "height": 48, "fps": 30, "http_headers": {}}
    ]  # fmt: skip


def test_a_file_is_fetched_hashed_and_listed(server: VideoServer, clip: bytes, tmp_path: Path) -> None:
    address = f"{server.url}/clip.mp4"
    outcome = download(tmp_path / "out", [address], site())
    assert not outcome.failures
    entry: Fetched = outcome.fetched[0]
    path = tmp_path / "out" / entry.file
    assert path.read_bytes() == clip
    assert entry.sha256 == hashlib.sha256(clip).hexdigest()
    assert entry.fetched_with.startswith("yt-dlp 20")
    line = json.loads((tmp_path / "out" / "archive.jsonl").read_text())
    assert line["address"] == address
    assert line["size_bytes"] == len(clip)
    assert json.loads((tmp_path / "out" / "metadata" / f"{entry.name}.json").read_text())["ext"] == "mp4"
    clips = clips_from_arguments([str(tmp_path / "out" / "clips.jsonl")])
    assert [each.clip_id for each in clips] == [entry.name]
    assert probe(clips[0].uri).sha256 == entry.sha256


def test_what_is_listed_is_not_fetched_again_unless_it_changed(server: VideoServer, tmp_path: Path) -> None:
    address = f"{server.url}/clip.mp4"
    first = download(tmp_path, [address, address], site()).fetched
    assert len(first) == 1
    asked = len(server.requests)
    again = download(tmp_path, [address], site())
    assert again.already_there == first
    assert len(server.requests) == asked
    (tmp_path / first[0].file).write_bytes(b"something else")
    repaired = download(tmp_path, [address], site())
    assert [entry.sha256 for entry in repaired.fetched] == [first[0].sha256]
    assert len(server.requests) > asked


def test_a_download_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    body = bytes(range(256)) * 8000
    with video_server() as server:
        server.files["/big.mp4"] = body
        info = RECORDED | {"formats": formats(f"{server.url}/big.mp4")}
        part = tmp_path / "videos" / "youtube-abcdefghijk.mp4.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(body[:700_000])
        outcome = download(tmp_path, ["abcdefghijk"], RecordedSite(info))
        assert outcome.fetched[0].sha256 == hashlib.sha256(body).hexdigest()
        ranges = [asked for _, path, asked in server.requests if path == "/big.mp4" and asked]
        assert ranges
        assert all(not asked.startswith("bytes=0-") for asked in ranges)
        assert not part.exists()


def test_a_dropped_connection_is_taken_up_again(tmp_path: Path) -> None:
    body = bytes(range(256)) * 8000
    with video_server() as server:
        server.files["/big.mp4"], server.breaks_after["/big.mp4"] = body, 600_000
        info = RECORDED | {"formats": formats(f"{server.url}/big.mp4")}
        outcome = download(tmp_path, ["abcdefghijk"], RecordedSite(info))
        assert outcome.fetched[0].sha256 == hashlib.sha256(body).hexdigest()
        assert not server.breaks_after


def test_recorded_metadata_is_kept(server: VideoServer, tmp_path: Path) -> None:
    info = RECORDED | {"formats": formats(f"{server.url}/clip.mp4")}
    entry = download(tmp_path, ["abcdefghijk"], RecordedSite(info)).fetched[0]
    assert entry.name == "youtube-abcdefghijk"
    assert entry.file == "videos/youtube-abcdefghijk.mp4"
    assert entry.title == RECORDED["title"]
    assert entry.licence == RECORDED["license"]
    assert entry.upload_date == "20240102"
    manifest = json.loads((tmp_path / "clips.jsonl").read_text())
    assert manifest == {
        "clip_id": entry.name,
        "source_id": entry.name,
        "uri": entry.file,
        "licence": entry.licence,
    }


@pytest.mark.parametrize("bad", ["../../evil", "a/b", "..", "", "x" * 200, "a\0b"])
def test_an_id_from_a_site_never_becomes_a_path_unchecked(
    bad: str, server: VideoServer, tmp_path: Path
) -> None:
    info = RECORDED | {"id": bad, "formats": formats(f"{server.url}/clip.mp4")}
    if bad == "..":
        assert name_of(info, "https://x") == "youtube-.."  # harmless inside a name
        return
    if bad == "":
        assert name_of(info, "https://x") == "youtube-"
        return
    outcome = download(tmp_path / "out", ["abcdefghijk"], RecordedSite(info))
    assert isinstance(outcome.failures[0][1], SourceError)
    assert not list((tmp_path / "out" / "videos").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_endings_that_are_no_video_are_refused(server: VideoServer, tmp_path: Path) -> None:
    info = RECORDED | {"formats": [formats(f"{server.url}/clip.mp4")[0] | {"ext": "sh"}]}
    outcome = download(tmp_path, ["abcdefghijk"], RecordedSite(info))
    assert outcome.failures
    assert not list((tmp_path / "videos").glob("*.sh"))
    assert not (tmp_path / "archive.jsonl").exists()


def test_private_machines_are_refused_by_default(server: VideoServer, tmp_path: Path) -> None:
    info = RECORDED | {"formats": formats(server.url.replace("http:", "https:") + "/clip.mp4")}
    outcome = download(
        tmp_path, ["abcdefghijk"], RecordedSite(info, allow_private=False), allow_private=False
    )
    assert "private network" in str(outcome.failures[0][1])
    assert not server.requests
    plain = RECORDED | {"formats": formats(f"{server.url}/clip.mp4")}
    outcome = download(
        tmp_path, ["abcdefghijk"], RecordedSite(plain, allow_private=False), allow_private=False
    )
    assert "only https://" in str(outcome.failures[0][1])
    assert not server.requests


def test_redirects_to_private_machines_are_refused(
    server: VideoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.1 stands for a public machine here; it redirects to 127.0.0.2."""
    from pipeline.download import addresses

    port = server.url.rsplit(":", 1)[1]
    server.redirects["/moved.mp4"] = f"http://127.0.0.2:{port}/clip.mp4"
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr("pipeline.download.video_site.checked_scheme", lambda url, allow_private: None)
    info = RECORDED | {"formats": formats(f"{server.url}/moved.mp4")}
    outcome = download(tmp_path, ["abcdefghijk"], RecordedSite(info, allow_private=False))
    assert "127.0.0.2" in str(outcome.failures[0][1])
    assert "private network" in str(outcome.failures[0][1])
    assert [path for _, path, _ in server.requests].count("/clip.mp4") == 0
    direct = RECORDED | {"formats": formats(f"{server.url}/clip.mp4")}
    assert download(tmp_path, ["abcdefghijk"], RecordedSite(direct, allow_private=False)).fetched


def test_one_failure_stops_no_other_and_pauses_lie_between(server: VideoServer, tmp_path: Path) -> None:
    server.statuses["/gone.mp4"] = 404
    pauses: list[float] = []
    outcome = download(
        tmp_path,
        [f"{server.url}/gone.mp4", f"{server.url}/clip.mp4"],
        site(),
        pause_s=7.0,
        sleep=pauses.append,
    )
    assert len(outcome.fetched) == 1
    assert isinstance(outcome.failures[0][1], RefusedError)
    assert pauses == [7.0]


def test_too_large_files_are_refused(server: VideoServer, clip: bytes, tmp_path: Path) -> None:
    outcome = download(tmp_path, [f"{server.url}/clip.mp4"], site(max_gb=len(clip) / 2e9))
    assert "--max-gb" in outcome.failures[0][1].remedy
    assert not list((tmp_path / "videos").iterdir())


def test_the_rate_is_limited(tmp_path: Path) -> None:
    import time

    with video_server() as server:
        server.files["/big.mp4"] = bytes(600_000)
        begin = time.perf_counter()
        assert download(tmp_path, [f"{server.url}/big.mp4"], site(rate_mb_per_s=0.4)).fetched
        assert time.perf_counter() - begin > 0.9


def test_play_lists_are_followed(server: VideoServer, tmp_path: Path) -> None:
    class ListSite(YtDlpSite):
        def describe(self, address: str) -> dict[str, Any]:
            if address.endswith("list"):
                entries = [{"url": f"{server.url}/clip.mp4"}, {"url": f"{server.url}/gone.mp4"}, None]
                return {"_type": "playlist", "entries": entries}
            return super().describe(address)

    using = ListSite(rate_mb_per_s=50, max_gb=1, max_height_px=1080, allow_private=True)
    outcome = download(tmp_path, [f"{server.url}/list"], using)
    assert (len(outcome.fetched), len(outcome.failures)) == (1, 1)


def test_a_cut_off_archive_line_costs_one_entry(server: VideoServer, tmp_path: Path) -> None:
    first = download(tmp_path, [f"{server.url}/clip.mp4"], site()).fetched[0]
    archive = tmp_path / "archive.jsonl"
    archive.write_text(archive.read_text() + '{"name": "half')
    assert set(Collection(tmp_path).entries) == {first.name}
    server.files["/other.mp4"] = server.files["/clip.mp4"]
    other = download(tmp_path, [f"{server.url}/other.mp4"], site()).fetched[0]
    assert set(Collection(tmp_path).entries) == {first.name, other.name}


def test_a_missing_javascript_runtime_is_said_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    outcome = download(tmp_path, ["abcdefghijk"], site())
    assert "JavaScript runtime" in str(outcome.failures[0][1])
    assert "deno" in outcome.failures[0][1].remedy


def test_yt_dlp_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    with pytest.raises(SettingsError, match=r"humandepth\[youtube\]"):
        site()


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            "ERROR: [youtube] x: Sign in to confirm you\u2019re not a bot. Use --cookies",
            RefusedError,
            "pause",
        ),
        ("ERROR: [youtube] x: Private video. Sign in if", RefusedError, "anybody"),
        ("ERROR: [youtube] x: Video unavailable", RefusedError, "browser"),
        ("ERROR: unable to download video data: HTTP Error 403: Forbidden", RefusedError, "yt-dlp"),
        ("ERROR: Unsupported URL: https://example.org", SourceError, "video file"),
        ("ERROR: [generic] timed out", DownloadError, "network"),
    ],
)
def test_refusals_have_remedies(text: str, kind: type, words: str) -> None:
    error = download_error("https://x", text, [])
    assert type(error) is kind
    assert words in error.remedy


def test_a_warning_about_the_runtime_is_the_cause() -> None:
    warning = "No supported JavaScript runtime could be found. Only deno is enabled by default"
    error = download_error("https://x", "ERROR: Requested format is not available", [warning])
    assert "deno" in error.remedy
    assert "format" in error.message


def test_the_command(server: VideoServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = ["--pause-s", "0", "--rate-mb-per-s", "50"]
    address = f"{server.url}/clip.mp4"
    assert main(["download", address, "--out", str(tmp_path / "a"), *fast]) == 1
    assert "refused" in capsys.readouterr().err
    assert main(["download", address, "--out", str(tmp_path / "a"), *fast, "--allow-private"]) == 0
    assert "1 fetched" in capsys.readouterr().out
    both = [address, f"{server.url}/gone.mp4"]
    assert main(["download", *both, "--out", str(tmp_path / "a"), *fast, "--allow-private"]) == 3
    assert main(["download", both[1], "--out", str(tmp_path / "a"), *fast, "--allow-private"]) == 1
    assert main(["download", "../../x", "--out", str(tmp_path / "b")]) == 1
    assert main(["download", address, "--out", str(tmp_path / "b"), "--max-gb", "0"]) == 2
