"""Predictions against ground truth, beside the base depth and a flat plane (method, section 8)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from schemas.errors import DatasetError
from schemas.prediction import Prediction
from trainer.metrics import DepthErrors, depth_errors, mean_errors
from trainer.truth import read_truth

METHODS = ("refined", "base", "plane")


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
        truth = read_truth(path, prediction.K, prediction.depth_m.shape)
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


def means(results: dict[str, dict[str, DepthErrors]]) -> dict[str, DepthErrors]:
    """By method; every image weighs the same."""
    return {method: mean_errors([each[method] for each in results.values()]) for method in METHODS}


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
