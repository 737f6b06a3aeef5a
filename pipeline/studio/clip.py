"""A studio clip: a function of its seed and settings. Pictures for people and networks, geometry for the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.geometry.camera import Camera
from pipeline.geometry.rigid import rotation_from_rotvec, rotvec_from_rotation
from pipeline.studio.filming import Film, developed
from pipeline.studio.performance import Script
from pipeline.studio.recorded_motion import RecordedScript
from pipeline.studio.settings import StudioSettings
from pipeline.studio.stage import Stage
from pipeline.studio.wardrobe import LAG_S, Actor, Sliding
from schemas.documents import abbreviated, json_object, whole_number
from schemas.errors import DatasetError, SettingsError
from schemas.settings import as_dict, from_dict

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instant:
    """The person at one time, in the coordinates of the camera at that time."""

    surface: np.ndarray
    """(V', 3) the dressed surface, metres."""
    body: np.ndarray
    """(V, 3) the naked body of the model, metres."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyPose:
    """The naked body as the model's numbers, in the coordinates of the camera at that time."""

    pose: np.ndarray
    """(24, 3) axis-angles."""
    betas: np.ndarray
    """(10,)."""
    translation: np.ndarray
    """(3,) metres."""


class StudioClip:
    """One person's clip. The same seed, settings and backgrounds give the same numbers."""

    def __init__(
        self,
        seed: int,
        settings: StudioSettings,
        backgrounds: list[Path] | None = None,
        script: RecordedScript | None = None,
    ) -> None:
        self.seed, self.settings = seed, settings
        streams = [np.random.default_rng([seed, part]) for part in range(4)]
        self.stage = Stage(settings, streams[0], backgrounds or [], np.random.default_rng([seed, 5]))
        self.script = script or Script(streams[1])
        self.is_loose = bool(streams[2].uniform() < settings.loose_share)
        self._actor_stream = streams[2]

    @cached_property
    def actor(self) -> Actor:
        """The person."""
        return Actor(
            BodyModel.open_body(),
            self._actor_stream,
            subdivisions=self.settings.subdivisions,
            is_loose=self.is_loose,
        )

    @cached_property
    def _sliding(self) -> Sliding | None:
        """From a stream of its own, so that nothing else about the person changes with it."""
        if self.settings.slide_m == 0:
            return None
        return Sliding(self.actor.mesh, np.random.default_rng([self.seed, 4]), self.settings.slide_m)

    @property
    def clip_id(self) -> str:
        """Part of file names."""
        return f"studio-{self.seed:06d}"

    @property
    def camera(self) -> Camera:
        """The full image's camera."""
        return self.stage.camera

    @property
    def times_s(self) -> np.ndarray:
        """(T,) when each frame is taken."""
        return np.arange(round(self.settings.duration_s * self.settings.fps)) / self.settings.fps

    def at(self, time_s: float) -> Instant:
        """The person at a time: the lowest point of the body stands on the floor."""
        performance = self.script.at(np.array([time_s, time_s - LAG_S]))
        pose, before = performance.pose
        actor, stage = self.actor, self.stage
        body = actor.body_vertices(pose)
        place = self._place(body, time_s)
        slide = self._sliding.at(time_s) if self._sliding is not None else None
        surface = actor.surface(pose, before if self.is_loose else None, slide)
        return Instant(
            surface=stage.cam_from_stage(surface + place, time_s),
            body=stage.cam_from_stage(body + place, time_s),
        )

    def _place(self, body: np.ndarray, time_s: float) -> np.ndarray:
        """(3,) metres that bring a posed body (V, 3) to where it stands on the stage."""
        x, z = self.script.at(np.array([time_s])).ground_m[0]
        return np.array([x, self.stage.eye_height_m - body[:, 1].max(), self.stage.distance_m + z])

    def body_at(self, time_s: float) -> BodyPose:
        """The numbers of which `at(time_s).body` are the vertices.

        With the camera's turn C (of directions; c of points), the place p on the stage and the body's pelvis J:
        c(R (v - J) + J + p) = C R (v - J) + J + [c(J + p) - J].
        """
        pose = self.script.at(np.array([time_s])).pose[0]
        turn, actor = self.stage.turn(time_s), self.actor
        pelvis = actor.body.joint_template[0] + actor.body.joint_shapedirs[0] @ actor.betas
        turned = pose.copy()
        turned[0] = rotvec_from_rotation(turn @ rotation_from_rotvec(pose[0]))
        place = self._place(actor.body_vertices(pose), time_s)
        translation = self.stage.cam_from_stage(pelvis + place, time_s) - pelvis
        return BodyPose(pose=turned, betas=actor.betas, translation=translation)

    def pictures(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 of every frame, in order."""
        film, settings = Film(self.actor, self.stage), self.settings
        noise = np.random.default_rng([self.seed, 3])
        for time_s in self.times_s:
            shutter = np.arange(settings.blur_samples) / settings.blur_samples * 0.5 / settings.fps
            light = np.mean(
                [
                    film.exposed(self.at(instant_s).surface, instant_s, settings.supersampling)
                    for instant_s in time_s + shutter - shutter.mean()
                ],
                axis=0,
            )
            yield developed(light, noise, settings.noise)

    def write(self, folder: Path) -> Path:
        """Films the clip into FOLDER/<clip_id>.mp4 and notes beside it what it was made from."""
        from pipeline.video.film import FilmWriter  # its codec is not needed to know the truth

        path = folder / f"{self.clip_id}.mp4"
        with FilmWriter(path, crf=self.settings.crf) as film:
            for time_s, picture in zip(self.times_s, self.pictures()):
                film.write(picture, float(time_s))
        facts = {
            "format": "humandepth-studio",
            "format_version": FORMAT_VERSION,
            "seed": self.seed,
            "settings": as_dict(self.settings),
            "focal_px": float(self.camera.K[0, 0]),
            "action": self.script.action,
            "is_loose": self.is_loose,
        }
        if isinstance(self.script, RecordedScript):
            facts["motion"] = self.script.as_facts()
        path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
        return path

    @classmethod
    def load(cls, facts_path: Path) -> StudioClip:
        """The clip again, from what was noted beside its film. Its pictures may differ: backgrounds are not noted."""
        try:
            facts = json_object(facts_path.read_bytes())
            if facts["format"] != "humandepth-studio" or facts["format_version"] != FORMAT_VERSION:
                raise ValueError(
                    f"format {abbreviated(facts['format'])} version {abbreviated(facts['format_version'])}"
                )
            script = RecordedScript.from_facts(facts["motion"]) if "motion" in facts else None
            seed = whole_number(facts["seed"], "seed")
            return cls(seed, from_dict(StudioSettings, facts["settings"]), script=script)
        except (OSError, ValueError, KeyError, TypeError, SettingsError) as error:
            raise DatasetError(
                f"{facts_path} does not describe a studio clip: {error}.",
                remedy="Give the folder that `python -m pipeline studio film` made.",
            ) from error
