"""Damaged copies of real clips: every mutant is made from its number alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_HEADERS = (
    *(b"stsz", b"stts", b"mvhd", b"tkhd", b"avc1", b"ctts", b"stco", b"mdhd"),
    *(b"elst", b"trun", b"tfhd", b"avih", b"strh", b"idx1", b"00dc"),
    *(
        b"\x00\x00\x01\xba",
        b"\x00\x00\x01\xb3",
        b"\x15\x49\xa9\x66",
        b"\x16\x54\xae\x6b",
        b"\x1f\x43\xb6\x75",
    ),
)
"""Where numbers stand that a reader believes: boxes of MP4, chunks of AVI, headers of MPEG, elements of Matroska."""
KINDS = ("flip", "cut", "remove", "insert", "zero", "swap", "header", "splice")


def mutant(clips: Sequence[bytes], number: int) -> tuple[str, bytes]:
    """What was done, and the bytes of the mutant of that number, which are never those of the clip."""
    rng = np.random.default_rng([6666, number])
    clip = clips[number % len(clips)]
    did, made = _mutated(clip, clips, rng)
    while made == clip:  # zeros over zeros, for example
        did, made = _mutated(clip, clips, rng)
    return did, made


def _mutated(source: bytes, clips: Sequence[bytes], rng: np.random.Generator) -> tuple[str, bytes]:
    clip = bytearray(source)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    at = int(rng.integers(len(clip)))
    length = int(rng.integers(1, max(2, len(clip) // 8)))
    noise = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
    if kind == "flip":
        for place in rng.integers(0, len(clip), int(rng.integers(1, 200))):
            clip[int(place)] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del clip[at:]
    elif kind == "remove":
        del clip[at : at + length]
    elif kind == "insert":
        clip[at:at] = noise
    elif kind == "zero":
        clip[at : at + length] = bytes(len(clip[at : at + length]))
    elif kind == "swap":
        other = int(rng.integers(len(clip)))
        clip[at : at + length], clip[other : other + length] = (
            clip[other : other + length],
            clip[at : at + length],
        )
    elif kind == "header":  # numbers that lie: sizes, counts, rates
        names = [name for name in _HEADERS if name in clip]
        if names:
            at = clip.find(names[int(rng.integers(len(names)))])
        width = int(rng.integers(1, 64))
        clip[at + 4 : at + 4 + width] = noise[:width].ljust(width, b"\xff")
    else:
        other = clips[int(rng.integers(len(clips)))]
        clip[at:] = other[int(rng.integers(len(other))) :]
    return f"{kind} at {at} of {len(source)} bytes", bytes(clip)
