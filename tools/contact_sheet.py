"""Twelve studio clips as one small picture: docs/studio.jpg.

python -m pipeline studio film --out films --clips 12 --seed 2000 --set duration_s=2.5
python tools/contact_sheet.py films docs/studio.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

COLUMNS, SIDE_PX, AT = 6, 200, 0.4
"""Clips side by side, pixels of each, and the share of the clip that is shown."""


def main(folder: Path, out: Path) -> int:
    """Writes the sheet."""
    pictures = [_frame(path) for path in sorted(folder.glob("*.mp4"))[: 2 * COLUMNS]]
    rows = [np.hstack(pictures[first : first + COLUMNS]) for first in range(0, len(pictures), COLUMNS)]
    cv2.imwrite(str(out), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 82])
    return 0


def _frame(path: Path) -> np.ndarray:
    film = cv2.VideoCapture(str(path))
    film.set(cv2.CAP_PROP_POS_FRAMES, int(AT * film.get(cv2.CAP_PROP_FRAME_COUNT)))
    is_read, image = film.read()
    if not is_read:
        raise SystemExit(f"{path} cannot be read")
    return cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
