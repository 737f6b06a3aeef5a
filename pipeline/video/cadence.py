"""The true rate of film whose frames repeat or blend those of a slower film, told from its pictures.

A 24 fps film stored at 60 fps shows each picture two or three times, or mixes neighbours. Bodies then seem to stand and
jump. Both leave a regular trace where something moves, whatever the film shows:

* repeats: the change from the frame before, d_i = |f_i - f_(i-1)|, is nothing for all frames of a
  picture but its first;
* blends: between two pictures film changes in a straight line, so its bend s_i = |f_(i-1) - 2 f_i + f_(i+1)| is nothing
  except around the pictures themselves. With r pictures a frame and x_i = r (i - phase), s_i is proportional to
  w_i = max(0, 1 - |x_i - round(x_i)| / r). Blends of two or more frames a picture can be told (r <= 1/2).

Film at its true rate shows neither trace: all of its frames change and bend alike. Still passages tell nothing. What is
compared are small grey pictures, above the noise that is left in them (`motion`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.array_types import Floats
from pipeline.video.motion import Changes
from pipeline.video.rhythm import RATE_STEP, fitted, liveliest, thinned

SMALL_PX = 480
REPEATED_PEAK, BLENDED_PEAK = {False: 15.0, True: 30.0}, {False: 10.0, True: 25.0}
"""Peaks of change and of bend, in grey levels, from which frames tell anything; by whether the film is smaller than
SMALL_PX. Encoders leave out, or average, what changes little from frame to frame, most of all in small pictures: true
film then reaches 21 and 15 where someone moves slowly. New pictures of someone who walks reach 50 and 30."""
IRREGULAR_PEAK = 40.0
FILM_FPS = (24_000 / 1001, 24.0, 25.0, 30_000 / 1001, 30.0, 48.0, 50.0, 60_000 / 1001, 60.0)
"""Blends are made by converters, of film at one of these rates; encoders average at any part of the stored rate."""
_RATE_TOLERANCE = 0.004

SLOWEST_FPS = 5.0
MIN_PICTURES = 8
"""Pictures and frames between them that a shot must show in motion before it is judged."""

_CORRELATION = 0.7
_AGREEMENT = 0.95
"""Share of moving frames that a regular rhythm must explain."""
_REPEATED, _FRESH = 0.1, 0.3
"""Below and above this share of the largest change around it a frame is a repeat or a new picture."""
_SOME_REPEATS, _MOST_REPEATS = 0.1, 0.8
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


def cadence_of(seen: Changes, longer_side_px: int) -> Cadence:
    """How a shot is to be sampled, from what changes in it and the size its film is stored with."""
    if len(seen.pts_s) < 2 * MIN_PICTURES:
        return AS_IT_IS
    steps_s = np.diff(seen.pts_s)
    # The mean, without pauses: the times of some containers are whole milliseconds.
    fps = 1.0 / float(steps_s[steps_s < 1.5 * np.median(steps_s)].mean())
    shot = _Shot(
        place=(seen.pts_s - seen.pts_s[0]) * fps,
        seen=seen,
        fps=fps,
        reach=int(np.clip(np.ceil(fps / SLOWEST_FPS / 2), 3, 16)),
        small=longer_side_px < SMALL_PX,
    )
    for rate_of, words in ((_rate_of_repeats, "repeated"), (_rate_of_blends, "blended")):
        found = rate_of(shot)
        if found is not None and found[0] * fps >= SLOWEST_FPS:
            rate, tick = found
            note = f"{fps:.4g} fps with {words} frames, sampled at its true {rate * fps:.4g} fps"
            return Cadence(sample_fps=rate * fps, start_s=float(seen.pts_s[0]) + tick / fps, note=note)
    return _irregular(shot)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shot:
    place: np.ndarray
    """(T,) times in frames."""
    seen: Changes
    fps: float
    reach: int
    """Frames before and after that are compared with one: as many as a picture of SLOWEST_FPS lasts."""
    small: bool


def _rate_of_repeats(shot: _Shot) -> tuple[float, float] | None:
    """(pictures a frame, place of a tick in frames); None without a regular rhythm."""
    place = shot.place
    fresh, told, moving = _fresh_frames(shot, REPEATED_PEAK[shot.small])
    if min(np.count_nonzero(told & fresh), np.count_nonzero(told & ~fresh)) < MIN_PICTURES:
        return None
    before = np.append(place[0] - 1.0, place[:-1])

    def fit(rate: float, offsets: Floats, part: slice) -> Floats:
        at = thinned(told, part)
        ticks = np.floor(_pictures(place[at], rate, offsets))
        return np.asarray(
            ((ticks > np.floor(_pictures(before[at], rate, offsets))) == fresh[at]).mean(axis=-1)
        )

    span = liveliest(told)
    rate, offset, agreement = fitted(fit, np.array([fresh[span][told[span]].mean()]), span, len(place))
    if agreement * told.sum() / moving.sum() < _AGREEMENT:
        return None
    return rate, offset / rate


def _rate_of_blends(shot: _Shot) -> tuple[float, float] | None:
    """The same for blends: a tick lies a little less than half a frame before a picture."""
    place = shot.place
    share = shot.seen.bend / np.maximum(_largest_around(shot.seen.bend, shot.reach), 1e-12)
    moving = _largest_around(shot.seen.bend_peak, shot.reach) > BLENDED_PEAK[shot.small]
    moving[[0, -1]] = False
    if np.count_nonzero(moving & (share < _STRAIGHT)) < MIN_PICTURES:
        return None

    def fit(rate: float, offsets: Floats, part: slice) -> Floats:
        at = thinned(moving, part)
        return _correlation(_bend(_pictures(place[at], rate, offsets), rate), share[at])

    span = liveliest(moving)
    length = span.stop - span.start
    rates = np.arange(1 / shot.reach, 0.5 + 1e-9, RATE_STEP / length)
    rate, offset, agreement = fitted(fit, rates, span, len(place))
    expected = _bend(_pictures(place, rate, np.array([offset])), rate)[0]
    straight, bent = share[moving & (expected < 0.05)], share[moving & (expected > 0.6)]
    if (
        rate > 0.52
        or not any(abs(rate * shot.fps / known - 1) < _RATE_TOLERANCE for known in FILM_FPS)
        or agreement < _CORRELATION
        or min(len(straight), len(bent)) < MIN_PICTURES
        or np.median(straight) > _STRAIGHT
        or np.quantile(straight, 0.9) > _MOSTLY_STRAIGHT
        or np.median(bent) < _BENT
    ):
        return None
    return rate, offset / rate - 0.4


def _irregular(shot: _Shot) -> Cadence:
    fresh, told, _ = _fresh_frames(shot, IRREGULAR_PEAK)
    repeats, count = int((told & ~fresh).sum()), int(told.sum())
    share = repeats / max(1, count)
    if repeats < MIN_PICTURES or not _SOME_REPEATS < share < _MOST_REPEATS:
        return AS_IT_IS
    return Cadence(
        sample_fps=None,
        note=f"{100 * share:.0f} % of frames repeat the one before in no regular rhythm: video.sample_fps="
        f"{shot.fps * (1 - share):.3g} leaves most of them out",
    )


def _fresh_frames(shot: _Shot, least_peak: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T,) bool each: new pictures, frames that are clearly new or clearly repeats, frames with motion around them."""
    share = shot.seen.change / np.maximum(_largest_around(shot.seen.change, shot.reach), 1e-12)
    moving = _largest_around(shot.seen.change_peak, shot.reach) > least_peak
    moving[0] = False
    return share > _FRESH, moving & ((share < _REPEATED) | (share > _FRESH)), moving


def _pictures(place: Floats, rate: float, offsets: Floats) -> Floats:
    """(offsets, T): pictures since a tick, r place - offset; a picture is at every whole number."""
    return rate * place - offsets[:, None]


def _bend(pictures: Floats, rate: float) -> Floats:
    return np.maximum(0.0, 1.0 - np.abs(pictures - np.rint(pictures)) / rate)


def _correlation(many: Floats, one: Floats) -> Floats:
    many, one = many - many.mean(axis=-1, keepdims=True), one - one.mean()
    return np.asarray(
        (many * one).sum(axis=-1) / np.maximum(np.sqrt((many**2).sum(axis=-1) * (one**2).sum()), 1e-12)
    )


def _largest_around(values: Floats, reach: int) -> Floats:
    """(T,) the largest within `reach` frames before or after."""
    padded = np.pad(values, reach)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=-1))
