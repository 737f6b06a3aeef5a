"""What the person does: joint angles, turns and steps as smooth functions of time, within human limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.geometry.array_types import Floats
from schemas.conventions import JOINT_COUNT

LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE, LEFT_ANKLE, RIGHT_ANKLE = 1, 2, 4, 5, 7, 8
SPINE, NECK, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW = (3, 6, 9), 12, 16, 17, 18, 19
HANGING_RAD = 1.1
"""Turn of the shoulders from the T pose to arms that hang."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Performance:
    """One person's movement at given times. T instants."""

    action: str
    pose: np.ndarray
    """(T, 24, 3) axis-angles; the first is the global rotation, upright in camera axes (x right, y down, z forward)."""
    ground_m: np.ndarray
    """(T, 2) where the pelvis stands: x to the right, z away, about the place of the set."""


class Script:
    """A random but reproducible movement: call it with any times."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.action = str(rng.choice(sorted(ACTIONS)))
        self._movement = ACTIONS[self.action](rng)
        self._yaw = _Wave(rng, rate_hz=(0.12, 0.3), amplitude=(0.5, 1.2))
        self._facing = float(rng.uniform(-0.8, 0.8))
        self._sway = _Noise(rng, (JOINT_COUNT, 3), rate_hz=(0.2, 0.8))
        self._step = _Wave(rng, rate_hz=(0.1, 0.2), amplitude=(0.05, 0.25))

    def at(self, times_s: np.ndarray) -> Performance:
        """The movement at times (T,) in seconds."""
        turns = self._movement(times_s)
        pose = np.zeros((len(times_s), JOINT_COUNT, 3))
        sway = 0.05 * self._sway(times_s)
        for joint in range(1, JOINT_COUNT):
            own = turns.get(joint)
            rotation = Rotation.from_rotvec(sway[:, joint])
            pose[:, joint] = (rotation if own is None else own * rotation).as_rotvec()
        yaw = self._facing + self._yaw(times_s)
        upright = Rotation.from_rotvec([np.pi, 0, 0])
        pose[:, 0] = (upright * Rotation.from_rotvec(yaw[:, None] * [0.0, 1.0, 0.0])).as_rotvec()
        ground = np.stack([self._step(times_s), 0.5 * self._step(times_s + 1.3)], axis=-1)
        return Performance(action=self.action, pose=pose, ground_m=ground)


Turns = dict[int, Rotation]
Movement = Callable[[np.ndarray], Turns]


class _Wave:
    """a sin(2 pi f t + p), with f, a and p drawn once."""

    def __init__(
        self, rng: np.random.Generator, *, rate_hz: tuple[float, float], amplitude: tuple[float, float]
    ) -> None:
        self._rate = 2 * np.pi * rng.uniform(*rate_hz)
        self._amplitude, self._phase = rng.uniform(*amplitude), rng.uniform(0, 2 * np.pi)

    def __call__(self, times_s: np.ndarray) -> np.ndarray:
        return self._amplitude * np.sin(self._rate * times_s + self._phase)


class _Noise:
    """Sums of three sines per component, about one in size: smooth at every order."""

    def __init__(
        self, rng: np.random.Generator, shape: tuple[int, ...], *, rate_hz: tuple[float, float]
    ) -> None:
        self._rate = 2 * np.pi * rng.uniform(*rate_hz, (3, *shape))
        self._phase = rng.uniform(0, 2 * np.pi, (3, *shape))

    def __call__(self, times_s: Floats) -> Floats:
        times = times_s.reshape(-1, *([1] * (self._rate.ndim - 1)))
        return np.asarray(
            sum(np.sin(rate * times + phase) for rate, phase in zip(self._rate, self._phase)) / 1.3
        )


def _about(axis: tuple[float, float, float], angle: np.ndarray) -> Rotation:
    return Rotation.from_rotvec(np.asarray(angle)[:, None] * np.array(axis))


def _arms(swing_left: np.ndarray, swing_right: np.ndarray, raised: np.ndarray, bend: np.ndarray) -> Turns:
    """Arms that hang, swing forward (radians), are raised sideways (0 hanging, 1 level) and bend at the elbow."""
    lowered = HANGING_RAD * (1 - raised)
    return {
        LEFT_SHOULDER: _about((1, 0, 0), -swing_left) * _about((0, 0, 1), -lowered),
        RIGHT_SHOULDER: _about((1, 0, 0), -swing_right) * _about((0, 0, 1), lowered),
        LEFT_ELBOW: _about((0, 1, 0), -bend),
        RIGHT_ELBOW: _about((0, 1, 0), bend),
    }


def _walk(rng: np.random.Generator) -> Movement:
    rate, stride = rng.uniform(0.6, 1.0), rng.uniform(0.35, 0.6)
    swing, bend = rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.6)

    def movement(times_s: np.ndarray) -> Turns:
        phase = 2 * np.pi * rate * times_s
        left, right = stride * np.sin(phase), -stride * np.sin(phase)
        lift_left, lift_right = np.maximum(np.cos(phase), 0) ** 2, np.maximum(-np.cos(phase), 0) ** 2
        still = np.zeros_like(times_s)
        return {
            LEFT_HIP: _about((1, 0, 0), -left - 0.25 * lift_left),
            RIGHT_HIP: _about((1, 0, 0), -right - 0.25 * lift_right),
            LEFT_KNEE: _about((1, 0, 0), 0.1 + 1.0 * lift_left),
            RIGHT_KNEE: _about((1, 0, 0), 0.1 + 1.0 * lift_right),
            **_arms(-swing * np.sin(phase), swing * np.sin(phase), still, bend + 0.2 * lift_left),
        }

    return movement


def _raise_arms(rng: np.random.Generator) -> Movement:
    rate, top, bend = rng.uniform(0.2, 0.5), rng.uniform(0.8, 1.5), rng.uniform(0.0, 0.5)

    def movement(times_s: np.ndarray) -> Turns:
        raised = top * 0.5 * (1 - np.cos(2 * np.pi * rate * times_s))
        still = np.zeros_like(times_s)
        return _arms(still, still, raised, bend + still)

    return movement


def _squat(rng: np.random.Generator) -> Movement:
    rate, depth = rng.uniform(0.25, 0.5), rng.uniform(0.6, 1.1)

    def movement(times_s: np.ndarray) -> Turns:
        down = depth * 0.5 * (1 - np.cos(2 * np.pi * rate * times_s))
        still = np.zeros_like(times_s)
        return {
            LEFT_HIP: _about((1, 0, 0), -1.2 * down) * _about((0, 0, 1), 0.15 + still),
            RIGHT_HIP: _about((1, 0, 0), -1.2 * down) * _about((0, 0, 1), -0.15 + still),
            LEFT_KNEE: _about((1, 0, 0), 2.0 * down),
            RIGHT_KNEE: _about((1, 0, 0), 2.0 * down),
            LEFT_ANKLE: _about((1, 0, 0), -0.8 * down),
            RIGHT_ANKLE: _about((1, 0, 0), -0.8 * down),
            SPINE[0]: _about((1, 0, 0), 0.4 * down),
            **_arms(1.2 * down, 1.2 * down, still, 0.3 * down),
        }

    return movement


def _dance(rng: np.random.Generator) -> Movement:
    arms = _Noise(rng, (6,), rate_hz=(0.2, 0.7))
    legs = _Noise(rng, (4,), rate_hz=(0.2, 0.6))

    def movement(times_s: np.ndarray) -> Turns:
        a, b = arms(times_s), legs(times_s)
        bent_left, bent_right = 0.25 * (1 + b[:, 0].clip(-1, 1)), 0.25 * (1 + b[:, 1].clip(-1, 1))
        turns = _arms(
            0.5 * a[:, 0],
            0.5 * a[:, 1],
            (0.4 + 0.4 * a[:, 2]).clip(-0.1, 1.2),
            0.7 + 0.5 * a[:, 3].clip(-1, 1),
        )
        turns |= {
            LEFT_HIP: _about((1, 0, 0), -bent_left) * _about((0, 0, 1), 0.1 * b[:, 2]),
            RIGHT_HIP: _about((1, 0, 0), -bent_right) * _about((0, 0, 1), 0.1 * b[:, 3]),
            LEFT_KNEE: _about((1, 0, 0), 2 * bent_left),
            RIGHT_KNEE: _about((1, 0, 0), 2 * bent_right),
            NECK: _about((0, 1, 0), 0.3 * a[:, 5]),
        }
        return turns | {joint: _about((0, 1, 0), 0.12 * a[:, 4]) for joint in SPINE}

    return movement


def _turn_on_the_spot(rng: np.random.Generator) -> Movement:
    bend, swing = rng.uniform(0.1, 0.8), _Wave(rng, rate_hz=(0.2, 0.5), amplitude=(0.05, 0.3))

    def movement(times_s: np.ndarray) -> Turns:
        still = np.zeros_like(times_s)
        return _arms(swing(times_s), -swing(times_s), 0.1 + still, bend + still)

    return movement


ACTIONS: dict[str, Callable[[np.random.Generator], Movement]] = {
    "dance": _dance,
    "raise-arms": _raise_arms,
    "squat": _squat,
    "turn": _turn_on_the_spot,
    "walk": _walk,
}
