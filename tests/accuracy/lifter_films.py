"""Films that the lifter learns from: movements before random cameras, and what the landmark network sees of them.

Film n is the same whenever it is made: everything is drawn from the seed [7, n]. Reported people are never filmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.config import TrackingSettings
from pipeline.tracking.people import LandmarkModels, follow_people
from tests.accuracy.filming import Look, filmed
from tests.accuracy.motions import REPORTED, Take, made_motions, motion_capture
from tests.accuracy.scenes import performed
from tests.support.rendered_people import Performance

FRAMES = 64
PICTURE_SHARE = 0.7
"""Films are this share of the test bed's in size: half the time, and people still fill the network's 256 px."""
PERSON_SHARES = {"005": 0.4, "007": 0.22, "03": 0.13, "jumping": 0.13, "running": 0.04, "made": 0.08}
"""How often each learning person is filmed; `made` are the studio's own movements."""
FIRST_MADE, MADE_TAKES = 1000, 60
TWIN_JOINTS = np.array([0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Film:
    """What was seen of one performance, and the truth. T frames at 30 a second."""

    person: str
    focal_px: float
    xy_px: np.ndarray
    """(T, 33, 2) from the principal point."""
    visibility: np.ndarray
    """(T, 33), times presence."""
    world_m: np.ndarray
    """(T, 33, 3)."""
    marks_m: np.ndarray
    """(T, 33, 3) true landmarks in the camera."""
    betas: np.ndarray
    """(10,)."""


def learning_takes(mocap: Path) -> list[Take]:
    """Takes of the people that the lifter may learn from, and made ones by `made`."""
    made = [
        replace(take, person="made") for take in made_motions(MADE_TAKES, first=FIRST_MADE, frames=3 * FRAMES)
    ]
    real = [take for take in motion_capture(mocap) if not take.is_reported]
    assert not {take.person for take in real} & set(REPORTED)
    return real + made


def film(
    number: int, takes: Sequence[Take], body: BodyModel, models: LandmarkModels, settings: TrackingSettings
) -> Film | None:
    """Film `number`, None where nobody is seen for half of it."""
    rng = np.random.default_rng([7, number])
    performance, person = performance_of(rng, takes, body)
    hw = performance.camera.hw
    look = Look.of(rng, body, hw, backlit=bool(rng.random() < 0.12))
    people = follow_people(filmed(body, performance, look, rng), models, settings)
    if not people or len(longest := max(people, key=len)) < FRAMES // 2:
        return None
    at = longest.frame_index
    marks = body.as_named.landmarks(performance.pose[at], performance.betas, performance.translation[at])
    return Film(
        person=person,
        focal_px=float(performance.camera.K[0, 0]),
        xy_px=longest.xy_px - performance.camera.K[:2, 2],
        visibility=longest.visibility * longest.presence,
        world_m=longest.world_m,
        marks_m=marks,
        betas=performance.betas,
    )


def performance_of(
    rng: np.random.Generator, takes: Sequence[Take], body: BodyModel
) -> tuple[Performance, str]:
    """A movement before a camera, and whose it is."""
    take = drawn_take(rng, takes)
    performance = performed(
        body,
        take,
        0.8 * np.clip(rng.standard_normal(10), -2, 2),
        rng,
        half_field_deg=float(np.exp(rng.uniform(np.log(11), np.log(50)))),
        pitch_deg=float(rng.choice([rng.normal(4, 8), rng.uniform(-30, 32)])),
        roll_deg=float(rng.choice([rng.normal(0, 3), rng.uniform(-30, 30)])),
        turning_deg_per_s=float(rng.choice([0.0, rng.uniform(-200, 200)], p=[0.7, 0.3])),
        fill=float(rng.choice([rng.uniform(0.55, 0.95), rng.uniform(1.0, 1.5)], p=[0.85, 0.15])),
    )
    height, width = performance.camera.hw
    hw = (round(PICTURE_SHARE * height), round(PICTURE_SHARE * width))
    performance = replace(performance, camera=performance.camera.resized(hw))
    return performance, take.person


def drawn_take(rng: np.random.Generator, takes: Sequence[Take], frames: int = FRAMES) -> Take:
    """A window of `frames` frames of a person drawn by PERSON_SHARES, mirrored half of the time.

    Shorter takes are gone through to and fro.
    """
    names = list(PERSON_SHARES)
    present = {take.person for take in takes}
    chance = np.array([PERSON_SHARES[name] if name in present else 0.0 for name in names])
    person = names[rng.choice(len(names), p=chance / chance.sum())]
    own = [take for take in takes if take.person == person]
    length = np.array([min(len(take.pose), 600) for take in own], float)
    take = own[rng.choice(len(own), p=length / length.sum())]
    start = int(rng.integers(max(1, len(take.pose) - frames + 1)))
    at = start + np.arange(frames)
    last = max(len(take.pose) - 1, 1)
    at = np.where(at % (2 * last) <= last, at % (2 * last), 2 * last - at % (2 * last))
    at = np.minimum(at, len(take.pose) - 1)
    pose, place = take.pose[at], take.place[at]
    if rng.random() < 0.5:
        pose, place = pose[:, TWIN_JOINTS] * [1.0, -1.0, -1.0], place * [-1.0, 1.0, 1.0]
    return Take(name=take.name, person=person, pose=pose, place=place)


def save(path: Path, made: Film) -> None:
    """Writes a film's landmarks and truth."""
    arrays = ("xy_px", "visibility", "world_m", "marks_m", "betas")
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(
        unfinished,
        person=made.person,
        focal_px=made.focal_px,
        **{name: np.asarray(getattr(made, name), np.float32) for name in arrays},
    )
    unfinished.rename(path)


def load(folder: Path) -> list[Film]:
    """The films in a folder, in order."""
    films = []
    for path in sorted(folder.glob("film-*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files}
        values["person"], values["focal_px"] = str(values["person"]), float(values["focal_px"])
        films.append(Film(**values))
    return films
