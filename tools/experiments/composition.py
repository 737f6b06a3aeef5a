"""What the base depth's error of a studio dataset is made of: what is left of it when one kind of error is taken away.

    python -m pipeline run films/held/clips.csv --out films/tracked-held --set pairs.target_stride=9
    python -m pipeline studio truth films/tracked-held --studio films/held --out films/truth-held
    PYTHONPATH=. python tools/experiments/composition.py films/tracked-held --truth films/truth-held

Every kind is fitted to the truth: what is left is an oracle, how far a method that knew just this could get.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from schemas.dataset import Dataset
from schemas.prediction import prediction_path
from schemas.truth import PARTS, Truth
from trainer.metrics import best_offset

LEAST_PIXELS = 50
ROBUST_STEPS = 5
ROBUST_M = 0.01
"""Errors of a plane count by their size above this, by their square below."""


def plane(error: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Coefficients (3,) of the plane a u + b v + c nearest to errors (n,) at pixels (n, 2), by absolute distance."""
    columns = np.column_stack([uv, np.ones(len(uv))])
    weight = np.ones(len(error))
    for _ in range(ROBUST_STEPS):
        found = np.linalg.lstsq(columns * weight[:, None], error * weight, rcond=None)[0]
        weight = 1 / np.sqrt(np.maximum(np.abs(error - columns @ found), ROBUST_M))
    return np.asarray(found)


def left(error: np.ndarray) -> float:
    """Mean absolute error in mm after one offset."""
    return 1000 * float(np.abs(error - best_offset(error, np.zeros_like(error))).mean())


def by_part(error: np.ndarray, part: np.ndarray, fitted: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Errors less what `fitted` makes of each part's pixels (a mask (n,) -> values of those)."""
    rest = error.copy()
    for number in np.unique(part):
        own = part == number
        if own.sum() >= LEAST_PIXELS:
            rest[own] -= fitted(own)
    return rest


class Sample:
    """Errors base - truth of one sample's pixels, metres."""

    def __init__(self, base_m: np.ndarray, truth: Truth) -> None:
        both = (base_m > 0) & (truth.depth_m > 0)
        v, u = np.nonzero(both)
        self.uv = np.column_stack([u, v]).astype(float)
        self.error = (base_m[both] - truth.depth_m[both]).astype(np.float64)
        self.part = truth.part[both] if truth.part is not None else np.zeros(len(u), np.uint8)
        self.body_error = None
        if truth.body_depth_m is not None:
            dressed = both & (truth.body_depth_m > 0)
            self.body_error = (truth.body_depth_m - truth.depth_m)[dressed].astype(np.float64)
        self.rad_per_slope = truth.K[1, 1] / float(np.median(base_m[base_m > 0]))
        self.slope = plane(self.error, self.uv)
        self.lean_deg = float(np.degrees(self.slope[1] * self.rad_per_slope))

    def rows(self, mean_lean_deg: float) -> Iterator[tuple[str, float]]:
        """What is left of each kind of error, mm."""
        error, uv, v = self.error, self.uv, self.uv[:, 1]
        columns = np.column_stack([uv, np.ones(len(uv))])
        yield "base depth", left(error)
        yield (
            "... leaned by the mean of all",
            left(error - np.radians(mean_lean_deg) / self.rad_per_slope * v),
        )
        yield "... leaned rightly", left(error - self.slope[1] * v)
        yield "... leaned and turned rightly", left(error - columns @ self.slope)
        yield (
            "... every part at its distance",
            left(by_part(error, self.part, lambda own: np.full(own.sum(), np.median(error[own])))),
        )
        yield (
            "... and leaned and turned",
            left(by_part(error, self.part, lambda own: columns[own] @ plane(error[own], uv[own]))),
        )
        if self.body_error is not None:
            yield "the true body", left(self.body_error)

    def signed(self) -> Iterator[tuple[str, float]]:
        """Mean error of each part about the whole, mm: positive is too far."""
        centred = 1000 * (self.error - np.median(self.error))
        for number, name in enumerate(PARTS):
            own = self.part == 1 + number
            if own.sum() >= LEAST_PIXELS:
                yield name, float(centred[own].mean())


def main(argv: list[str]) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--truth", type=Path, required=True)
    options = parser.parse_args(argv)
    samples = [
        Sample(row["base_depth"], Truth.load(prediction_path(options.truth, row["sample_id"])))
        for row in Dataset.open(options.dataset).rows("samples", ["sample_id", "base_depth"])
    ]
    leans = np.array([sample.lean_deg for sample in samples])
    print(f"{len(samples)} samples; lean {leans.mean():+.1f} degrees (standard deviation {leans.std():.1f})")
    for pick, width in ((lambda sample: sample.rows(float(leans.mean())), 34), (Sample.signed, 34)):
        found: dict[str, list[float]] = {}
        for sample in samples:
            for name, value in pick(sample):
                found.setdefault(name, []).append(value)
        for name, values in found.items():
            print(f"{name.ljust(width)} {np.mean(values):7.1f} mm   ({np.std(values):.1f})")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
