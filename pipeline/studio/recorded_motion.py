"""Movements that somebody recorded in place of scripted ones: motion capture on the body's 24 joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.studio.performance import Performance
from pipeline.studio.settings import StudioSettings
from schemas.array_files import read_arrays
from schemas.conventions import JOINT_COUNT
from schemas.errors import DatasetError

DEFAULT_FPS = 30.0
_REMEDY = (
    "Give an npz with pose (T, 24, 3) axis-angles and trans (T, 3) metres, both y up, length (takes,) frames of each "
    "take and, if they are known, name (takes,) and fps."
)
_UPRIGHT = Rotation.from_rotvec([np.pi, 0, 0])
"""camera_from_recorded: half a turn about x makes y point down and z away."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Take:
    """One recorded movement. T frames at `fps`; y up, metres."""

    name: str
    fps: float
    pose: np.ndarray
    """(T, 24, 3) axis-angles."""
    place_m: np.ndarray
    """(T, 3) of the pelvis."""

    def window(self, start: int, count: int) -> Take:
        """`count` frames from `start` on."""
        part = slice(start, start + count)
        return Take(name=self.name, fps=self.fps, pose=self.pose[part], place_m=self.place_m[part])


class RecordedScript:
    """A part of a take before the studio's camera: `Script` of a recorded movement, at any times.

    Between two frames every joint turns evenly; before the first and after the last it rests. The person is turned by
    `yaw_rad` about the vertical, and its mean velocity over the floor is taken away: the camera goes along. Feet are
    put on the floor at every instant (`StudioClip.at`), so jumps are lost.
    """

    def __init__(self, take: Take, yaw_rad: float) -> None:
        self.take, self.yaw_rad, self.action = take, yaw_rad, take.name
        turned = _UPRIGHT * Rotation.from_rotvec([0.0, yaw_rad, 0.0])
        pose = np.array(take.pose, np.float64)
        pose[:, 0] = (turned * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
        self._rotation = Rotation.from_rotvec(pose.reshape(-1, 3))
        place = turned.apply(take.place_m - take.place_m.mean(axis=0))
        time_s = np.arange(len(pose)) / take.fps
        if len(pose) > 1:
            place = place - np.outer(time_s - time_s.mean(), np.polyfit(time_s, place, 1)[0])
        self._ground_m = place[:, [0, 2]]

    @classmethod
    def drawn(cls, takes: Sequence[Take], duration_s: float, rng: np.random.Generator) -> RecordedScript:
        """A random part of a random take that is long enough (of the longest where none is), at a random angle."""
        long = [take for take in takes if len(take.pose) >= duration_s * take.fps + 1]
        pool: Sequence[Take] = long or [max(takes, key=lambda take: len(take.pose) / take.fps)]
        take = pool[int(rng.integers(len(pool)))]
        count = min(len(take.pose), int(np.ceil(duration_s * take.fps)) + 1)
        start = int(rng.integers(len(take.pose) - count + 1))
        return cls(take.window(start, count), float(rng.uniform(-np.pi, np.pi)))

    def at(self, times_s: np.ndarray) -> Performance:
        """The movement at times (T,) in seconds."""
        last = len(self._ground_m) - 1
        place = np.clip(np.asarray(times_s) * self.take.fps, 0, last)
        before = np.minimum(place.astype(int), max(last - 1, 0))
        after, share = np.minimum(before + 1, last), place - before
        first, second = (self._rotation[_joints(at)] for at in (before, after))
        turn = (first.inv() * second).as_rotvec() * np.repeat(share, JOINT_COUNT)[:, None]
        pose = (first * Rotation.from_rotvec(turn)).as_rotvec().reshape(-1, JOINT_COUNT, 3)
        ground = self._ground_m[before] * (1 - share)[:, None] + self._ground_m[after] * share[:, None]
        return Performance(action=self.action, pose=pose, ground_m=ground)

    def as_facts(self) -> dict[str, Any]:
        """Plain values from which `from_facts` makes the same movement."""
        take = self.take
        return {
            "name": take.name,
            "fps": take.fps,
            "yaw_rad": self.yaw_rad,
            "pose": np.asarray(take.pose, np.float64).tolist(),
            "place_m": np.asarray(take.place_m, np.float64).tolist(),
        }

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> RecordedScript:
        """Raises ValueError, KeyError or TypeError where they are not those of a movement."""
        pose, place = np.array(facts["pose"], np.float64), np.array(facts["place_m"], np.float64)
        fps, yaw_rad = float(facts["fps"]), float(facts["yaw_rad"])
        _check(pose, place, fps)
        if not np.isfinite(yaw_rad):
            raise ValueError(f"a turn of {yaw_rad} rad")
        return cls(Take(name=str(facts["name"]), fps=fps, pose=pose, place_m=place), yaw_rad)


def read_takes(path: Path) -> list[Take]:
    """The takes of a file of motion capture. Raises DatasetError on anything else."""
    arrays = read_arrays(
        path,
        ("pose", "trans", "length"),
        optional=("name", "fps"),
        what="a file of motion capture",
        remedy=_REMEDY,
    )
    try:
        pose, place = np.asarray(arrays["pose"], np.float64), np.asarray(arrays["trans"], np.float64)
        fps = float(arrays.get("fps", np.array(DEFAULT_FPS)))
        _check(pose, place, fps)
        length = np.asarray(arrays["length"])
        if length.ndim != 1 or length.dtype.kind not in "iu" or not (length > 0).all():
            raise ValueError("length is not a list of positive whole numbers")
        if length.sum() != len(pose):
            raise ValueError(f"length sums to {length.sum()}, pose has {len(pose)} frames")
        names = [str(name) for name in arrays.get("name", np.arange(len(length)))]
        if len(names) != len(length):
            raise ValueError(f"{len(names)} names for {len(length)} takes")
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path} is not a file of motion capture: {error}.", remedy=_REMEDY) from error
    ends = np.cumsum(length)
    return [
        Take(name=name, fps=fps, pose=pose[end - count : end], place_m=place[end - count : end])
        for name, count, end in zip(names, length, ends, strict=True)
    ]


def recorded_script(takes: Sequence[Take], seed: int, settings: StudioSettings) -> RecordedScript | None:
    """The part of a take that the clip of a seed shows; None without takes."""
    if not takes:
        return None
    return RecordedScript.drawn(takes, settings.duration_s, np.random.default_rng([seed, 6]))


def _check(pose: np.ndarray, place: np.ndarray, fps: float) -> None:
    if pose.ndim != 3 or pose.shape[1:] != (JOINT_COUNT, 3) or not len(pose):
        raise ValueError(f"pose has shape {pose.shape}, expected (T, {JOINT_COUNT}, 3)")
    if place.shape != (len(pose), 3):
        raise ValueError(f"places have shape {place.shape}, expected ({len(pose)}, 3)")
    if not (np.isfinite(pose).all() and np.isfinite(place).all()):
        raise ValueError("some numbers are not finite")
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"a frame rate of {fps}")


def _joints(frames: np.ndarray) -> np.ndarray:
    """Where the joints of frames (T,) lie in a flat list of joints."""
    return (frames[:, None] * JOINT_COUNT + np.arange(JOINT_COUNT)).ravel()
