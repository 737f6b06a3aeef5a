"""`python -m tests.accuracy.learn_landmark_offsets MOCAP`: where the landmark networks draw their landmarks.

Reads the lifter's films (`learn_lifter --make`; what ships is learned from 212 of them), or films the test bed's
scenes, both of people of whom nothing is reported. A landmark's offset d from the point x that it is named for, fixed
to a joint j with rotation R_j, minimises

    sum_i v_i^2 rho(|u_i - p(x_i) - P_i R_j d| / h_i; .02)

over frames i: u_i as seen, p the projection with derivative P_i, v visibility, h the person's size. Twins share theirs,
mirrored.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from pipeline.body.landmark_offsets import OFFSETS_FILE
from pipeline.body.model import BodyModel
from pipeline.body.smpl_layout import JOINT_NAMES, LANDMARK_NAMES
from pipeline.config import Settings
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.left_right import BODY_LANDMARKS, repair_left_right
from pipeline.tracking.tracker import landmark_models
from pipeline.tracking.two_models import joined_landmarks
from tests.accuracy.lifter_films import FRAMES, TWIN_JOINTS, learning_takes, load, performance_of
from tests.accuracy.motions import motion_capture
from tests.accuracy.observing import SEEN, observed
from tests.accuracy.scenes import LEARNED_ON, scenes_of
from tests.support.rendered_people import Performance

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

    def every(self, step: int) -> Misses:
        """Every `step`-th of them."""
        return Misses(miss=self.miss[::step], slope=self.slope[::step], weight=self.weight[::step])

    @classmethod
    def together(cls, parts: Iterable[Misses]) -> Misses:
        """All frames of several."""
        names, parts = ("miss", "slope", "weight"), list(parts)
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def of_films(folder: Path, mocap: Path, body: BodyModel) -> dict[str, list[Misses]]:
    """By person, of the lifter's films in a folder."""
    takes, found = learning_takes(mocap), defaultdict(list)
    for film, path in zip(load(folder), sorted(folder.glob("film-*.npz")), strict=True):
        if len(film.xy_px) == FRAMES:
            number = int(path.stem.removeprefix("film-"))
            truth, _ = performance_of(np.random.default_rng([7, number]), takes, body)
            rays, at = film.xy_px / film.focal_px, np.arange(FRAMES)
            found[film.person].append(_misses(body, truth, at, rays, film.visibility).every(EVERY))
    return found


def of_scenes(count: int, mocap: Path, body: BodyModel, folder: Path) -> dict[str, list[Misses]]:
    """By person, of the test bed's scenes, as the default settings see them."""
    settings, found = Settings(), defaultdict(list)
    models = landmark_models(settings)
    for scene in scenes_of(body, motion_capture(mocap), count, LEARNED_ON):
        seen = None if scene.is_reported else observed(scene, models, settings.tracking, folder)
        if seen is not None:
            seen = joined_landmarks(repair_left_right(seen, settings.tracking.swap_cost)[0])
            truth = scene.performance
            rays = (seen.xy_px - truth.camera.K[:2, 2]) / truth.camera.K[0, 0]
            person = scene.name.split(": ")[1].split("/")[0]
            confidence = seen.visibility * seen.presence
            found[person].append(_misses(body, truth, seen.frame_index, rays, confidence))
    return found


def _misses(
    body: BodyModel, truth: Performance, at: np.ndarray, rays: np.ndarray, visibility: np.ndarray
) -> Misses:
    """Of frames `at` (T,) seen along rays (T, 33, 2), those in which the network was not confused."""
    twin, body_marks = mirror_permutation(), list(BODY_LANDMARKS)
    marks = body.as_named.landmarks(truth.pose[at], truth.betas, truth.translation[at])
    rotation = rotation_from_rotvec(truth.pose[at])
    for joint, parent in enumerate(body.parents):
        if parent >= 0:
            rotation[:, joint] = rotation[:, parent] @ rotation[:, joint]
    x, z = marks[..., :2], marks[..., 2:]
    true = x / z
    size = np.ptp(true, axis=1).max(axis=-1)[:, None, None]
    miss = (rays - true) / size
    slope = np.concatenate([np.broadcast_to(np.eye(2), (*z.shape[:-1], 2, 2)), -true[..., None]], -1)
    slope = slope / (z * size)[..., None]
    same, other = (
        np.linalg.norm(each, axis=-1)[:, body_marks].mean(axis=1)
        for each in (miss, (rays[:, twin] - true) / size)
    )
    use = (same < other) & (same < WORST_SIZE)
    turned = slope[use][:, :, None] @ rotation[use][:, None]
    return Misses(miss=miss[use], slope=turned, weight=visibility[use] ** 2)


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


def learned(misses: Misses, body: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """(33,) joints and (33, 3) offsets of all landmarks."""
    twin, mirror = mirror_permutation(), np.diag([-1.0, 1, 1])
    joints, offsets = body.as_named.landmark_joint_weights.argmax(axis=1), np.zeros((33, 3))
    for mark in np.flatnonzero(twin >= np.arange(33)):
        joint, other = CARRIED_BY.get(int(mark), int(joints[mark])), int(twin[mark])
        joints[[mark, other]] = joint, TWIN_JOINTS[joint]
        places = [(int(mark), joint, np.eye(3)), (other, int(joints[other]), mirror)]
        offsets[mark] = offset_of(misses, places)
        offsets[other] = mirror @ offsets[mark] if other != mark else offsets[mark] * [0, 1, 1]
    return joints, offsets


def main() -> int:
    """Writes the file that the pipeline ships; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.accuracy.learn_landmark_offsets", description=__doc__
    )
    parser.add_argument("mocap", type=Path)
    parser.add_argument("--films", type=Path, help="the lifter's films (else the test bed's)")
    parser.add_argument("--scenes", type=int, default=5, help="the test bed's films of each kind")
    parser.add_argument("--seen", type=Path, default=SEEN, help="where its landmarks are kept")
    parser.add_argument("--out", type=Path, default=OFFSETS_FILE)
    options = parser.parse_args()
    body = BodyModel.open_body()
    if options.films is not None:
        found = of_films(options.films, options.mocap, body)
    else:
        found = of_scenes(options.scenes, options.mocap, body, options.seen)
    joints, offsets = learned(Misses.together(chain(*found.values())), body)
    for mark, (joint, offset) in enumerate(zip(joints, offsets)):
        print(f"{LANDMARK_NAMES[mark]:16s} {JOINT_NAMES[joint]:14s} {np.round(1000 * offset, 1)} mm")
    for person in found:
        others = chain(*(films for name, films in found.items() if name != person))
        apart = 1000 * np.linalg.norm(learned(Misses.together(others), body)[1] - offsets, axis=1)
        print(f"without {person}: {apart.mean():.1f} mm off, {apart.max():.1f} at most")
    np.savez(options.out, joint=joints.astype(np.int64), offset_m=offsets.astype(np.float32))
    print(f"{sum(map(len, found.values()))} films: wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
