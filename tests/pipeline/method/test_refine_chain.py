"""Refinement as a step of the chain: in rows, in the fingerprint, the same through Beam and in a plain loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.commands.main import main as pipeline
from pipeline.dataset.dressed_depths import (
    DressedSettings,
    among_people,
    dressed_depths,
    evidence_of,
    people_offset,
)
from pipeline.dataset.fingerprint import fingerprint
from pipeline.dataset.track_surfaces import surfaces_of
from pipeline.dataset.verification import verify
from pipeline.inspection.scene import SceneReader
from pipeline.method.rendered_frames import body_from_vector
from pipeline.method.segment import process_segment
from pipeline.records import TrackSurface
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from schemas.dressed import DressedDepth
from schemas.errors import DatasetError, SettingsError
from schemas.prediction import prediction_path
from schemas.tables import SURFACES
from tests.support.clips import even_times, write_clip
from tests.support.dressed_rows import check_depth_and_motion, dressed_by_hand
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


DRESSED = (*REFINE, "rendering.base_surface=dressed")


def test_depth_and_motion_are_those_of_the_dressed_surface(manifest: Path, refined) -> None:
    """A moved target point lies on the reference's dressed surface: its depth is the one drawn there."""
    rows = rows_of(manifest, *DRESSED)
    np.testing.assert_array_equal(
        [row["body_vector"] for row in rows["frames"]], [row["body_vector"] for row in refined["frames"]]
    )
    (surface,) = rows["surfaces"]
    offset_m = np.array([vertex["offset_m"] for vertex in surface["vertices"]])
    assert np.abs(offset_m).max() > 1e-4
    check_depth_and_motion(rows, offset_m)
    for sample, skin in zip(rows["samples"], refined["samples"], strict=True):
        assert np.abs(sample["base_depth"] - skin["base_depth"]).max() > 1e-4


def test_a_track_without_a_shape_keeps_its_skin(manifest: Path, plain) -> None:
    rows = rows_of(manifest, "rendering.base_surface=dressed")
    for sample, skin in zip(rows["samples"], plain["samples"], strict=True):
        np.testing.assert_array_equal(sample["base_depth"], skin["base_depth"])


def test_stored_dressed_depths_are_rendered_again_from_the_tables(manifest: Path, tmp_path: Path) -> None:
    settings = [text for setting in DRESSED for text in ("--set", setting)]
    done = fast_run(manifest, "--out", tmp_path / "dataset", *settings)
    assert done.returncode == 0, done.stderr
    checked = verify(str(tmp_path / "dataset"))
    assert checked.problems == []
    assert checked.rendered > 0
    dataset = Dataset.open(tmp_path / "dataset")
    (row,) = dataset.rows("surfaces")
    found = surfaces_of(dataset, {row["track_id"]})[row["track_id"]]
    np.testing.assert_array_equal(
        found.offset_m, [np.float32(vertex["offset_m"]) for vertex in row["vertices"]]
    )
    assert surfaces_of(dataset, {"nobody"}) == {}
    resources = fast_resources(fast_settings(*DRESSED))
    scene = SceneReader(dataset, resources).read(next(iter(dataset.rows("samples")))["sample_id"])
    body = body_from_vector(
        next(row["body_vector"] for row in dataset.rows("frames") if row["frame_index"] == scene.target.frame_index)
        .astype(np.float64),
        scene.target.surface.camera,
        resources.body,
    )  # fmt: skip
    moved = np.linalg.norm(scene.target.surface.vertices - body.vertices, axis=1)
    np.testing.assert_allclose(moved, np.abs(found.offset_m), atol=1e-9)


def test_dressed_depths_are_those_of_the_evidence_and_learnable_by_difference(
    manifest: Path, tmp_path: Path
) -> None:
    """Depth of v + y n by the oracle above, a file a sample; its standard deviation is one of the face's corners'."""
    settings = [text for setting in REFINE for text in ("--set", setting)]
    assert fast_run(manifest, "--out", tmp_path / "dataset", *settings).returncode == 0
    assert (
        pipeline(["dataset", "dressed", str(tmp_path / "dataset"), "--out", str(tmp_path / "dressed")]) == 0
    )
    dataset = Dataset.open(tmp_path / "dataset")
    (row,) = dataset.rows("surfaces")
    stored = surfaces_of(dataset, {row["track_id"]})[row["track_id"]]
    refine = fast_settings(*REFINE).refine
    evidence = evidence_of(stored, refine)
    seen = among_people(evidence, people_offset({"only": evidence}, refine), DressedSettings())
    for sample in dataset.rows("samples"):
        found = DressedDepth.load(prediction_path(tmp_path / "dressed", sample["sample_id"]))
        expected = dressed_by_hand(sample["body_vector"].astype(float), sample["K"], seen.offset_m)
        np.testing.assert_allclose(found.depth_m, expected.depth, atol=1e-6)
        np.testing.assert_allclose(found.K, expected.camera.K)
        inside = found.sigma_m[found.depth_m > 0]
        assert seen.sigma_m.min() * 0.999 <= inside.min()
        assert inside.max() <= seen.sigma_m.max() * 1.001
        assert np.abs(found.depth_m - sample["base_depth"]).max() > 1e-4
    assert len(list((tmp_path / "dressed").rglob("*.npz"))) == dataset.row_count("samples")


def test_evidence_and_expectation_make_what_is_stored() -> None:
    """Products of normal distributions: precisions add up, and so do precision-weighted means."""
    settings = replace(fast_settings().refine, offset_mean_m=0.01, offset_sigma_m=0.01)
    stored = TrackSurface(
        offset_m=np.array([0.004, 0.02, 0.01, 0.03]), sigma_m=np.array([0.002, 0.006, 0.009, 0.01])
    )
    seen = evidence_of(stored, settings)
    precision = seen.sigma_m[:3] ** -2 + 0.01**-2
    np.testing.assert_allclose(precision, stored.sigma_m[:3] ** -2)
    mean = (seen.offset_m[:3] * seen.sigma_m[:3] ** -2 + 0.01 * 0.01**-2) / precision
    np.testing.assert_allclose(mean, stored.offset_m[:3])
    assert np.isfinite(seen.offset_m).all()  # nothing was seen of the last: it counts a twentieth
    np.testing.assert_allclose(seen.sigma_m[3], 0.01 / np.sqrt(0.05))
    alone = people_offset({"only": seen}, settings)  # and with the expectation, the stored offset again
    np.testing.assert_allclose(alone[:3], stored.offset_m[:3])


def test_many_tracks_agree_on_the_offset_of_people_and_one_is_expected_like_them() -> None:
    """Noise and expectation go with the number of tracks; a track of which nothing was seen gets what people wear."""
    rng = np.random.default_rng(5)
    settings = replace(fast_settings().refine, offset_mean_m=0.01, offset_sigma_m=0.01)
    true = rng.uniform(0.0, 0.02, 50)
    evidence = {
        str(at): TrackSurface(offset_m=true + 0.006 * rng.standard_normal(50), sigma_m=np.full(50, 0.006))
        for at in range(400)
    }
    people = people_offset(evidence, settings)
    assert np.abs(people - true).max() < 4 * 0.006 / np.sqrt(400)
    unseen = TrackSurface(offset_m=np.full(50, 0.3), sigma_m=np.full(50, 1e3))
    plain = DressedSettings(spread_m=0.007, contrast=1.0)
    np.testing.assert_allclose(among_people(unseen, people, plain).offset_m, people, atol=1e-6)
    sharp = TrackSurface(offset_m=true[::-1].copy(), sigma_m=np.full(50, 1e-6))
    found = among_people(sharp, people, DressedSettings(contrast=2.0))
    np.testing.assert_allclose(found.offset_m, 2 * sharp.offset_m - sharp.offset_m.mean(), atol=1e-6)
    np.testing.assert_allclose(found.sigma_m, 1e-6, rtol=1e-3)
    with pytest.raises(SettingsError, match="--contrast cannot be 0"):
        DressedSettings(contrast=0.0)


def test_dressed_depth_of_a_dataset_that_has_none_to_give_is_an_error_that_says_why(
    manifest: Path, tmp_path: Path
) -> None:
    for name, settings, match in (
        ("plain", (), "no track of a sample has a dressed shape"),
        ("dressed", DRESSED, "is that of the dressed shape already"),
    ):
        given = [text for setting in settings for text in ("--set", setting)]
        assert fast_run(manifest, "--out", tmp_path / name, *given).returncode == 0
        with pytest.raises(DatasetError, match=match):
            list(dressed_depths(Dataset.open(tmp_path / name)))
