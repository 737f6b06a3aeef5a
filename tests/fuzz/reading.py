"""`python -m tests.fuzz.reading FOLDER FIRST STOP`: reads mutants one after the other, a line of JSON each.

Runs in a process of its own, so that a hang or a crash inside a decoder is seen from outside and ends nothing else.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import numpy as np

from pipeline.config import VideoSettings
from pipeline.records import ClipRef
from pipeline.video.decode import decode
from pipeline.video.shots import segments_of
from schemas.errors import HumandepthError
from tests.fuzz.mutants import mutant


def read(path: Path) -> tuple[str, str, int]:
    """(outcome, message, frames): `read`, or the reason of the typed error. Anything else is raised."""
    frames, before_s, before_index = 0, -1.0, -1
    try:
        segments = segments_of(ClipRef(clip_id="mutant", uri=str(path), source_id="mutant"), VideoSettings())
        for segment in segments:
            for frame in decode(path, start_s=segment.start_s, end_s=segment.end_s):
                assert frame.image.dtype == np.uint8
                assert frame.image.ndim == 3
                assert frame.pts_s > before_s, "times increase"
                assert frame.index > before_index, "numbers increase"
                assert np.isfinite(frame.pts_s)
                before_s, before_index, frames = frame.pts_s, frame.index, frames + 1
        assert frames, "success without a frame"
    except HumandepthError as error:
        if not (error.message and error.remedy):
            raise
        return error.reason, error.message, frames
    return "read", "", frames


def main() -> None:
    logging.disable(logging.CRITICAL)
    folder, first, stop = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    clips = [path.read_bytes() for path in sorted(folder.glob("clip-*"))]
    for number in range(first, stop):
        did, data = mutant(clips, number)
        path = folder / f"mutant-{number}.mp4"
        path.write_bytes(data)
        print(json.dumps({"number": number, "did": did, "begins": True}), flush=True)
        begin = time.monotonic()
        outcome, message, frames = read(path)
        path.unlink()
        line = {"number": number, "did": did, "outcome": outcome, "message": message, "frames": frames}
        print(json.dumps(line | {"seconds": round(time.monotonic() - begin, 3)}), flush=True)


if __name__ == "__main__":
    main()
