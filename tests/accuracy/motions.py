"""Real and made movements for scenes: takes of the body's 24 joints at 30 frames a second, by person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.studio.performance import Script
from pipeline.studio.recorded_motion import read_takes
from schemas.errors import DatasetError
from tests.accuracy.straightened import TIPPED, straightened

MOTION_FPS = 30.0
REPORTED = ("006", "01", "02", "soccer", "signals")
"""People whose takes are only reported on; everybody else's choose weights and teach priors."""
_PERSON_OF = {
    "basketball": "006", "walking": "007", "walking_extra": "007", "washwindow": "jumping",
    "basketball_signal": "signals", "directing_traffic": "signals",
}  # fmt: skip
"""Actions that carry no number of a subject, by whom they are most likely of: kept on one side of the split."""
MAY_BE_ONE = frozenset({"signals", "jumping"})
"""The database has traffic directed, windows washed and jumps by its subject 14, who may be in both of these groups."""
KNEES = slice(4, 6)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Take:
    """One person's movement. T frames."""

    name: str
    person: str
    pose: np.ndarray
    """(T, 24, 3) axis-angles, y up."""
    place: np.ndarray
    """(T, 3) metres of the pelvis, y up."""

    @property
    def is_reported(self) -> bool:
        """Whether it belongs to the half that figures are reported on."""
        return self.person in REPORTED

    def window(self, start: int, frames: int) -> Take:
        """`frames` frames from `start` on."""
        part = slice(start, start + frames)
        return Take(name=self.name, person=self.person, pose=self.pose[part], place=self.place[part])


def motion_capture(path: Path, *, straighten: bool = False) -> list[Take]:
    """The takes of a file that `studio film --motion` reads too, by the folder in their name.

    `straighten`: with pelvises upright, see `straightened`. Raises DatasetError.
    """
    takes = []
    for take in read_takes(path):
        if take.fps != MOTION_FPS:
            raise DatasetError(
                f"{path} has {take.fps:g} frames a second.",
                remedy=f"The test bed's scenes need {MOTION_FPS:g}: resample the motion.",
            )
        folder = PurePosixPath(take.name).parent.name or take.name
        person = _PERSON_OF.get(folder, folder)
        pose = straightened(take.pose) if straighten and TIPPED in take.name else take.pose
        takes.append(Take(name=take.name, person=person, pose=pose, place=take.place_m))
    return takes


def may_be_others(one: str, other: str) -> bool:
    """Whether two names of people are of different people for certain, as far as the database tells."""
    return one != other and not {one, other} <= MAY_BE_ONE


def made_motions(count: int = 24, frames: int = 90, first: int = 0) -> list[Take]:
    """The studio's own movements (walks, squats, raised arms, dances) by made-up people, half of them reported."""
    takes = []
    upright = np.array([1.0, -1.0, -1.0])
    for seed in range(first, first + count):
        script = Script(np.random.default_rng([seed, 1]))
        moved = script.at(np.arange(frames) / MOTION_FPS)
        pose = moved.pose.copy()
        # The studio's axes are the camera's: half a turn about x makes y point up.
        pose[:, 0] = _turned(pose[:, 0], np.diag(upright))
        place = np.stack([moved.ground_m[:, 0], np.zeros(frames), -moved.ground_m[:, 1]], axis=-1)
        person = REPORTED[seed % len(REPORTED)] if seed % 2 else f"made {seed}"
        takes.append(Take(name=f"{script.action} {seed}", person=person, pose=pose, place=place))
    return takes


def _turned(rotvec: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    return (Rotation.from_matrix(rotation) * Rotation.from_rotvec(rotvec)).as_rotvec()


def liveliness(take: Take, frames: int) -> np.ndarray:
    """(T - frames + 1,) mean change of joint angles in each window, radians a frame."""
    speed = np.linalg.norm(np.diff(take.pose[:, 1:], axis=0), axis=-1).sum(axis=1)
    return _window_means(np.concatenate([speed, speed[-1:]]), frames)


def crouching(take: Take, frames: int) -> np.ndarray:
    """(T - frames + 1,) mean bend of the knees in each window, radians."""
    return _window_means(np.linalg.norm(take.pose[:, KNEES], axis=-1).mean(axis=1), frames)


def _window_means(values: np.ndarray, frames: int) -> np.ndarray:
    return np.convolve(values, np.full(frames, 1 / frames), mode="valid")
