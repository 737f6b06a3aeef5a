"""What reading a film takes beyond plain decoding, told from its first pictures."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from av.video.frame import VideoFrame

from pipeline.video.colour import coding_of

LOOKED_AT = 4
"""Pictures of the beginning that are asked: discs often begin with a few progressive ones."""

SEPARATOR = "; "
DEINTERLACED = "interlaced, made whole by bwdif"


def film_notes(pictures: Iterable[VideoFrame]) -> str:
    """Notes for `VideoFacts.notes`, joined by SEPARATOR; empty for progressive BT.709 or BT.601 video."""
    looked_at = list(itertools.islice(pictures, LOOKED_AT))
    notes = [coding_of(picture).note for picture in looked_at]
    notes += [DEINTERLACED for picture in looked_at if picture.interlaced_frame]
    return SEPARATOR.join(note for note in dict.fromkeys(notes) if note)
