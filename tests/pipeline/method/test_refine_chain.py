"""Refinement as a step of the chain: in rows, in the fingerprint, the same through Beam and in a plain loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.dataset.fingerprint import fingerprint
from pipeline.method.segment import process_segment
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from schemas.tables import SURFACES
from tests.support.clips import even_times, write_clip
from tests.support.fast_units import FPS, SIDE_PX, fast_resources, fast_run, fast_settings, write_clips

REFINE = ("refine.mode=track", "refine.levels_px=[96]", "refine.iterations=2", "refine.points=800")


def rows_of(manifest: Path, *overrides: str) -> dict[str, list[dict[str, Any]]]:
    settings = fast_settings(*overrides)
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("frames", "surfaces", "pairs", "samples", "clips", "failures")
    }
    for clip in clips_from_arguments([str(manifest)]):
        for segment in segments_of(clip, settings.video):
            process_segment(
                segment, fast_resources(settings), lambda table, row: rows[table].append(dict(row))
            )
    return rows


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), ["one"])


@pytest.fixture(scope="module")
def refined(manifest: Path) -> dict[str, list[dict[str, Any]]]:
    return rows_of(manifest, *REFINE)


@pytest.fixture(scope="module")
def plain(manifest: Path) -> dict[str, list[dict[str, Any]]]:
    return rows_of(manifest)


def test_frames_keep_both_bodies_and_samples_are_made_from_the_refined(refined, plain) -> None:
    for after, before in zip(refined["frames"], plain["frames"], strict=True):
        np.testing.assert_array_equal(before["body_vector"], before["tracked_vector"])
        np.testing.assert_array_equal(after["tracked_vector"], before["body_vector"])
    assert any((row["body_vector"] != row["tracked_vector"]).any() for row in refined["frames"])
    used = {row["frame_index"]: row["body_vector"] for row in refined["frames"]}
    assert refined["samples"]
    for row in refined["samples"]:
        np.testing.assert_array_equal(row["body_vector"], used[row["frame_index"]])


@pytest.fixture(scope="module")
def sinking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person who stands, painted on a picture that sinks by half a pixel a frame: bodies and pictures disagree."""
    manifest = write_clips(tmp_path_factory.mktemp("sinking"), ["sinking"])
    noise = np.random.default_rng(1).standard_normal((2 * SIDE_PX, SIDE_PX))
    picture = np.clip(128 + 200 * cv2.GaussianBlur(noise, (0, 0), 2.0), 0, 255)

    def paint(number: int) -> np.ndarray:
        move = np.array([[1.0, 0, 0], [0, 1, 0.5 * number - SIDE_PX / 2]])
        moved = cv2.warpAffine(picture, move, (SIDE_PX, SIDE_PX), flags=cv2.INTER_CUBIC)
        return np.repeat(np.clip(moved, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)

    write_clip(manifest.parent / "sinking.mp4", paint, even_times(12, FPS))
    return manifest


def test_pairs_that_disagree_with_the_pictures_are_dropped_with_that_reason(sinking: Path) -> None:
    """Three frames apart that is four pixels of the map."""
    free = rows_of(sinking, "pairs.max_misalignment_px=null")
    measured = [row for row in free["pairs"] if row["misalignment_px"] is not None]
    assert any(row["kept"] for row in measured)
    assert all(row["across_px"] > 1 for row in measured if row["kept"])
    gated = rows_of(sinking)
    for row in gated["pairs"]:
        if row["misalignment_px"] is not None and row["misalignment_px"] > 1:
            assert not row["kept"]
    assert "misaligned" in {row["reason"] for row in gated["pairs"]}
    assert len([row for row in gated["pairs"] if row["kept"]]) < len(
        [row for row in free["pairs"] if row["kept"]]
    )


def test_every_refined_track_has_its_dressed_shape(refined, plain) -> None:
    assert plain["surfaces"] == []
    assert [row["track_id"] for row in refined["surfaces"]] == sorted(
        {row["track_id"] for row in refined["frames"]}
    )
    (row,) = refined["surfaces"]
    assert row["frames"] == sum(frame["kept"] for frame in refined["frames"])
    decoded = SURFACES.decode_row(SURFACES.encode_row(row))
    assert len(decoded["vertices"]) == len(fast_resources(fast_settings()).body.template)


def test_the_fingerprint_knows_the_setting(manifest: Path) -> None:
    (clip,) = clips_from_arguments([str(manifest)])
    off, on = fast_settings("refine.mode=off"), fast_settings("refine.mode=track")
    assert fingerprint(clip, off) != fingerprint(clip, on)
    assert fingerprint(clip, on) != fingerprint(clip, replace(on, refine=replace(on.refine, window_s=0.4)))


def test_beam_writes_the_same_rows(manifest: Path, refined, tmp_path: Path) -> None:
    settings = [text for setting in REFINE for text in ("--set", setting)]
    done = fast_run(manifest, "--out", tmp_path / "dataset", *settings)
    assert done.returncode == 0, done.stderr
    dataset = Dataset.open(tmp_path / "dataset")
    assert dataset.verify() == []
    for stored, row in zip(dataset.rows("frames"), refined["frames"], strict=True):
        np.testing.assert_array_equal(stored["body_vector"], row["body_vector"].astype(np.float32))
        np.testing.assert_array_equal(stored["tracked_vector"], row["tracked_vector"].astype(np.float32))
