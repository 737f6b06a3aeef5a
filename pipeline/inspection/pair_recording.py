"""A frame or a pair for the rerun viewer: pictures in their cameras, both bodies, the motion between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from pipeline.geometry.array_types import Bytes, Floats
from pipeline.inspection.rerun_recording import open_recording
from pipeline.inspection.scene import FrameScene, Scene

SHOWN_BASELINE_M = 2.0
"""Colours run from 0 to this, as on the audit's page (cividis)."""
ARROW_SPACING_M = 0.06
IMAGE_PLANE_M = 1.0
"""How far in front of its camera a picture hangs."""
REFERENCE_COLOUR = (0.6, 0.6, 0.6, 1.0)


def write_recording(scene: Scene, panels: list[tuple[str, np.ndarray]], path: Path) -> None:
    """Writes a .rrd file. Raises SettingsError where the optional viewer library is missing.

    `camera/bodies/target` is coloured by the baseline of its vertices (dark 0, bright SHOWN_BASELINE_M and more);
    `camera/motion` holds arrows from where a surface point is in the target to where it is in the reference. Both
    frames share one camera's coordinates: of a camera that moves, its motion is in the arrows too. `panels` are the
    pictures that the PNG shows.
    """
    rerun, stream = open_recording(path)
    try:
        _log_frame(rerun, stream, "camera/target", scene.target)
        colours = None
        if scene.reference is not None and scene.field is not None:
            _log_frame(rerun, stream, "camera/reference", scene.reference)
            colours = baseline_colours(scene)
            _log_body(rerun, stream, "camera/bodies/reference", scene.reference, None)
            shown = spread_vertices(scene.target.surface.vertices)
            stream.log(
                "camera/motion",
                rerun.Arrows3D(
                    origins=scene.target.surface.vertices[shown],
                    vectors=(scene.reference.surface.vertices - scene.target.surface.vertices)[shown],
                    colors=colours[shown],
                ),
                static=True,
            )
        _log_body(rerun, stream, "camera/bodies/target", scene.target, colours)
        for caption, picture in panels:
            stream.log(rerun.new_entity_path(["pictures", caption]), rerun.Image(picture), static=True)
        stream.log("facts", rerun.TextDocument(facts_text(scene)), static=True)
        stream.send_blueprint(_layout([caption for caption, _ in panels], rerun))
    finally:
        stream.flush()
        stream.disconnect()


def baseline_colours(scene: Scene) -> Bytes:
    """(V, 3) uint8: |t| of every vertex of the target, 0 to SHOWN_BASELINE_M."""
    assert scene.field is not None
    share = np.linalg.norm(scene.field.translation, axis=-1) / SHOWN_BASELINE_M
    colours: Floats = matplotlib.colormaps["cividis"](np.clip(share, 0, 1))[:, :3]
    return np.rint(255 * colours).astype(np.uint8)


def spread_vertices(vertices: np.ndarray, spacing_m: float = ARROW_SPACING_M) -> np.ndarray:
    """Numbers of vertices (V, 3), the first in every cube of that side: head and hands hold half of all vertices."""
    _, first = np.unique(np.floor(vertices / spacing_m).astype(np.int64), axis=0, return_index=True)
    return np.sort(first)


def facts_text(scene: Scene) -> str:
    """What the tables say about the frames and the pair, one number a line."""
    lines = []
    for title, frame in (("target", scene.target), ("reference", scene.reference)):
        if frame is not None:
            lines += [f"{title} {frame.name}", *_lines(frame.facts)]
    if scene.reference is not None:
        lines += ["pair", *(_lines(scene.facts) or ["    was not tried when the dataset was made"])]
    return "\n".join(lines)


def _layout(captions: list[str], rerun: Any) -> Any:
    """Bodies and arrows large on the left, pictures and facts on the right."""
    from rerun import blueprint

    pictures = [
        blueprint.Spatial2DView(origin=rerun.new_entity_path(["pictures", caption]), name=caption)
        for caption in captions
    ]
    return blueprint.Blueprint(
        blueprint.Horizontal(
            blueprint.Spatial3DView(origin="camera", name="bodies and motion"),
            blueprint.Vertical(
                blueprint.Grid(*pictures, grid_columns=2),
                blueprint.TextDocumentView(origin="facts", name="facts"),
                row_shares=[3, 1],
            ),
            column_shares=[3, 2],
        ),
        collapse_panels=True,
    )


def _lines(facts: dict[str, Any]) -> list[str]:
    return [
        f"    {name}: {f'{value:.4g}' if isinstance(value, float) else value}"
        for name, value in facts.items()
        if value not in (None, "") and not name.endswith("_id")
    ]


def _log_frame(rerun: Any, stream: Any, place: str, frame: FrameScene) -> None:
    camera = frame.surface.camera
    height, width = camera.hw
    stream.log(
        place,
        rerun.Pinhole(
            image_from_camera=camera.K, resolution=[width, height], image_plane_distance=IMAGE_PLANE_M
        ),
        static=True,
    )
    if frame.row is not None:
        stream.log(
            f"{place}/picture",
            rerun.EncodedImage(contents=frame.row["image"], media_type="image/jpeg"),
            static=True,
        )


def _log_body(rerun: Any, stream: Any, place: str, frame: FrameScene, colours: np.ndarray | None) -> None:
    vertices, faces = frame.surface.vertices, frame.surface.faces
    corner = vertices[faces]
    across = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normals = np.zeros_like(vertices)
    for side in range(3):
        np.add.at(normals, faces[:, side], across)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    stream.log(
        place,
        rerun.Mesh3D(
            vertex_positions=vertices,
            triangle_indices=faces,
            vertex_normals=normals,
            vertex_colors=colours,
            albedo_factor=REFERENCE_COLOUR if colours is None else None,
        ),
        static=True,
    )
