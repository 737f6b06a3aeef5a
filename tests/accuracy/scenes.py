"""Scenes of the test bed: real movements before cameras that are pitched, rolled, near, far, or cut people off."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.geometry.camera import Camera
from tests.accuracy.motions import MOTION_FPS, Take, crouching, liveliness
from tests.accuracy.own_lengths import drawn_lengths, with_lengths
from tests.support.rendered_people import Performance

FRAMES = 36
HALVES = ("tuning", "reported")
"""Of people: by whether figures are reported of them."""
NEAREST_M, LEAST_DEPTH_M = 0.7, 0.3
TORSO = (11, 12, 23, 24)
CANDIDATES = 8
"""Windows drawn for a scene of a kind that chooses the fastest or the most bent of them."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a kind of scene is filmed. Pairs are the ends of uniform draws."""

    half_field_deg: tuple[float, float] = (18, 32)
    """Of the longer side."""
    pitch_deg: tuple[float, float] = (-3, 12)
    """Positive looks down."""
    third_pitch_deg: tuple[float, float] | None = None
    """Of every third film, where it is another."""
    roll_deg: tuple[float, float] = (-3, 3)
    turning_deg_per_s: tuple[float, float] = (0, 0)
    fill: tuple[float, float] = (0.6, 0.9)
    """Share of the picture that the movement takes up; above 1 people are cut."""
    chosen: str = ""
    """`lively`, `bent`, or any window."""
    backlit: bool = False

    def numbered(self, number: int) -> Kind:
        """How the film of this number, from 0 on, is filmed."""
        if self.third_pitch_deg is None or number % 3 != 2:
            return self
        return replace(self, pitch_deg=self.third_pitch_deg)


KINDS = {
    "level": Kind(),
    "pitched": Kind(pitch_deg=(-25, 25), roll_deg=(-25, 25)),
    "near": Kind(half_field_deg=(38, 50), pitch_deg=(-15, 25), roll_deg=(-5, 5), fill=(0.75, 0.95)),
    "far": Kind(half_field_deg=(12, 16), pitch_deg=(-5, 15)),
    "cut": Kind(pitch_deg=(-10, 15), roll_deg=(-8, 8), fill=(1.25, 1.5)),
    "turning": Kind(turning_deg_per_s=(90, 200)),
    "dancing": Kind(chosen="lively", pitch_deg=(-10, 15), roll_deg=(-8, 8)),
    "crouching": Kind(chosen="bent", pitch_deg=(-10, 20), roll_deg=(-8, 8)),
    "backlit": Kind(backlit=True, turning_deg_per_s=(-60, 60)),
    "steep": Kind(pitch_deg=(20, 35), third_pitch_deg=(-25, -10)),
}
LEARNED_ON = tuple(kind for kind in KINDS if kind != "steep")
"""Kinds that taught the mean errors of depth and of landmarks in the picture that ship."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MotionScene:
    """One film."""

    name: str
    kind: str
    seed: int
    is_reported: bool
    performance: Performance
    body: BodyModel
    """Whose performance it is."""
    own_lengths: bool = False
    """Whether limbs and trunk have lengths that no shape of the open body has."""

    @property
    def person(self) -> str:
        """Whose movement it is."""
        return self.name.split(": ")[1].split("/")[0]

    @property
    def backlit(self) -> bool:
        """Whether the light comes from behind."""
        return KINDS[self.kind].backlit


def scenes_of(
    body: BodyModel,
    takes: Sequence[Take],
    count: int,
    only: Sequence[str] = tuple(KINDS),
    half: str | None = None,
    *,
    own_lengths: bool = False,
) -> Iterator[MotionScene]:
    """`count` scenes of every kind and half (reported or not), each of another take where there are enough.

    `only` names kinds and `half` one of HALVES; their scenes are the same as among all. With `own_lengths` the same
    people move the same way before cameras of the same kind, but each has limbs of their own lengths.
    """
    for kind in only:
        for is_reported in (False, True):
            if half is not None and HALVES[is_reported] != half:
                continue
            pool = [take for take in takes if take.is_reported == is_reported and len(take.pose) >= FRAMES]
            for number in range(count):
                seed = zlib.crc32(f"{kind} {is_reported} {number}".encode())
                own = (
                    with_lengths(body, drawn_lengths(np.random.default_rng([seed, 5])))
                    if own_lengths
                    else body
                )
                filmed = KINDS[kind].numbered(number)
                performance, name = _scene(own, pool, filmed, np.random.default_rng(seed))
                yield MotionScene(
                    name=f"{kind} {number}: {name}",
                    kind=kind,
                    seed=seed,
                    is_reported=is_reported,
                    performance=performance,
                    body=own,
                    own_lengths=own_lengths,
                )


def _scene(
    body: BodyModel, pool: Sequence[Take], kind: Kind, rng: np.random.Generator
) -> tuple[Performance, str]:
    take = _window(pool, kind.chosen, rng)
    betas = 0.8 * np.clip(rng.standard_normal(10), -2, 2)
    performance = performed(
        body,
        take,
        betas,
        rng,
        half_field_deg=rng.uniform(*kind.half_field_deg),
        pitch_deg=rng.uniform(*kind.pitch_deg),
        roll_deg=rng.uniform(*kind.roll_deg),
        turning_deg_per_s=rng.uniform(*kind.turning_deg_per_s) * rng.choice([-1, 1]),
        fill=rng.uniform(*kind.fill),
    )
    return performance, f"{take.person}/{take.name.split('/')[-1]}"


def _window(pool: Sequence[Take], chosen: str, rng: np.random.Generator) -> Take:
    """A window of a take by a person drawn first, so that nobody fills the bed."""
    people = sorted({take.person for take in pool})
    drawn = []
    for _ in range(CANDIDATES if chosen else 1):
        person = people[rng.integers(len(people))]
        own = [take for take in pool if take.person == person]
        take = own[rng.integers(len(own))]
        measure = {"lively": liveliness, "bent": crouching}.get(chosen)
        if measure is None:
            return take.window(int(rng.integers(len(take.pose) - FRAMES + 1)), FRAMES)
        values = measure(take, FRAMES)
        drawn.append((float(values.max()), take.window(int(values.argmax()), FRAMES)))
    return max(drawn, key=lambda pair: pair[0])[1]


def performed(
    body: BodyModel,
    take: Take,
    betas: np.ndarray,
    rng: np.random.Generator,
    *,
    half_field_deg: float,
    pitch_deg: float,
    roll_deg: float,
    turning_deg_per_s: float,
    fill: float,
) -> Performance:
    """A take before a camera: turned by a random angle about the vertical, the camera pitched and rolled about it.

    The camera moves along with a person who walks (the mean velocity is taken away), and stands so far off that the
    movement takes up `fill` of the picture. Where that is more than one, the head stays inside.
    """
    count = len(take.pose)
    time = np.arange(count) / MOTION_FPS
    yaw = rng.uniform(-np.pi, np.pi) + np.deg2rad(turning_deg_per_s) * (time - time.mean())
    tilt = Rotation.from_euler("z", roll_deg, degrees=True) * Rotation.from_euler(
        "x", pitch_deg, degrees=True
    )
    upright = tilt * Rotation.from_rotvec([np.pi, 0, 0])
    cam_from_world = upright * Rotation.from_euler("y", yaw[:, None])
    pose = take.pose.copy()
    pose[:, 0] = (cam_from_world * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    walked = take.place - take.place.mean(axis=0)
    walked -= np.outer(time - time.mean(), np.polyfit(time, walked, 1)[0] * [1, 0, 1])
    walked = (upright * Rotation.from_euler("y", np.full((count, 1), yaw.mean()))).apply(walked)

    hw = (640, 480) if half_field_deg > 25 or rng.random() < 0.5 else (480, 640)
    focal_px = max(hw) / 2 / np.tan(np.deg2rad(half_field_deg))
    pelvis = body.joint_template[0] + body.joint_shapedirs[0] @ betas
    offset = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.3, 0.3)])
    marks = body.as_named.landmarks(pose, betas, walked - pelvis)
    place = _placed(marks, hw, focal_px, fill, offset)
    K = np.array([[focal_px, 0, hw[1] / 2], [0, focal_px, hw[0] / 2], [0, 0, 1.0]])
    return Performance(
        pose=pose,
        betas=betas,
        translation=walked - pelvis + place,
        pts_s=time,
        camera=Camera(K, hw),
    )


def _placed(
    marks: np.ndarray, hw: tuple[int, int], focal_px: float, fill: float, offset: np.ndarray
) -> np.ndarray:
    """(3,) where landmarks (T, 33, 3) about the origin are put so that their picture takes up `fill` of it.

    `offset` in [-1, 1] shares out the room that is left; where there is none, the top of the picture shows the top of
    the person.
    """
    size = np.array([hw[1], hw[0]], float)
    place = np.array([0.0, 0.0, 3.0])
    for _ in range(12):
        near = max(NEAREST_M, LEAST_DEPTH_M - float(marks[..., 2].min()))
        placed = marks + place
        uv = placed[..., :2] / np.maximum(placed[..., 2:], LEAST_DEPTH_M) * focal_px
        low, high = uv.min(axis=(0, 1)), uv.max(axis=(0, 1))
        place[2] = np.clip(place[2] * ((high - low) / size).max() / fill, near, 12.0)
        room = size - (high - low)
        middle = 0.5 * room * offset
        middle[1] = middle[1] if room[1] > 0 else 0.5 * ((high - low)[1] - 0.94 * size[1])
        place[:2] += (middle - (low + high) / 2) / focal_px * place[2]
    return place
