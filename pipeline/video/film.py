"""Writes frames with their presentation times as an H.264 film."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.error
import cv2
import numpy as np

from pipeline.video.container import plain
from schemas.errors import SourceError

TICK = Fraction(1, 90_000)
"""Presentation times are exact to this many seconds."""


class FilmWriter:
    """A context that writes `path` under a temporary name and renames it when it is complete.

    Every frame of a film has one size; it is cut to even sides, as the codec wants them. Times are shifted so that
    the first frame is shown at 0; they must increase.
    """

    def __init__(self, path: Path, *, crf: int = 20) -> None:
        self._path, self._spool, self._crf = path, path.with_name(f".{path.stem}.part{path.suffix}"), crf
        self._first_s: float | None = None

    def __enter__(self) -> FilmWriter:
        try:
            self._spool.touch()  # the container opens its file late, with the first frame
            self._container = av.open(str(self._spool), "w")
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(
                f"{self._path} cannot be written: {plain(error)}.", remedy="Give another --out folder."
            ) from None
        return self

    def write(self, image: np.ndarray, pts_s: float) -> None:
        """Adds one frame (H, W, 3) uint8 RGB, shown from `pts_s` seconds on."""
        height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        if self._first_s is None:
            self._first_s = pts_s
            self._stream = self._container.add_stream("libx264", rate=30)
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
            self._stream.codec_context.time_base = TICK
            self._stream.codec_context.thread_count = 1
            # With its macroblock tree x264 encodes the same pictures in one of two ways, by chance.
            self._stream.codec_context.options = {
                "preset": "veryfast",
                "crf": str(self._crf),
                "x264-params": "mbtree=0",
            }
        if (self._stream.height, self._stream.width) != (height, width):
            image = cv2.resize(image, (self._stream.width, self._stream.height))
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image[: self._stream.height, : self._stream.width]), format="rgb24"
        )
        frame.pts, frame.time_base = round((pts_s - self._first_s) / TICK), TICK
        self._container.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._first_s is not None:
            self._container.mux(self._stream.encode())
        self._container.close()
        if kind is None and self._first_s is not None:
            os.replace(self._spool, self._path)
        else:
            self._spool.unlink(missing_ok=True)
