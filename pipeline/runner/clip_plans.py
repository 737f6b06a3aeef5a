"""What the clips of a run hold, found by probing all of them, or a random sample that is scaled up."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from scipy.special import stdtrit

from pipeline.config import Settings
from pipeline.dataset.cuts import read_cuts
from pipeline.records import ClipRef
from pipeline.video.decode import probe
from pipeline.video.source import local_path
from schemas.errors import HumandepthError, SettingsError

CONFIDENCE = 0.95
PROBE_S = 0.07
"""CPU seconds of probing a clip (measured: 68 ms; a long or large film takes more)."""
_FEWEST_FOR_PROCESSES = 32
_CLIPS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """What a clip holds."""

    windows: tuple[tuple[str, float], ...] = ()
    """Unit ("" where the clip was never cut) and seconds; none where the clip cannot be read."""
    fps: float = 0.0
    """Frames a second that will be worked on."""
    is_cut: bool = False
    """Whether its cuts are known; else it is counted as if it had none."""


@dataclass(frozen=True, kw_only=True)
class Total:
    """A sum over all clips, and half the width of its 95 % interval; 0 where every clip was probed."""

    value: float
    margin: float


def clip_plans(clips: Sequence[ClipRef], settings: Settings, out: str | None) -> list[ClipPlan]:
    """A plan for each clip, in order; many clips are probed by as many processes as this one may use cores."""
    one = partial(_plan_of, settings, out)
    processes = min(usable_cores(), len(clips) // _CLIPS_AT_ONCE)
    if len(clips) < _FEWEST_FOR_PROCESSES or processes < 2:
        return [one(clip) for clip in clips]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        return list(pool.map(one, clips, chunksize=_CLIPS_AT_ONCE))


def sample_of(clips: Sequence[ClipRef], count: int | None, seed: int) -> list[ClipRef]:
    """`count` of the clips at random, in their order; the same for the same seed. All of them for None, or if fewer."""
    if count is None or count >= len(clips):
        return list(clips)
    if count < 1:
        raise SettingsError(f"--sample cannot be {count}.", remedy="Give 2 or more clips.")
    chosen = random.Random(seed).sample(range(len(clips)), count)
    return [clips[at] for at in sorted(chosen)]


def total_of(values: Sequence[float], population: int) -> Total:
    """The sum over a population, of which these are a random sample without replacement.

    N mean +- t s N sqrt((1 - n / N) / n), with Student's t for n - 1 degrees of freedom. A sample of one tells nothing
    of the spread: its margin is infinite.
    """
    count = len(values)
    if not count or count >= population:
        return Total(value=float(sum(values)), margin=0.0)
    mean = sum(values) / count
    if count == 1:
        return Total(value=mean * population, margin=math.inf)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    quantile = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2))
    margin = quantile * spread * population * math.sqrt((1 - count / population) / count)
    return Total(value=mean * population, margin=margin)


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plan_of(settings: Settings, out: str | None, clip: ClipRef) -> ClipPlan:
    try:
        facts = probe(local_path(clip.uri))
    except HumandepthError:
        return ClipPlan()
    begin_s, end_s = clip.start_s or 0.0, min(clip.end_s or math.inf, facts.duration_s)
    length_s = max(0.0, end_s - begin_s)
    fps = min(facts.mean_fps, settings.video.sample_fps or facts.mean_fps)
    cut = read_cuts(out, clip.clip_id) if out else None
    if cut:
        windows = [(part["unit_id"], part["end_s"] - part["start_s"]) for part in cut["segments"]]
    else:
        count = max(1, math.ceil(length_s / settings.video.longest_unit_s(facts.mean_fps)))
        windows = [("", length_s / count)] * count
    return ClipPlan(windows=tuple(windows), fps=fps, is_cut=bool(cut))
