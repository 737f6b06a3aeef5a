"""Predicted depth against ground truth (method, section 8), beside the base depth and a flat plane.

Ground truth is a folder with one NAME.npz per prediction of the same name, plain arrays:

    depth_m  (256, 256) metres, the same crop as the prediction, 0 where nothing is known
    K        (3, 3) intrinsics at that size; must be the prediction's
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from schemas.errors import DatasetError
from schemas.prediction import Prediction
from trainer.depth_files import normals

SEARCH_M = 0.20
MIN_PIXELS = 100
METHODS = ("refined", "base", "plane")


@dataclass(frozen=True, kw_only=True)
class DepthErrors:
    """Errors of one depth map, or their means over several, after one offset per image."""

    mae_mm: float
    mae_scaled_mm: float
    """After one offset and one scale."""
    rmse_mm: float
    normals_deg: float
    """Mean angle between normals."""
    below_2cm: float
    """Share of pixels that err by less."""
    below_5cm: float


def depth_errors(depth: np.ndarray, truth: np.ndarray, K: np.ndarray) -> DepthErrors:
    """Errors over the pixels that both know. depth, truth (H, W) metres, 0 = unknown; K (3, 3) at (H, W).

    The offset aligns the medians and is then the best constant within +-SEARCH_M for the mean absolute error, which is
    the median of what is left, cut to that range. The scale is the least-squares one.
    """
    both = (depth > 0) & (truth > 0)
    if both.sum() < MIN_PIXELS:
        raise DatasetError(
            f"prediction and truth share {both.sum()} pixels, fewer than {MIN_PIXELS}.",
            remedy="Give the truth in the same crop.",
        )
    found, true = depth[both].astype(np.float64), truth[both].astype(np.float64)
    error = found - true - best_offset(found, true)
    variance = np.var(found)
    scale = np.mean((found - found.mean()) * (true - true.mean())) / variance if variance > 1e-12 else 1.0
    scaled = scale * found - true
    angle = _normal_angles_deg(np.where(both, depth, 0), np.where(both, truth, 0), K)
    return DepthErrors(
        mae_mm=1000 * float(np.abs(error).mean()),
        mae_scaled_mm=1000 * float(np.abs(scaled - np.median(scaled)).mean()),
        rmse_mm=1000 * float(np.sqrt((error**2).mean())),
        normals_deg=float(angle.mean()) if angle.size else float("nan"),
        below_2cm=float((np.abs(error) < 0.02).mean()),
        below_5cm=float((np.abs(error) < 0.05).mean()),
    )


def best_offset(found: np.ndarray, true: np.ndarray) -> float:
    """Metres that `found` lies behind `true`: the medians' difference, plus at most SEARCH_M."""
    medians = float(np.median(found) - np.median(true))
    return medians + float(np.clip(np.median(found - true - medians), -SEARCH_M, SEARCH_M))


def _normal_angles_deg(depth: np.ndarray, truth: np.ndarray, K: np.ndarray) -> np.ndarray:
    found, true = normals(depth, K), normals(truth, K)
    known = found.any(axis=-1) & true.any(axis=-1)
    return np.degrees(np.arccos(np.clip((found * true).sum(axis=-1)[known], -1, 1)))


def evaluate(predictions: Path, truths: Path) -> dict[str, dict[str, DepthErrors]]:
    """Errors by name and method (`refined`, `base`, `plane`: everything at the median depth of the truth's pixels).

    Every truth needs a prediction. Raises DatasetError naming the file that is missing or wrong.
    """
    paths = sorted(truths.glob("*.npz"))
    if not paths:
        raise DatasetError(f"{truths} holds no truth.", remedy="Put NAME.npz with depth_m and K there.")
    results = {}
    for path in paths:
        prediction = Prediction.load(predictions / path.name)
        truth = _read_truth(path, prediction)
        depths = {
            "refined": prediction.depth_m,
            "base": prediction.base_depth_m,
            "plane": np.where(prediction.depth_m > 0, np.median(truth[truth > 0]), 0),
        }
        try:
            results[path.stem] = {
                name: depth_errors(depth, truth, prediction.K) for name, depth in depths.items()
            }
        except DatasetError as error:
            raise DatasetError(f"{path}: {error.message}", remedy=error.remedy) from error
    return results


def _read_truth(path: Path, prediction: Prediction) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as data:
            depth, K = np.asarray(data["depth_m"], np.float64), np.asarray(data["K"], np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(
            f"{path} is not a truth: {error}.", remedy="Give an npz with depth_m and K."
        ) from error
    if depth.shape != prediction.depth_m.shape or not np.isfinite(depth).all() or not (depth > 0).any():
        raise DatasetError(
            f"{path}: depth_m has shape {depth.shape}, {(~np.isfinite(depth)).sum()} values that are not finite and "
            f"{(depth > 0).sum()} known pixels; expected {prediction.depth_m.shape}, 0 and some.",
            remedy="Give metres at 256 x 256, 0 where nothing is known.",
        )
    if K.shape != (3, 3) or not np.allclose(K, prediction.K, rtol=1e-3):
        raise DatasetError(
            f"{path}: K is {K.tolist()}, the prediction's is {prediction.K.tolist()}.",
            remedy="Give the truth in the same crop, with the same camera.",
        )
    return depth


def means(results: dict[str, dict[str, DepthErrors]]) -> dict[str, DepthErrors]:
    """By method; every image weighs the same."""
    names = [field.name for field in fields(DepthErrors)]
    return {
        method: DepthErrors(
            **{
                name: float(np.mean([getattr(each[method], name) for each in results.values()]))
                for name in names
            }
        )
        for method in METHODS
    }


def table(errors: dict[str, DepthErrors]) -> str:
    """The means as text."""
    head = (
        f"{'':8s} {'MAE mm':>8s} {'scaled':>8s} {'RMSE mm':>8s} {'normals':>8s} {'< 2 cm':>7s} {'< 5 cm':>7s}"
    )
    return "\n".join([head, *_lines(errors.items())])


def _lines(errors: Iterable[tuple[str, DepthErrors]]) -> Iterable[str]:
    for name, each in errors:
        yield (
            f"{name:8s} {each.mae_mm:8.2f} {each.mae_scaled_mm:8.2f} {each.rmse_mm:8.2f} {each.normals_deg:8.2f} "
            f"{100 * each.below_2cm:6.1f}% {100 * each.below_5cm:6.1f}%"
        )


def write_evaluation(path: Path, results: dict[str, dict[str, DepthErrors]]) -> None:
    """JSON: the means, and every image."""
    content = {
        "images": len(results),
        "means": {name: asdict(each) for name, each in means(results).items()},
        "by_image": {
            image: {name: asdict(each) for name, each in found.items()} for image, found in results.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
