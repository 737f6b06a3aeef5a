"""The true rate of film whose frames repeat or blend those of a slower film, told from its pictures.

A 24 fps film stored at 60 fps shows each picture two or three times, or mixes neighbours. Bodies then seem to stand and
jump. Both leave a regular trace where something moves, whatever the film shows:

* repeats: the change from the frame before, d_i = |f_i - f_(i-1)|, is nothing for all frames of a
  picture but its first;
* blends: between two pictures film changes in a straight line, so its bend s_i = |f_(i-1) - 2 f_i + f_(i+1)| is nothing
  except around the pictures themselves. With r pictures a frame and x_i = r (i - phase), s_i is proportional to
  w_i = max(0, 1 - |x_i - round(x_i)| / r). Blends of two or more frames a picture can be told (r <= 1/2).

Differences count above NOISE grey levels, in grey pictures of PICTURE_PX, where camera noise and coding leave less. A
film at its true rate shows neither trace: all of its frames change and bend alike. Still passages tell nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.records import Frame
from pipeline.video.rhythm import RATE_STEP, fitted, liveliest, thinned

PICTURE_PX, NOISE = 96, 3.0
MOTION = 0.005
"""Mean change in grey levels above NOISE that counts as motion: a person a tenth of the picture high who walks."""
SLOWEST_FPS = 5.0
MIN_PICTURES = 8
"""Pictures and frames between them that a shot must show in motion before it is judged."""

CLEAR_MOTION = 0.05
"""Irregular repeats are only spoken of where new pictures change so much."""

_CORRELATION = 0.7
_AGREEMENT = 0.95
"""Share of moving frames that a regular rhythm must explain."""
_REPEATED, _FRESH = 0.1, 0.3
"""Below and above this share of the largest change around it a frame is a repeat or a new picture."""
_SOME_REPEATS = 0.1
_STRAIGHT, _MOSTLY_STRAIGHT, _BENT = 0.1, 0.25, 0.4
"""Median and 9th decile of the bend of blends, and median of that of pictures, as shares of the largest around them;
encoders that average frames at very low bit rates reach .01 and .35."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How a shot is to be sampled."""

    sample_fps: float | None
    """Its true rate; None where it has no regular one, or is at its true rate."""
    start_s: float = 0.0
    """A tick of that rate: the first frame at or after each tick is a picture, or next to one."""
    note: str = ""


AS_IT_IS = Cadence(sample_fps=None)


class Motion:
    """What changes from frame to frame, noted as frames pass; three small pictures are held."""

    def __init__(self) -> None:
        self.pts_s, self.change, self.bend = array("d"), array("d"), array("d")

    def watching(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames."""
        before: list[np.ndarray] = []
        for frame in frames:
            grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
            shrink = PICTURE_PX / max(grey.shape)
            size = tuple(max(1, round(side * shrink)) for side in grey.shape[::-1])
            before = [
                *before[-2:],
                cv2.resize(grey, size, interpolation=cv2.INTER_AREA) if shrink < 1 else grey,
            ]
            self.pts_s.append(frame.pts_s)
            self.change.append(_excess(before[-1] - before[-2]) if len(before) > 1 else 0.0)
            self.bend.append(0.0)
            if len(before) > 2:
                self.bend[-2] = _excess(before[-1] - 2 * before[-2] + before[-3])
            yield frame

    def between(self, start_s: float, stop_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(times, change, bend) of the frames in [start_s, stop_s); what compares across their ends is 0."""
        pts_s = np.frombuffer(self.pts_s)
        first, after = np.searchsorted(pts_s, [start_s, stop_s])
        change, bend = np.array(self.change[first:after]), np.array(self.bend[first:after])
        change[:1], bend[:1], bend[-1:] = 0.0, 0.0, 0.0
        return pts_s[first:after].copy(), change, bend


def cadence_of(pts_s: np.ndarray, change: np.ndarray, bend: np.ndarray) -> Cadence:
    """How a shot with frames at these times (T,) is to be sampled, from the `Motion` between them."""
    if len(pts_s) < 2 * MIN_PICTURES:
        return AS_IT_IS
    fps = 1.0 / float(np.median(np.diff(pts_s)))
    place = (pts_s - pts_s[0]) * fps
    reach = int(np.clip(np.ceil(fps / SLOWEST_FPS / 2), 3, 16))
    for rate_of, words in ((_rate_of_repeats, "repeated"), (_rate_of_blends, "blended")):
        found = rate_of(place, change, bend, reach)
        if found is not None and found[0] * fps >= SLOWEST_FPS:
            rate, tick = found
            note = f"{fps:.4g} fps with {words} frames, sampled at its true {rate * fps:.4g} fps"
            return Cadence(sample_fps=rate * fps, start_s=float(pts_s[0]) + tick / fps, note=note)
    return _irregular(change, fps, reach)


def _rate_of_repeats(
    place: np.ndarray, change: np.ndarray, bend: np.ndarray, reach: int
) -> tuple[float, float] | None:
    """(pictures a frame, place of a tick) of frames at places (T,) in frames; None without a regular rhythm."""
    fresh, told, moving = _fresh_frames(change, reach)
    if min(np.count_nonzero(told & fresh), np.count_nonzero(told & ~fresh)) < MIN_PICTURES:
        return None
    before = np.append(place[0] - 1.0, place[:-1])

    def fit(rate: float, offsets: np.ndarray, part: slice) -> np.ndarray:
        at = thinned(told, part)
        ticks = np.floor(_pictures(place[at], rate, offsets))
        return ((ticks > np.floor(_pictures(before[at], rate, offsets))) == fresh[at]).mean(axis=-1)

    span = liveliest(told)
    rate, offset, agreement = fitted(fit, np.array([fresh[span][told[span]].mean()]), span, len(place))
    if agreement * told.sum() / moving.sum() < _AGREEMENT:
        return None
    return rate, offset / rate


def _rate_of_blends(
    place: np.ndarray, change: np.ndarray, bend: np.ndarray, reach: int
) -> tuple[float, float] | None:
    """The same for blends: a tick lies a little less than half a frame before a picture."""
    largest = _largest_around(bend, reach)
    share = bend / np.maximum(largest, 1e-12)
    moving = (largest > MOTION) & (_largest_around(change, reach) > MOTION)
    moving[[0, -1]] = False
    if np.count_nonzero(moving & (share < _STRAIGHT)) < MIN_PICTURES:
        return None

    def fit(rate: float, offsets: np.ndarray, part: slice) -> np.ndarray:
        at = thinned(moving, part)
        return _correlation(_bend(_pictures(place[at], rate, offsets), rate), share[at])

    span = liveliest(moving)
    length = span.stop - span.start
    rates = np.arange(1 / reach, 0.5 + 1e-9, RATE_STEP / length)
    rate, offset, agreement = fitted(fit, rates, span, len(place))
    expected = _bend(_pictures(place, rate, np.array([offset])), rate)[0]
    straight, bent = share[moving & (expected < 0.05)], share[moving & (expected > 0.6)]
    if (
        rate > 0.52
        or agreement < _CORRELATION
        or min(len(straight), len(bent)) < MIN_PICTURES
        or np.median(straight) > _STRAIGHT
        or np.quantile(straight, 0.9) > _MOSTLY_STRAIGHT
        or np.median(bent) < _BENT
    ):
        return None
    return rate, offset / rate - 0.4


def _irregular(change: np.ndarray, fps: float, reach: int) -> Cadence:
    fresh, told, _ = _fresh_frames(change, reach)
    repeats = np.count_nonzero(told & ~fresh)
    if (
        repeats < MIN_PICTURES
        or repeats < _SOME_REPEATS * told.sum()
        or np.median(change[told & fresh]) < CLEAR_MOTION
    ):
        return AS_IT_IS
    share = repeats / np.count_nonzero(told)
    return Cadence(
        sample_fps=None,
        note=f"{100 * share:.0f} % of frames repeat the one before in no regular rhythm: video.sample_fps="
        f"{fps * (1 - share):.3g} leaves most of them out",
    )


def _fresh_frames(change: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T,) bool each: new pictures, frames that are clearly new or clearly repeats, frames with motion around them."""
    largest = _largest_around(change, reach)
    share = change / np.maximum(largest, 1e-12)
    moving = largest > MOTION
    moving[0] = False
    return share > _FRESH, moving & ((share < _REPEATED) | (share > _FRESH)), moving


def _pictures(place: np.ndarray, rate: float, offsets: np.ndarray) -> np.ndarray:
    """(offsets, T): pictures since a tick, r place - offset; a picture is at every whole number."""
    return rate * place - offsets[:, None]


def _bend(pictures: np.ndarray, rate: float) -> np.ndarray:
    return np.maximum(0.0, 1.0 - np.abs(pictures - np.rint(pictures)) / rate)


def _correlation(many: np.ndarray, one: np.ndarray) -> np.ndarray:
    many, one = many - many.mean(axis=-1, keepdims=True), one - one.mean()
    return (many * one).sum(axis=-1) / np.maximum(np.sqrt((many**2).sum(axis=-1) * (one**2).sum()), 1e-12)


def _largest_around(values: np.ndarray, reach: int) -> np.ndarray:
    """(T,) the largest within `reach` frames before or after."""
    padded = np.pad(values, reach)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=-1)


def _excess(difference: np.ndarray) -> float:
    return float(np.maximum(np.abs(difference) - NOISE, 0.0).mean())
