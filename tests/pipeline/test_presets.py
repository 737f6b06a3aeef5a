"""Preset `paper-exact` drops pairs by the published rule alone, whatever their numbers."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest

from pipeline.config import Settings, preset
from pipeline.geometry.motion import PairStatistics
from pipeline.method.pairs import candidate_references
from pipeline.method.verdicts import drop_reason

NEVER_PUBLISHED = {"turned-too-far", "baseline-over-depth", "little-common-surface"}


def reasons(settings: Settings) -> dict[tuple[float, ...], str]:
    """Why pairs of all kinds are dropped, by baseline, turn, baseline over depth and valid share."""
    found = {}
    values = itertools.product(
        (0.1, 0.49, 0.5, 3.0), (0.0, 30.0, 90.0, 180.0), (0.1, 1.5, 40.0), (0.0, 0.1, 0.9)
    )
    for baseline, turn, over_depth, valid in values:
        numbers = {field.name: 0.0 for field in fields(PairStatistics)} | {
            "mean_baseline_m": baseline, "rotation_deg": turn, "baseline_over_depth": over_depth,
            "valid_fraction": valid,
        }  # fmt: skip
        statistics = PairStatistics(**numbers)
        found[baseline, turn, over_depth, valid] = drop_reason(statistics, settings.pairs)
    return found


def test_only_the_published_rule_drops_a_pair() -> None:
    exact = reasons(preset("paper-exact"))
    for (baseline, *_), reason in exact.items():
        assert reason == ("below-baseline" if baseline < 0.5 else "")
    assert set(reasons(preset("paper")).values()) == {"", "below-baseline"} | NEVER_PUBLISHED


def test_every_candidate_may_be_a_reference_and_bodies_are_not_refined() -> None:
    exact, paper = preset("paper-exact"), preset("paper")
    pts_s, kept = np.arange(60) / 30, np.ones(60, bool)
    candidates = candidate_references(pts_s, kept, 30, exact.pairs.candidate_gaps_s)
    assert paper.pairs.max_references < len(candidates) <= exact.pairs.max_references
    assert (exact.refine.mode, paper.refine.mode) == ("off", "track")


@pytest.mark.parametrize("section", [field.name for field in fields(Settings)])
def test_nothing_else_differs(section: str) -> None:
    exact, paper = getattr(preset("paper-exact"), section), getattr(preset("paper"), section)
    changed = {
        field.name for field in fields(exact) if getattr(exact, field.name) != getattr(paper, field.name)
    }
    assert changed == {
        "camera": {"lens"},
        "refine": {"mode"},
        "pairs": {"max_references", "max_rotation_deg", "max_baseline_over_depth", "min_valid_fraction"},
    }.get(section, set())
