"""A few frames of every track, side by side, a row per track."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from pipeline.inspection.overlay import OverlayPainter, TrackedPerson, figures_of

TILE_PX = (240, 360)
"""Width and height of a tile."""
CAPTION_PX = 34
TILE_MARGIN = 1.25
"""Size of the shown part over the person's box."""


def spread_positions(count: int, wanted: int) -> list[int]:
    """Up to `wanted` positions of a track of `count` frames, evenly spaced, away from its ends."""
    if count <= wanted:
        return list(range(count))
    return [int((at + 0.5) * count / wanted) for at in range(wanted)]


@dataclass(slots=True, eq=False)
class ContactSheet:
    """Collects tiles while frames pass, and lays them out at the end."""

    painter: OverlayPainter
    """Draws at the frames' own size."""
    per_track: int = 8
    _rows: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def wanted(self, person: TrackedPerson) -> set[int]:
        """Positions of a track that become tiles."""
        return set(spread_positions(len(person.seen), self.per_track))

    def add(self, image: np.ndarray, person: TrackedPerson, at: int) -> None:
        """Adds the tile of one person in one frame (H, W, 3)."""
        left, top, right, bottom = person.track.box_px[at]
        width, height = TILE_PX
        tall = TILE_MARGIN * max(bottom - top, (right - left) * height / width)
        scale = height / tall
        centre = np.array([(left + right) / 2, (top + bottom) / 2])
        corner = centre - np.array([tall * width / height, tall]) / 2
        index_map = np.array([[scale, 0.0, -corner[0] * scale], [0.0, scale, -corner[1] * scale]])
        painted = self.painter.painted(image, [(person, at)], with_labels=False)  # the caption says it
        index_map[:, 2] += (scale - 1) / 2
        tile = cv2.warpAffine(
            painted, index_map, TILE_PX, flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        )
        self._rows.setdefault(person.track.track_id, []).append(_captioned(tile, person, at))

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, one row per track; a small white picture where nobody was tracked."""
        width = TILE_PX[0] * self.per_track
        parts = []
        for track_id, tiles in self._rows.items():
            heading = np.full((24, width, 3), 255, np.uint8)
            cv2.putText(heading, track_id, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
            row = np.full((tiles[0].shape[0], width, 3), 255, np.uint8)
            for at, tile in enumerate(tiles):
                row[:, at * TILE_PX[0] : (at + 1) * TILE_PX[0]] = tile
            parts += [heading, row]
        return np.concatenate(parts) if parts else np.full((64, 256, 3), 255, np.uint8)


def _captioned(tile: np.ndarray, person: TrackedPerson, at: int) -> np.ndarray:
    track = person.track
    caption = np.full((CAPTION_PX, tile.shape[1], 3), 255, np.uint8)
    reason = track.reason[at]
    lines = (
        (
            f"#{track.frame_index[at]} {track.pts_s[at]:.2f}s {reason or 'kept'}",
            (160, 0, 0) if reason else (0, 90, 0),
        ),
        (figures_of(track, at), (60, 60, 60)),
    )
    for number, (text, colour) in enumerate(lines):
        cv2.putText(
            caption, text, (4, 13 + 15 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA
        )
    return np.concatenate([tile, caption])
