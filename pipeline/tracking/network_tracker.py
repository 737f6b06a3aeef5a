"""The `network` tracker: people as the landmark tracker follows them, bodies by TrackNet, one picture at a time."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.records import Frame
from pipeline.tracking.blazepose import Landmarks
from pipeline.tracking.fit import FittedTrack
from pipeline.tracking.network_file import NetworkFile
from pipeline.tracking.people import Keep, Observations, PersonSeen, Portrait, observations_of
from pipeline.tracking.silhouette import SILHOUETTE_THRESHOLD, Silhouettes, silhouettes_of
from pipeline.tracking.tracker import LandmarkTracker, person_boxes
from pipeline.video.crops import crop_image
from schemas.conventions import JOINT_COUNT, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE
from schemas.errors import SettingsError

BATCH = 32
"""Frames the network looks at together."""
MIN_SCALE = 0.05
"""A body twenty times larger than its crop is no body; the gates then rule the frame out."""


class NetworkTracker(LandmarkTracker):
    """TrackNet on the boxes of people whom the landmark network follows.

    A frame's crop is the square of `crop_margin` times its own box, as in training. The network's s, tx, ty are kept
    and the depth follows from the film's lens (method, section 1). The shape is the mean over the track: people do
    not change theirs. Landmarks and silhouettes judge the bodies; they do not move them.
    """

    @cached_property
    def _network(self) -> NetworkFile:
        file = self._settings.tracking.network
        if not file:
            raise SettingsError(
                "tracking.tracker=network needs a network.",
                remedy="Name one: --set tracking.network=tracknet.onnx.",
            )
        network, space = NetworkFile(Path(file)), self._body.shape_space
        if network.shape_space != space:
            raise SettingsError(
                f"{file} gives shapes of {network.shape_space!r}, the body in use takes those of {space!r}.",
                remedy="Give that body as body.file, or another network.",
            )
        return network

    @property
    def _keep(self) -> Keep | None:
        network = self._network
        return lambda frame, landmarks: portrait_of(frame, landmarks, network.image_px, network.crop_margin)

    def _bodies(self, seen: Observations, silhouettes: Silhouettes, camera: Camera) -> FittedTrack:
        images = np.stack([portrait.image for portrait in seen.portraits])
        vectors = np.concatenate(
            [self._network.vectors(images[first : first + BATCH]) for first in range(0, len(images), BATCH)]
        )
        crops = [camera.cropped(portrait.crop_px, self._network.image_px) for portrait in seen.portraits]
        weak = vectors[:, VECTOR_CAMERA].copy()
        weak[:, 0] = np.maximum(weak[:, 0], MIN_SCALE)
        return FittedTrack(
            pose=vectors[:, VECTOR_POSE].reshape(-1, JOINT_COUNT, 3),
            betas=vectors[:, VECTOR_BETAS].mean(axis=0),
            translation=np.stack([translation_from_weak_perspective(*pair) for pair in zip(weak, crops)]),
        )


def portrait_of(frame: Frame, landmarks: Landmarks, image_px: int, crop_margin: float) -> Portrait:
    """The square crop around one person's box in one frame."""
    person = PersonSeen(region=landmarks.next_region)
    person.record(frame, landmarks)
    seen = observations_of(person, (frame.image.shape[0], frame.image.shape[1]))
    (box,) = person_boxes(seen, silhouettes_of(seen, SILHOUETTE_THRESHOLD, distances=False))
    crop = np.array([*(box[:2] + box[2:]) / 2, crop_margin * (box[2:] - box[:2]).max()])
    return Portrait(image=crop_image(frame.image, crop, image_px), crop_px=crop)
