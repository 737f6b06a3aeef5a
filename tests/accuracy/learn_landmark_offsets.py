"""`python -m tests.accuracy.learn_landmark_offsets MOCAP --films DIR`: where the landmark network sees landmarks.

Reads the lifter's films (`learn_lifter --make`), of people of whom nothing is reported. A landmark's offset d, fixed to
a joint j with rotation R_j, minimises

    sum_i v_i^2 rho(|u_i - p(x_i) - P_i R_j d| / h_i; .02)

over films' frames i: u_i as seen, x_i the truth, p the projection with derivative P_i, v visibility, h the person's
size. Twins share theirs, mirrored.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.tracking.landmark_offsets import OFFSETS_FILE
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.left_right import BODY_LANDMARKS
from tests.accuracy.lifter_films import FRAMES, TWIN_JOINTS, learning_takes, load, performance_of

EVERY = 4
STEPS, ROBUST_SIZE, RIDGE = 10, 0.02, 5e-6
WORST_SIZE = 0.05
"""Frames whose landmarks miss by more than this on average show a confused network."""
CARRIED_BY = {11: 9, 13: 18, 15: 20, 23: 0, 25: 1, 27: 4}
"""Joints of shoulders, elbows, wrists, hips, knees and ankles; the others' is the joint they weigh most on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Misses:
    """Of N frames, in person sizes."""

    miss: np.ndarray
    """(N, 33, 2)."""
    slope: np.ndarray
    """(N, 33, 24, 2, 3) change of the picture with an offset in each joint's axes."""
    weight: np.ndarray
    """(N, 33)."""


def misses_of(folder: Path, mocap: Path, body: BodyModel, without: list[str]) -> Misses:
    """What the network missed in the films of a folder."""
    takes, twin, body_marks = learning_takes(mocap), mirror_permutation(), list(BODY_LANDMARKS)
    found = []
    for film, path in zip(load(folder), sorted(folder.glob("film-*.npz")), strict=True):
        if film.person in without or len(film.xy_px) != FRAMES:
            continue
        number = int(path.stem.removeprefix("film-"))
        truth, _ = performance_of(np.random.default_rng([7, number]), takes, body)
        rotation = rotation_from_rotvec(truth.pose)
        for joint, parent in enumerate(body.parents):
            if parent >= 0:
                rotation[:, joint] = rotation[:, parent] @ rotation[:, joint]
        x, z = film.marks_m[..., :2], film.marks_m[..., 2:]
        rays, true = film.xy_px / film.focal_px, x / z
        size = np.ptp(true, axis=1).max(axis=-1)[:, None, None]
        miss = (rays - true) / size
        slope = np.concatenate([np.broadcast_to(np.eye(2), (*z.shape[:-1], 2, 2)), -true[..., None]], -1)
        slope = slope / (z * size)[..., None]
        same, other = (
            np.linalg.norm(each, axis=-1)[:, body_marks].mean(axis=1)
            for each in (miss, (rays[:, twin] - true) / size)
        )
        use = np.flatnonzero((same < other) & (same < WORST_SIZE))[::EVERY]
        found.append((miss[use], slope[use][:, :, None] @ rotation[use][:, None], film.visibility[use] ** 2))
    miss, slopes, weight = (np.concatenate(each) for each in zip(*found, strict=True))
    return Misses(miss=miss, slope=slopes, weight=weight)


def offset_of(misses: Misses, places: list[tuple[int, int, np.ndarray]]) -> np.ndarray:
    """(3,) the offset of a landmark and its twin: (landmark, joint, mirror (3, 3)) each."""
    slope = np.concatenate([misses.slope[:, mark, joint] @ mirror for mark, joint, mirror in places])
    miss = np.concatenate([misses.miss[:, mark] for mark, _, _ in places])
    weight = np.concatenate([misses.weight[:, mark] for mark, _, _ in places])
    offset = np.zeros(3)
    for _ in range(STEPS):
        left = ((miss - slope @ offset) ** 2).sum(axis=-1)
        robust = weight / (1 + left / ROBUST_SIZE**2) ** 2
        normal = np.einsum("nia,n,nib->ab", slope, robust, slope) + RIDGE * len(slope) * np.eye(3)
        offset = np.linalg.solve(normal, np.einsum("nia,n,ni->a", slope, robust, miss))
    return offset


def main() -> int:
    """Writes the file that the pipeline ships; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.accuracy.learn_landmark_offsets", description=__doc__
    )
    parser.add_argument("mocap", type=Path)
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--without", action="append", default=[], help="a person to leave out")
    parser.add_argument("--out", type=Path, default=OFFSETS_FILE)
    options = parser.parse_args()
    body, twin = BodyModel.open_body(), mirror_permutation()
    misses = misses_of(options.films, options.mocap, body, options.without)
    joints, offsets, mirror = (
        body.landmark_joint_weights.argmax(axis=1),
        np.zeros((33, 3)),
        np.diag([-1.0, 1, 1]),
    )
    for mark in np.flatnonzero(twin >= np.arange(33)):
        joint, other = CARRIED_BY.get(int(mark), int(joints[mark])), int(twin[mark])
        joints[[mark, other]] = joint, TWIN_JOINTS[joint]
        places = [(int(mark), joint, np.eye(3)), (other, int(joints[other]), mirror)]
        offsets[mark] = offset_of(misses, places)
        offsets[other] = mirror @ offsets[mark] if other != mark else offsets[mark] * [0, 1, 1]
        print(mark, joint, np.round(1000 * offsets[mark], 1), "mm")
    np.savez(options.out, joint=joints.astype(np.int64), offset_m=offsets.astype(np.float32))
    print(f"{len(misses.miss)} frames: wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
