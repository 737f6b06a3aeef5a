"""A frame or a pair as pictures: a PNG with every panel, or a GIF that blinks between target and carried reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.audit.pictures import warped_reference
from pipeline.audit.showcase import pair_panels
from pipeline.inspection.scene import FrameScene, Scene
from pipeline.rendering import Rasterizer, render
from pipeline.video.crops import encode_jpeg
from schemas.conventions import IMAGE_PX, MAP_PX

Panel = tuple[str, np.ndarray]
"""Caption and (MAP_PX, MAP_PX, 3) uint8 picture."""

PANELS_A_ROW = 4
CAPTION_PX = 24
BLINK_MS = 700
JPEG_QUALITY = 90
_GREY = 128


def panels_of(scene: Scene, rasterizer: Rasterizer) -> list[Panel]:
    """Everything there is to see: for a kept pair with its maps, else what is stored of its frames.

    A frame that is no target has no stored depth: its body is rendered from `frames`. A frame whose picture is not
    stored is grey.
    """
    target = _complete(scene.target, rasterizer)
    panels = pair_panels(target, scene.stored, None)
    if scene.target.row is None:
        panels[0] = ("target (no picture is stored)", panels[0][1])
    if scene.reference is not None and scene.stored is None:
        reference = _complete(scene.reference, rasterizer)
        named = ("reference", "body on the reference", "base depth of the reference")
        panels += [(name, picture) for name, (_, picture) in zip(named, pair_panels(reference, None, None))]
    return panels


def sheet(panels: Sequence[Panel]) -> np.ndarray:
    """(H, W, 3) uint8: panels in rows, each over its caption."""
    tiles = [_captioned(caption, picture) for caption, picture in panels]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % min(PANELS_A_ROW, len(tiles)))
    rows = [np.hstack(tiles[at : at + PANELS_A_ROW]) for at in range(0, len(tiles), PANELS_A_ROW)]
    return np.vstack(rows)


def write_png(panels: Sequence[Panel], path: Path) -> None:
    """The sheet of panels."""
    _, data = cv2.imencode(".png", np.ascontiguousarray(sheet(panels)[..., ::-1]))
    path.write_bytes(data.tobytes())


def blink_frames(scene: Scene, panels: Sequence[Panel]) -> list[Panel]:
    """What a GIF shows in turn: of a kept pair the target and the reference carried to it, where nothing should jump.

    Of another pair both pictures, of a single frame the picture and the body on it.
    """
    pictures = dict(panels)
    target = panels[0]
    if scene.stored is not None and scene.target.row is not None:
        carried, error = warped_reference(scene.target.row, scene.stored)
        return [target, (f"reference carried here, {error:.3f}", carried)]
    if scene.reference is not None:
        return [target, ("reference", pictures["reference"])]
    return [target, ("body on the target", pictures["body on the target"])]


def write_gif(frames: Sequence[Panel], path: Path) -> None:
    """An endless GIF."""
    from PIL import Image

    first, *rest = [
        Image.fromarray(_captioned(caption, cv2.resize(picture, (IMAGE_PX, IMAGE_PX)))).quantize(256)
        for caption, picture in frames
    ]
    first.save(path, save_all=True, append_images=rest, duration=BLINK_MS, loop=0)


def _complete(frame: FrameScene, rasterizer: Rasterizer) -> dict[str, Any]:
    """A row of `samples` as far as pictures need it."""
    if frame.row is not None and "base_depth" in frame.row:
        return frame.row
    grey = np.full((IMAGE_PX, IMAGE_PX, 3), _GREY, np.uint8)
    surface = frame.surface
    depths = {
        name: render(rasterizer, surface.vertices, surface.faces, surface.camera.resized((side, side))).depth
        for name, side in (("input_depth", IMAGE_PX), ("base_depth", MAP_PX))
    }
    image = frame.row["image"] if frame.row is not None else encode_jpeg(grey, JPEG_QUALITY)
    return {"image": image, "K": surface.camera.K, **depths}


def _captioned(caption: str, picture: np.ndarray) -> np.ndarray:
    strip = np.full((CAPTION_PX, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, caption, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([picture, strip])
