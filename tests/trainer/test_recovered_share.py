"""Shares of a base depth's error that are gone: closed forms, and what the interval is drawn over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.evaluate import BASE, REFINED, ImageErrors, evaluation_text, gains
from trainer.metrics import DepthErrors
from trainer.recovered_share import recovered_shares


def errors(**mae_mm: float) -> dict[str, DepthErrors]:
    return {
        name: DepthErrors(
            mae_mm=value, mae_scaled_mm=0, rmse_mm=0, normals_deg=0, detail_mm=0, below_2cm=0, below_5cm=0
        )
        for name, value in mae_mm.items()
    }


def test_every_image_counts_by_its_error() -> None:
    """(10 + 30 - 5 - 27) / (10 + 30); against naked skin (20 + 40 - 5 - 27) / 60."""
    images = {
        "a_p00_000000": errors(base=10, refined=5, naked=20),
        "b": errors(base=30, refined=27, naked=40),
    }
    found = recovered_shares(images, ["refined"], ["base", "naked"])
    assert [each.share for each in found] == pytest.approx([8 / 40, 28 / 60])
    assert [each.base for each in found] == ["base", "naked"]
    said = "refined recovers +20.0 % of the error of base (95 % interval +10.0 to +50.0 over 2 tracks)"
    assert found[0].sentence() == f"{said}; too few tracks to tell (5 are needed)"
    assert replace(found[0], tracks=5).sentence() == said.replace("2 tracks", "5 tracks")


def test_frames_of_one_track_are_drawn_together() -> None:
    """One person gains all, one nothing, a hundred frames each: the interval is that of two people."""
    images = {
        f"clip{person}_p00_{frame:06d}": errors(base=10, refined=10 * person)
        for person in (0, 1)
        for frame in range(100)
    }
    (found,) = recovered_shares(images, ["refined"], ["base"])
    assert (found.share, found.low, found.high, found.tracks) == (0.5, 0, 1, 2)


def test_the_interval_is_that_of_a_mean() -> None:
    """Sixty people, equal bases, normal gains: +- 1.96 standard errors."""
    shares = np.random.default_rng(4).normal(0.3, 0.2, 60)
    images = {
        f"person{at}_000000": errors(base=10, refined=10 * (1 - share)) for at, share in enumerate(shares)
    }
    (found,) = recovered_shares(images, ["refined"], ["base"])
    half = 1.96 * shares.std() / np.sqrt(60)
    assert [found.low, found.high] == pytest.approx([shares.mean() - half, shares.mean() + half], abs=0.006)


def test_what_an_image_does_not_know_is_left_out() -> None:
    images = {"a": errors(base=10, refined=5, other=1), "b": errors(base=10, refined=5)}
    assert [each.depth for each in recovered_shares(images, ["refined", "other"], ["base"])] == ["refined"]


def test_other_depths_and_bases_take_part() -> None:
    methods = errors(base=10, refined=5, probed=4, naked=20)
    results = {"a": ImageErrors(methods=methods, parts_mm={}, pose="")}
    found = gains(results, {"probed": False, "naked": True})
    pairs = [(REFINED, BASE), (REFINED, "naked"), ("probed", BASE), ("probed", "naked")]
    assert [(each.depth, each.base) for each in found] == pairs
    assert [each.share for each in found] == pytest.approx([0.5, 0.75, 0.6, 0.8])
    assert "probed recovers +80.0 % of the error of naked" in evaluation_text(results, found)
