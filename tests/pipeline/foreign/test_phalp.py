"""PHALP's tracks (4D-Humans, TokenHMR): who is seen, whose body it is, and a lens that is no film's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.commands.main import main
from pipeline.geometry.camera import Camera
from pipeline.tracking.imported_bodies import read_bodies
from pipeline.tracking.imported_tracker import placed
from tests.pipeline.body.containers import COMPRESSIONS
from tests.pipeline.foreign.performance import (
    BETAS,
    FRAMES,
    HW,
    MATRICES,
    PLACE,
    POSE,
    TWO,
    assert_mesh,
    converted,
)  # fmt: skip

VIRTUAL_PX, LENS_PX = 5000 / 256 * 640, 700.0
FAR = PLACE * [1, 1, VIRTUAL_PX / LENS_PX]
"""Places through the virtual lens, of bodies at PLACE before a lens of 700 px."""


def frame_of(number: int, people: list[tuple[int, int]], seen: list[int]) -> dict[str, Any]:
    """One frame: people (id, which of the bodies) in the program's lists, some of them seen."""
    return {
        "time": number, "shot": 0, "frame_path": f"img/{number:06d}.jpg",
        "tid": [person for person, _ in people], "tracked_ids": seen,
        "tracked_time": [0 if person in seen else 3 for person, _ in people],
        "bbox": [np.array([10.0, 20, 100, 200])] * len(people),
        "tracked_bbox": [np.array([10.0, 20, 100, 200])] * len(seen),
        "appe": [np.zeros(40, np.float32)] * len(people), "conf": [np.float32(0.9)] * len(people),
        "mask": [[{"size": list(HW), "counts": "abc"}]] * len(people), "annotations": [[]] * len(people),
        "smpl": [
            {
                "global_orient": MATRICES[at, :1].astype(np.float32), "body_pose": MATRICES[at, 1:].astype(np.float32),
                "betas": BETAS[at].astype(np.float32),
            }
            for _, at in people
        ],
        "camera": [FAR[at].astype(np.float32) for _, at in people], "size": [list(HW)] * len(people),
    }  # fmt: skip


def one_person() -> dict[str, Any]:
    """A person in some frames of twelve; in the others nobody is there."""
    frames = {}
    for number in range(12):
        at = TWO.index(number) if number in TWO else None
        people = [(4, at)] if at is not None else []
        frames[f"outputs/img/{number:06d}.jpg"] = frame_of(number, people, [4] * len(people))
    return frames


def written(contents: Any, path: Path, compress: Any = 3) -> Path:
    joblib.dump(contents, path, compress=compress)
    return path


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_container(tmp_path: Path, body: BodyModel, compression: str) -> None:
    path = written(one_person(), tmp_path / "demo.pkl", COMPRESSIONS[compression])
    found = converted(tmp_path, path, "--format", "4d-humans")
    assert_mesh(body, found, place=FAR)
    assert found.frame_index is not None
    assert found.focal_px is not None
    assert found.focal_is_assumed is not None
    assert found.frame_index.tolist() == TWO
    assert found.person.tolist() == [4] * FRAMES
    np.testing.assert_allclose(found.focal_px, VIRTUAL_PX)
    assert found.focal_is_assumed.all()


def test_the_films_lens_gives_the_depth(tmp_path: Path, body: BodyModel) -> None:
    path = written(one_person(), tmp_path / "demo.pkl")
    assumed = converted(tmp_path, path, "--format", "tokenhmr")
    camera = Camera(np.array([[LENS_PX, 0, 320], [0, LENS_PX, 240], [0, 0, 1]]), HW)
    np.testing.assert_allclose(placed(assumed, camera), PLACE, rtol=1e-5)
    found = converted(tmp_path, path, "--format", "phalp", "--focal-px", str(LENS_PX))
    assert found.focal_is_assumed is None
    assert found.focal_px is not None
    np.testing.assert_allclose(found.focal_px, LENS_PX)
    assert_mesh(body, found)


def test_two_people_one_of_whom_is_lost_keep_their_own_bodies(tmp_path: Path, body: BodyModel) -> None:
    """Frame by frame: who, and which of the bodies. The lost one's stale body stays in `tid`, first or last."""
    frames, expected = {}, []
    order = [[7, 2], [7, 2], [7, 2], [2, 7], [7, 2], [7, 2, 9]]
    seen = [[7, 2], [2, 7], [2], [2], [], [9, 7]]
    for number, (people, tracked) in enumerate(zip(order, seen)):
        bodies = {7: min(number, 1), 2: number % FRAMES, 9: 4}  # person 7 is as last seen in frame 1
        bodies[7] = 3 if number == 5 else bodies[7]
        frames[f"img/{number:06d}.jpg"] = frame_of(number, [(who, bodies[who]) for who in people], tracked)
        expected += [(number, who, bodies[who]) for who in people if who in tracked]
    found = converted(tmp_path, written(frames, tmp_path / "demo.pkl"), "--format", "4d-humans")
    assert found.frame_index is not None
    assert list(zip(found.frame_index.tolist(), found.person.tolist())) == [row[:2] for row in expected]
    which = [at for _, _, at in expected]
    assert_mesh(body, found, POSE[which], FAR[which], BETAS[which])


def test_without_the_list_of_those_seen_the_time_of_loss_says_it(tmp_path: Path) -> None:
    frames = {f"{number:06d}.jpg": frame_of(number, [(7, 0), (2, 1)], [2]) for number in range(3)}
    for frame in frames.values():
        del frame["tracked_ids"], frame["time"]
    found = converted(tmp_path, written(frames, tmp_path / "demo.pkl"), "--format", "4d-humans")
    assert found.person.tolist() == [2, 2, 2]
    assert found.frame_index is not None
    assert found.frame_index.tolist() == [0, 1, 2]


def test_a_track_that_is_not_in_the_lists_has_no_body(tmp_path: Path) -> None:
    frames = {"000000.jpg": frame_of(0, [(7, 0)], [5, 7, 7])}
    found = converted(tmp_path, written(frames, tmp_path / "demo.pkl"), "--format", "4d-humans")
    assert found.person.tolist() == [7]


def test_lists_that_are_not_parallel_and_films_without_people_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--format", "4d-humans", "--out", str(tmp_path / "o.npz")]
    short = {"000000.jpg": frame_of(0, [(7, 0), (2, 1)], [2])}
    short["000000.jpg"]["smpl"].pop()
    assert main(["body", "convert", str(written(short, tmp_path / "demo.pkl")), *out]) == 1
    assert "frame '000000.jpg' has 1 of 'smpl' for 2 of 'tid'" in capsys.readouterr().err
    empty = {"000000.jpg": frame_of(0, [(7, 0)], [])}
    assert main(["body", "convert", str(written(empty, tmp_path / "demo.pkl")), *out]) == 1
    assert "hold no person" in capsys.readouterr().err
    assert not (tmp_path / "o.npz").exists()


@pytest.mark.slow
def test_a_long_film_takes_the_memory_of_its_bodies_not_of_its_features(tmp_path: Path) -> None:
    """6,000 bodies with 480 MB of features: converted in less memory than the features take."""
    feature = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    frames = {}
    for number in range(3_000):
        frame = frame_of(number, [(1, number % FRAMES), (2, (number + 1) % FRAMES)], [1, 2])
        frames[f"img/{number:06d}.jpg"] = frame | {"appe": [feature, feature]}
    path = written(frames, tmp_path / "demo.pkl", 1)
    del frames
    program = (
        "import resource, sys; from pipeline.commands.main import main; peak = lambda: resource.getrusage(0).ru_maxrss;"
        "before = peak(); assert main(sys.argv[1:]) == 0; print(peak() - before)"
    )
    arguments = ["body", "convert", str(path), "--format", "4d-humans", "--out", str(tmp_path / "clip.npz")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert len(read_bodies(tmp_path / "clip.npz")) == 6_000
    assert int(done.stdout.split()[-1]) < 400_000, "KiB more than before, imports included"
