"""Predicted depth against ground truth (method, section 8), beside other depths of the same pictures.

Ground truth is a folder with one NAME.npz per prediction of the same name, plain arrays (see `schemas.truth`):

    depth_m       (256, 256) metres, the same crop as the prediction, 0 where nothing is known
    K             (3, 3) intrinsics at that size; must be the prediction's
    body_depth_m  (256, 256) optional: the naked body in its true pose
    part, pose    optional: what errors are also reported by
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DatasetError
from schemas.prediction import Prediction
from schemas.truth import PARTS, Truth
from trainer.metrics import DepthErrors, best_offset, depth_errors, mean_errors
from trainer.recovered_share import RecoveredShare, recovered_shares
from trainer.truth import checked_truth, read_truth

PLANE, TRUE_BODY, BASE, REFINED = "plane", "true body", "base", "refined"
"""Everything at the median true depth; the naked body in its true pose; the dataset's bodies; ReconNet's depth."""


@dataclass(frozen=True, kw_only=True)
class ImageErrors:
    """One image, by method."""

    methods: dict[str, DepthErrors]
    parts_mm: dict[str, dict[str, float]]
    """By part of the body, then by method: mean absolute error after the image's one offset."""
    pose: str


def evaluate(
    predictions: Path, truths: Path, others: Mapping[str, tuple[Path, bool]] | None = None
) -> dict[str, ImageErrors]:
    """Errors by name of the image.

    Methods are PLANE, TRUE_BODY (where the truth knows it), BASE, REFINED, and by name those of `others`: folders of
    predictions of the same images, and whether their base depth is meant. All are scored over the pixels that all
    know. An image is a prediction whose truth is known; see `without_partner` for the others. Raises DatasetError
    naming the file that is missing or wrong.
    """
    paths = sorted(path for path in truths.glob("*.npz") if (predictions / path.name).exists())
    if not paths:
        known = sum(1 for _ in truths.glob("*.npz"))
        raise DatasetError(
            f"{truths} holds {known} truth(s), and none is of a prediction in {predictions}.",
            remedy="Put NAME.npz with depth_m and K there for predictions of the same name.",
        )
    results = {}
    for path in paths:
        prediction = Prediction.load(predictions / path.name)
        truth = read_truth(path, prediction.K, prediction.depth_m.shape)
        depths = {PLANE: np.where(prediction.depth_m > 0, np.median(truth.depth_m[truth.depth_m > 0]), 0)}
        if truth.body_depth_m is not None:
            depths[TRUE_BODY] = truth.body_depth_m
        depths |= {BASE: prediction.base_depth_m, REFINED: prediction.depth_m}
        for name, (folder, is_base) in (others or {}).items():
            other = Prediction.load(folder / path.name)
            checked_truth(truth, path, other.K, other.depth_m.shape)
            depths[name] = other.base_depth_m if is_base else other.depth_m
        try:
            results[path.stem] = image_errors(depths, truth)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error.message}", remedy=error.remedy) from error
    return results


def without_partner(predictions: Path, truths: Path) -> tuple[int, int]:
    """How many predictions have no truth, and how many truths no prediction: they are not compared."""
    ours, theirs = ({path.name for path in folder.glob("*.npz")} for folder in (predictions, truths))
    return len(ours - theirs), len(theirs - ours)


def image_errors(depths: Mapping[str, NDArray[np.floating]], truth: Truth) -> ImageErrors:
    """Errors of several depth maps (H, W) of one image over the pixels that all of them and the truth know."""
    common = np.logical_and.reduce([truth.depth_m > 0, *(depth > 0 for depth in depths.values())])
    true = np.where(common, truth.depth_m, 0)
    methods = {
        name: depth_errors(np.where(common, depth, 0), true, truth.K) for name, depth in depths.items()
    }
    parts: dict[str, dict[str, float]] = {}
    if truth.part is not None:
        part, true = truth.part[common], true[common].astype(np.float64)
        for name, depth in depths.items():
            found = depth[common].astype(np.float64)
            error_mm = 1000 * np.abs(found - true - best_offset(found, true))
            for number in np.unique(part[part > 0]):
                parts.setdefault(PARTS[number - 1], {})[name] = float(error_mm[part == number].mean())
    return ImageErrors(methods=methods, parts_mm=parts, pose=truth.pose)


def means(results: Mapping[str, ImageErrors]) -> dict[str, DepthErrors]:
    """By method, those that every image has; every image weighs the same."""
    images = list(results.values())
    methods = [name for name in images[0].methods if all(name in image.methods for image in images)]
    return {method: mean_errors([image.methods[method] for image in images]) for method in methods}


def mae_by_part(results: Mapping[str, ImageErrors]) -> dict[str, dict[str, float]]:
    """Mean absolute error in mm by part, then method; every image that shows the part weighs the same."""
    shown = {
        part: [each.parts_mm[part] for each in results.values() if part in each.parts_mm] for part in PARTS
    }
    return {part: _mean_of(found) for part, found in shown.items() if found}


def mae_by_pose(results: Mapping[str, ImageErrors]) -> dict[str, dict[str, float]]:
    """Mean absolute error in mm by what the person does, then method."""
    poses = sorted({image.pose for image in results.values()} - {""})
    return {
        pose: _mean_of(
            [
                {name: errors.mae_mm for name, errors in image.methods.items()}
                for image in results.values()
                if image.pose == pose
            ]
        )
        for pose in poses
    }


def _mean_of(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def table(errors: Mapping[str, DepthErrors]) -> str:
    """The means as text."""
    wide = "".join(f" {name:>8s}" for name in ("MAE mm", "scaled", "RMSE mm", "normals", "detail"))
    head = f"{'':14s}{wide} {'< 2 cm':>7s} {'< 5 cm':>7s}"
    return "\n".join([head, *_lines(errors.items())])


def mae_table(title: str, by: Mapping[str, Mapping[str, float]]) -> str:
    """Mean absolute errors in mm as text: a line for each part or pose, a column for each method."""
    methods = list(next(iter(by.values())))
    head = f"{title:20s}" + "".join(f" {name:>14s}" for name in methods)
    lines = [
        f"{name:20s}" + "".join(f" {found[method]:14.2f}" for method in methods) for name, found in by.items()
    ]
    return "\n".join([head, *lines])


def _lines(errors: Iterable[tuple[str, DepthErrors]]) -> Iterable[str]:
    for name, each in errors:
        yield (
            f"{name:14s} {each.mae_mm:8.2f} {each.mae_scaled_mm:8.2f} {each.rmse_mm:8.2f} {each.normals_deg:8.2f} "
            f"{each.detail_mm:8.2f} {100 * each.below_2cm:6.1f}% {100 * each.below_5cm:6.1f}%"
        )


def gains(
    results: Mapping[str, ImageErrors], others: Mapping[str, bool] | None = None
) -> list[RecoveredShare]:
    """What REFINED and the depths among `others` recover of BASE and of the base depths among them."""
    depths, bases = [REFINED], [BASE]
    for name, is_base in (others or {}).items():
        (bases if is_base else depths).append(name)
    return recovered_shares({name: image.methods for name, image in results.items()}, depths, bases)


def evaluation_text(results: Mapping[str, ImageErrors], found: Sequence[RecoveredShare] = ()) -> str:
    """What `python -m trainer evaluate` prints: means, what was recovered, errors by part and pose where known."""
    parts, poses = mae_by_part(results), mae_by_pose(results)
    blocks = [f"{len(results)} image(s), after one offset per image", table(means(results))]
    blocks += ["\n".join(each.sentence() for each in found)] if found else []
    blocks += [mae_table("MAE mm by part", parts)] if parts else []
    blocks += [mae_table("MAE mm by pose", poses)] if poses else []
    return "\n\n".join(blocks)


def evaluation_content(
    results: Mapping[str, ImageErrors], found: Sequence[RecoveredShare] = ()
) -> dict[str, Any]:
    """For JSON: the means, what was recovered, errors by part, by pose, and of every image."""
    return {
        "images": len(results),
        "means": {name: asdict(each) for name, each in means(results).items()},
        "recovered": [each.as_dict() for each in found],
        "mae_mm_by_part": mae_by_part(results),
        "mae_mm_by_pose": mae_by_pose(results),
        "by_image": {
            image: {name: asdict(each) for name, each in found.methods.items()}
            for image, found in results.items()
        },
    }
