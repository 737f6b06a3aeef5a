"""Predictions judged by a second calibrated camera: what is gained over the base depth, with its best constant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DatasetError
from schemas.prediction import Placement, Prediction
from trainer.cross_view import Crossing, Explained, explained
from trainer.evaluate import BASE, PLANE, REFINED
from trainer.views import ViewPair, Views

BASE_CONSTANT, REFINED_CONSTANT = f"{BASE} + constant", f"{REFINED} + constant"
REACH_M = 0.6
"""How far in front of and behind where it is a depth map is placed: a single camera knows sizes, not distances."""
COARSE_M, FINE_M = 0.04, 0.01
"""Steps of the search, by pictures of a quarter of the resolution and then around the best at full."""
_COARSER = 4
SEED = 6666
DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Score:
    """One depth map of one picture."""

    cs_ref: float
    """Contrast and structure of what the second camera saw, over pixels that one of the two depths shows it where it
    fits best; those that this one loses count 0."""
    inside: float
    """Share of the lifted pixels that fall on the person in the second picture; NaN without a silhouette."""
    constant_m: float
    """What was added to the depth."""


def evaluate_views(predictions: Path, views_path: Path) -> dict[str, dict[str, Score]]:
    """Scores by name of the prediction, then by method.

    Depths are scaled by the true focal length over that which the prediction assumes: bodies keep their size. Methods:
    `plane` (the median depth), BASE and REFINED with and without the constant, within REACH_M, that explains the second
    picture best; each map has its own. Raises DatasetError naming the file that is missing or wrong.
    """
    views = Views.load(views_path)
    return {
        pair.prediction: _scores(predictions / f"{pair.prediction}.npz", pair, views) for pair in views.pairs
    }


def _scores(path: Path, pair: ViewPair, views: Views) -> dict[str, Score]:
    prediction = Prediction.load(path)
    placement = prediction.placement
    if placement is None or placement.picture_hw != views.first.hw:
        where = (
            "does not know its place in a picture"
            if placement is None
            else f"is of a picture of {placement.picture_hw}"
        )
        raise DatasetError(
            f"{path} {where}; the first camera has {views.first.hw} (height, width).",
            remedy="Predict from the first camera's own pictures or film.",
        )
    assumed = placement.picture_K(prediction.K, prediction.depth_m.shape[0])
    first = views.first.K
    scale = np.sqrt(first[0, 0] * first[1, 1] / (assumed[0, 0] * assumed[1, 1]))
    base, refined = (
        scale * np.asarray(each, np.float64) for each in (prediction.base_depth_m, prediction.depth_m)
    )
    known = (base > 0) & (refined > 0)
    if not known.any():
        raise DatasetError(f"{path} shows nobody.", remedy="Leave it out of the views.")
    part = _part(known)
    crossing = _crossing(prediction, placement, pair, views, part)
    maps = {
        PLANE: np.where(known, np.median(base[known]), 0)[part],
        BASE_CONSTANT: np.where(known, base, 0)[part],
        REFINED_CONSTANT: np.where(known, refined, 0)[part],
    }
    constants = {name: best_constant(depth, crossing) for name, depth in maps.items()}
    maps |= {BASE: maps[BASE_CONSTANT], REFINED: maps[REFINED_CONSTANT]}
    constants |= {BASE: 0.0, REFINED: 0.0}
    order = (PLANE, BASE, BASE_CONSTANT, REFINED, REFINED_CONSTANT)
    found = {name: explained(_moved(maps[name], constants[name]), crossing) for name in order}
    return _on_common_pixels(found, constants)


def _on_common_pixels(found: Mapping[str, Explained], constants: Mapping[str, float]) -> dict[str, Score]:
    """The plane does not say which pixels count: it hides nothing, so bodies would lose for what truly is hidden."""
    counted = found[BASE_CONSTANT].seen | found[REFINED_CONSTANT].seen
    pixels = max(int(counted.sum()), 1)
    return {
        name: Score(
            cs_ref=float(each.structure[counted].sum() / pixels),
            inside=each.inside,
            constant_m=constants[name],
        )
        for name, each in found.items()
    }


def _part(known: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that hold every known pixel, and what a window reaches beyond."""
    height, width = known.shape
    rows, columns = (np.flatnonzero(known.any(axis=axis)) for axis in (1, 0))
    margin = 2 * _COARSER
    return (
        slice(max(int(rows[0]) - margin, 0), min(int(rows[-1]) + margin + 1, height)),
        slice(max(int(columns[0]) - margin, 0), min(int(columns[-1]) + margin + 1, width)),
    )


def _crossing(
    prediction: Prediction, placement: Placement, pair: ViewPair, views: Views, part: tuple[slice, slice]
) -> Crossing:
    silhouette = None
    if pair.silhouette is not None:
        silhouette = views.picture(pair.silhouette, views.second).max(axis=-1) > 127
    return Crossing.of(
        placement,
        prediction.depth_m.shape[0],
        (views.first, views.second),
        (views.picture(pair.first, views.first), views.picture(pair.second, views.second)),
        silhouette,
        part,
    )


def best_constant(depth_m: NDArray[np.floating], crossing: Crossing) -> float:
    """Metres within +-REACH_M whose addition lets a depth map explain most of the second picture: argmax of sum cs."""
    coarse, thin = crossing.coarser(_COARSER), depth_m[::_COARSER, ::_COARSER]
    start = _best(lambda at: _sum(thin, at, coarse), np.arange(-REACH_M, REACH_M + 1e-9, COARSE_M))
    around = start + np.arange(-1.5 * COARSE_M, 1.5 * COARSE_M + 1e-9, FINE_M)
    return _best(lambda at: _sum(depth_m, at, crossing), around)


def _best(value_at: Callable[[float], float], places: NDArray[np.floating]) -> float:
    values = [value_at(float(place)) for place in places]
    return float(places[int(np.argmax(values))])


def _sum(depth_m: NDArray[np.floating], constant_m: float, crossing: Crossing) -> float:
    return float(explained(_moved(depth_m, constant_m), crossing).structure.sum())


def _moved(depth_m: NDArray[np.floating], constant_m: float) -> NDArray[np.floating]:
    return np.where(depth_m > 0, np.maximum(depth_m + constant_m, 1e-3), 0)


def means(results: Mapping[str, Mapping[str, Score]]) -> dict[str, Score]:
    """By method; every picture weighs the same."""
    names = list(next(iter(results.values())))
    return {name: _mean([scores[name] for scores in results.values()]) for name in names}


def _mean(scores: Sequence[Score]) -> Score:
    return Score(
        cs_ref=float(np.mean([each.cs_ref for each in scores])),
        inside=float(np.mean([each.inside for each in scores])),
        constant_m=float(np.mean([abs(each.constant_m) for each in scores])),
    )


def gain(results: Mapping[str, Mapping[str, Score]], measure: str) -> tuple[float, float, float]:
    """Refined over base, both with their best constant: mean over pictures and the ends of its 95 % interval.

    The interval is the bootstrap's over pictures; those of one film are alike, so that it is rather too narrow.
    """
    apart = np.array(
        [
            getattr(each[REFINED_CONSTANT], measure) - getattr(each[BASE_CONSTANT], measure)
            for each in results.values()
        ]
    )
    drawn = np.random.default_rng(SEED).integers(len(apart), size=(DRAWS, len(apart)))
    low, high = np.quantile(apart[drawn].mean(axis=1), (0.025, 0.975))
    return float(apart.mean()), float(low), float(high)


def views_text(results: Mapping[str, Mapping[str, Score]]) -> str:
    """What `python -m trainer evaluate --views` prints."""
    found = means(results)
    lines = [
        f"{len(results)} picture(s), seen by the second camera",
        f"{'':20s} {'cs_ref':>8s} {'inside':>8s} {'|constant| m':>13s}",
    ]
    lines += [
        f"{name:20s} {each.cs_ref:8.3f} {each.inside:8.3f} {each.constant_m:13.3f}"
        for name, each in found.items()
    ]
    for measure in ("cs_ref", "inside"):
        middle, low, high = gain(results, measure)
        if np.isfinite(middle):
            lines.append(
                f"refined over base, each with its best constant: {measure} {middle:+.4f} "
                f"(95 % interval {low:+.4f} to {high:+.4f})"
            )
    return "\n".join(lines)


def views_content(results: Mapping[str, Mapping[str, Score]]) -> dict[str, Any]:
    """For JSON: means, gains, and every picture. What is not known is null."""
    return {
        "pictures": len(results),
        "means": {name: _plain(each) for name, each in means(results).items()},
        "gain": {
            measure: dict(zip(("mean", "low", "high"), map(_finite, gain(results, measure)), strict=True))
            for measure in ("cs_ref", "inside")
        },
        "by_picture": {
            picture: {name: _plain(each) for name, each in scores.items()}
            for picture, scores in results.items()
        },
    }


def _plain(score: Score) -> dict[str, float | None]:
    return {name: _finite(getattr(score, name)) for name in ("cs_ref", "inside", "constant_m")}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
