"""Errors of depth maps of held-out samples; needs no torch, so other processes start quickly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from schemas.truth import Truth
from trainer.evaluate import BASE, PLANE, REFINED, TRUE_BODY, image_errors, mae_by_part, mae_by_pose, means
from trainer.recovery import mean_recovery, recovery


def score(
    sample_ids: Sequence[str],
    truths: Sequence[Truth],
    base: np.ndarray,
    found: np.ndarray,
    seen: np.ndarray,
) -> dict[str, Any]:
    """Errors of maps (S, 256, 256) against the truth: means, by part, by pose, and what was recovered."""
    errors, recoveries = {}, []
    for at, truth in enumerate(truths):
        plane = np.where(base[at] > 0, np.median(truth.depth_m[truth.depth_m > 0]), 0)
        depths = {PLANE: plane, TRUE_BODY: truth.body_depth_m, BASE: base[at], REFINED: found[at]}
        errors[sample_ids[at]] = image_errors(depths, truth)
        recoveries.append(recovery(found[at], base[at], truth.depth_m, seen[at]))
    mean = mean_recovery(recoveries)
    return {
        "images": len(errors),
        "means": {name: asdict(each) for name, each in means(errors).items()},
        "mae_mm_by_part": mae_by_part(errors),
        "mae_mm_by_pose": mae_by_pose(errors),
        "seen_base_mm": mean.base_mm,
        "seen_found_mm": mean.found_mm,
        "seen_recovered": mean.share,
        "seen_by_image_mm": {
            name: [round(each.base_mm, 3), round(each.found_mm, 3)]
            for name, each in zip(sample_ids, recoveries, strict=True)
        },
    }
