"""The command itself: what it refuses, what it says, and files that are made to do harm."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch

from pipeline.body.model import BodyModel
from pipeline.commands.main import main
from pipeline.foreign import result_files
from pipeline.foreign.result_files import read_result
from pipeline.foreign.rows import frame_numbers
from pipeline.tracking.imported_bodies import read_bodies
from pipeline.video.film import FilmWriter
from schemas.errors import SourceError
from tests.pipeline.foreign.performance import (
    BETAS,
    FRAMES,
    PLACE,
    POSE,
    TWO,
    assert_mesh,
    converted,
)


def wham(folder: Path, frames: list[int]) -> Path:
    person = {"pose": POSE.reshape(FRAMES, 72), "trans": PLACE, "betas": BETAS, "frame_ids": np.array(frames)}
    joblib.dump({0: person}, folder / "wham_output.pkl")
    return folder / "wham_output.pkl"


def film(path: Path, frames: int, fps: float) -> Path:
    with FilmWriter(path) as writer:
        for number in range(frames):
            writer.write(np.full((48, 64, 3), 10 * number, np.uint8), number / fps)
    return path


def test_a_film_gives_its_size_and_its_number_of_frames(
    tmp_path: Path, body: BodyModel, capsys: pytest.CaptureFixture[str]
) -> None:
    path, clip = wham(tmp_path, [0, 1, 2, 3, 4]), film(tmp_path / "clip.mp4", 5, 25.0)
    found = converted(tmp_path, path, "--format", "wham", "--film", str(clip))
    assert found.focal_px is not None
    np.testing.assert_allclose(found.focal_px, 80)
    assert "note" not in capsys.readouterr().out
    late = wham(tmp_path, [0, 1, 2, 3, 5])
    converted(tmp_path, late, "--format", "wham", "--film", str(clip))
    assert "the results have 6 frames, the film 5 at " in capsys.readouterr().out
    found = converted(tmp_path, late, "--format", "wham", "--film", str(clip), "--fps", "30")
    assert capsys.readouterr().out.count("note") == 0
    assert found.frame_index is None
    assert found.pts_s is not None
    np.testing.assert_allclose(found.pts_s, np.array([0, 1, 2, 3, 5]) / 30)
    assert_mesh(body, found)
    converted(tmp_path, late, "--format", "wham", "--film", str(clip), "--fps", "10")
    assert "the results last 0.60 s at --fps 10, the film 0." in capsys.readouterr().out
    arguments = ["body", "convert", str(path), "--format", "wham", "--film", str(clip), "--image", "640x480"]
    assert main([*arguments, "--out", str(tmp_path / "o.npz")]) == 2


def test_parquet_is_the_same_format(tmp_path: Path, body: BodyModel) -> None:
    out = tmp_path / "clip.parquet"
    path = wham(tmp_path, TWO)
    assert (
        main(["body", "convert", str(path), "--format", "wham", "--image", "640x480", "--out", str(out)]) == 0
    )
    assert_mesh(body, read_bodies(out))


def test_results_of_another_layout_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "other.npz", poses=np.zeros((2, 3)), words=np.array(["a", "b"]))
    out = ["--out", str(tmp_path / "o.npz")]
    for name in ("gvhmr", "wham", "romp", "4d-humans", "prompthmr", "cliff"):
        assert (
            main(
                ["body", "convert", str(tmp_path / "other.npz"), "--format", name, "--image", "640x480", *out]
            )
            == 1
        )
        said = capsys.readouterr().err
        assert f"not laid out as {name} results" in said
    assert main(["body", "convert", str(tmp_path / "other.npz"), "--format", "other", *out]) == 2
    assert "4d-humans, amass" in capsys.readouterr().err
    path = wham(tmp_path, TWO)
    wrong = [
        ["--image", "large"],
        ["--image", "0x5"],
        ["--focal-px", "-3"],
        ["--fps", "nan"],
        ["--mapping", str(path)],
    ]
    for more in wrong:
        assert main(["body", "convert", str(path), "--format", "wham", *more, *out]) == 2
    assert main(["body", "convert", str(path), "--format", "wham", *out]) == 1
    assert "--image WIDTHxHEIGHT or --film FILE" in capsys.readouterr().err
    assert main(["body", "convert", str(tmp_path / "none"), "--format", "tram", *out]) == 1
    assert not (tmp_path / "o.npz").exists()


@pytest.mark.parametrize("name", ["wham_output.pkl", "hps_track_0.npy", "hmr4d.pt", "video_results.npz"])
def test_a_result_that_runs_code_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "mark"

    class Harm:
        def __reduce__(self):
            return os.system, (f"touch {mark}",)

    contents: Any = {"smpl_params_incam": Harm(), "results": Harm()}
    if name.endswith(".pkl"):
        joblib.dump({0: [np.ones(2), Harm()]}, tmp_path / name, compress=3)
    elif name.endswith(".npy"):
        np.save(tmp_path / name, contents, allow_pickle=True)
    elif name.endswith(".pt"):
        torch.save(contents, tmp_path / name)
    else:
        np.savez(tmp_path / name, results=contents)
    program = {".pkl": "wham", ".npy": "tram", ".pt": "gvhmr", ".npz": "romp"}[Path(name).suffix]
    out = str(tmp_path / "o.npz")
    assert (
        main(
            ["body", "convert", str(tmp_path / name), "--format", program, "--image", "640x480", "--out", out]
        )
        == 1
    )
    assert "it calls posix.system" in capsys.readouterr().err
    assert not mark.exists()


def test_archives_that_unpack_to_too_much_and_unknown_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "walk.npz", poses=np.zeros((1000, 156)), verts=np.zeros(10_000))
    monkeypatch.setattr(result_files, "MAX_HELD_BYTES", 100_000)
    with pytest.raises(
        SourceError, match=r"poses\.npy: it claims 1248000 bytes, more than 100000 \(MAX_HELD_BYTES\)"
    ):
        read_result(tmp_path / "walk.npz")
    assert list(read_result(tmp_path / "walk.npz", frozenset({"poses"}))) == ["verts"]
    torch.save({"a": object}, tmp_path / "class.pt")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "walk.npz").read_bytes()[:200])
    np.save(tmp_path / "long.npy", np.zeros(9))
    data = (tmp_path / "long.npy").read_bytes()
    (tmp_path / "long.npy").write_bytes(data.replace(b"(9,)", b"(9999999999999,)"))
    (tmp_path / "header.npy").write_bytes(data.replace(b"}", b"("))
    for name in ("notes.txt", "cut.npz", "missing.npy", "long.npy", "header.npy"):
        with pytest.raises(SourceError):
            read_result(tmp_path / name)
    assert str(read_result(tmp_path / "class.pt")["a"]).endswith(".object")  # a name, and never the class


def test_pickles_of_any_name_are_read_by_their_first_bytes(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "torch.pkl")
    joblib.dump({"a": np.ones(2)}, tmp_path / "joblib.pt", compress=("gzip", 3))
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": np.ones(2)}))
    for name in ("torch.pkl", "joblib.pt", "plain.pth"):
        np.testing.assert_array_equal(read_result(tmp_path / name)["a"], [1, 1])


def test_the_programs_folder_stands_for_its_file(
    tmp_path: Path, body: BodyModel, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    arguments = ["--format", "wham", "--image", "640x480"]
    out = ["--out", str(tmp_path / "o.npz")]
    assert main(["body", "convert", str(folder), *arguments, *out]) == 1
    assert "holds no wham_output.pkl" in capsys.readouterr().err
    wham(folder, TWO)
    joblib.dump({}, folder / "slam_results.pth")
    assert_mesh(body, converted(tmp_path, folder, *arguments))
    for name in ("one.pkl", "two.pkl"):
        joblib.dump({}, folder / name)
    assert main(["body", "convert", str(folder), "--format", "4d-humans", *out]) == 1
    assert (
        "holds 3 files of results. Give one of one.pkl, two.pkl, wham_output.pkl" in capsys.readouterr().err
    )


def test_frames_are_numbered_by_their_names() -> None:
    assert frame_numbers(["a/00000003.jpg", "00000010.png"]) == [3, 10]
    assert frame_numbers(["00000003.jpg"], first=1) == [2]
    assert frame_numbers(["shot_10.jpg", "shot_9.jpg", "shot_100.jpg"]) == [1, 0, 2]
