"""A recording for the rerun viewer: pictures, landmarks and meshes on the clip's own clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.geometry.camera import Camera
from pipeline.inspection.overlay import TrackedPerson, full_image_camera
from pipeline.method.rendered_frames import body_from_vector
from pipeline.video.crops import encode_jpeg
from schemas.conventions import IMAGE_PX
from schemas.errors import SettingsError

JPEG_QUALITY = 80


def open_recording(path: Path) -> tuple[Any, Any]:
    """The viewer's library, and a stream into a new .rrd file whose `camera` has our axes.

    Raises SettingsError where the library is missing.
    """
    try:
        import rerun
    except ModuleNotFoundError:
        raise SettingsError(
            "a recording for the rerun viewer needs the package rerun-sdk, which is not installed.",
            remedy="Run: pip install 'humandepth[rerun]'",
        ) from None
    stream = rerun.RecordingStream("humandepth")
    stream.save(path)
    stream.log("camera", rerun.ViewCoordinates.RDF, static=True)
    return rerun, stream


class RerunRecording:
    """Writes a .rrd file. Raises SettingsError where the optional viewer library is missing."""

    def __init__(self, path: Path, body: BodyModel) -> None:
        self._rerun, self._stream = open_recording(path)
        self._body = body

    def add(self, image: np.ndarray, pts_s: float, people: list[tuple[TrackedPerson, int]]) -> None:
        """One frame (H, W, 3) and everyone in it, at the clip's time."""
        rerun, stream = self._rerun, self._stream
        stream.set_time("clip", duration=pts_s)
        stream.log("camera/image", rerun.Clear(recursive=True))
        stream.log("camera/people", rerun.Clear(recursive=True))
        stream.log(
            "camera/image",
            rerun.EncodedImage(contents=encode_jpeg(image, JPEG_QUALITY), media_type="image/jpeg"),
        )
        for person, at in people:
            self._add_person(person, at, (image.shape[0], image.shape[1]))

    def _add_person(self, person: TrackedPerson, at: int, image_hw: tuple[int, int]) -> None:
        rerun, stream, track = self._rerun, self._stream, person.track
        name = f"p{track.person_index:02d}"
        camera = full_image_camera(track, at, image_hw)
        body = body_from_vector(track.vector[at], Camera(track.K[at], (IMAGE_PX, IMAGE_PX)), self._body)
        stream.log(
            "camera/image", rerun.Pinhole(image_from_camera=camera.K, resolution=[image_hw[1], image_hw[0]])
        )
        stream.log(
            f"camera/image/{name}",
            rerun.Points2D(person.seen.xy_px[at], colors=person.colour, labels=None, radii=2.0),
        )
        stream.log(
            f"camera/people/{name}",
            rerun.Mesh3D(
                vertex_positions=body.vertices,
                triangle_indices=self._body.faces,
                albedo_factor=[*(np.array(person.colour) / 255), 1.0],
            ),
        )
        quality = track.quality
        for figure in ("reprojection_error", "silhouette_iou", "acceleration_mm", "detector_score"):
            stream.log(f"quality/{name}/{figure}", rerun.Scalars(float(getattr(quality, figure)[at])))
        if track.reason[at]:
            stream.log(f"gates/{name}", rerun.TextLog(track.reason[at]))

    def close(self) -> None:
        """Writes what is left."""
        self._stream.flush()
        self._stream.disconnect()
