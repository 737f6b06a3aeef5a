"""Video to dataset to network to depth, through the real command lines."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from apache_beam.coders import PickleCoder

from pipeline.commands.main import main
from pipeline.config import preset
from pipeline.dataset.fingerprint import fingerprint
from pipeline.dataset.unit_sink import UnitSink
from pipeline.method.picture_bodies import PictureBodies
from pipeline.method.resources import Resources
from pipeline.method.segment import process_segment
from pipeline.records import TrackedSegment, UnitCounts
from pipeline.runner.driver import resolve, run
from pipeline.video.decode import decode
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from schemas.conventions import VALID_ALL, VALID_ON_BODY
from schemas.dataset import Dataset
from schemas.prediction import Prediction
from schemas.settings import with_overrides
from tests.end_to_end.conftest import FAST, command, told
from tests.support.clips import write_clip

pytestmark = pytest.mark.usefixtures("demo_clip")


def test_the_dataset_holds_what_it_promises(dataset: Path) -> None:
    opened = Dataset.open(dataset)
    assert opened.verify() == []
    frames, pairs, samples = (list(opened.rows(name)) for name in ("frames", "pairs", "samples"))
    assert len({row["track_id"] for row in frames}) >= 1
    assert any(row["kept"] for row in pairs)
    kept = {(row["track_id"], row["target_frame"], row["reference_frame"]) for row in pairs if row["kept"]}
    stored = {
        (row["track_id"], row["frame_index"], reference["frame_index"])
        for row in samples
        for reference in row["references"]
    }
    assert kept == stored
    assert all(row["reason"] for row in pairs if not row["kept"])
    usable = {(row["track_id"], row["frame_index"]) for row in frames if row["kept"]}
    assert {(track, frame) for track, frame, _ in stored} <= usable
    assert {(track, frame) for track, _, frame in stored} <= usable
    for row in samples:
        mask = row["base_depth"] > 0
        assert 0.02 < mask.mean() < 0.6
        for reference in row["references"]:
            assert np.array_equal((reference["validity"] & VALID_ON_BODY) > 0, mask)
            share = ((reference["validity"] == VALID_ALL) & mask).sum() / mask.sum()
            assert share == pytest.approx(reference["valid_fraction"], abs=1e-9)
            assert reference["mean_baseline_m"] >= 0.5


def test_a_second_run_does_nothing_again(dataset: Path, manifest: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*.parquet")}
    done = command("pipeline", "run", manifest, "--out", dataset, *FAST)
    assert done.returncode == 0, done.stderr
    assert "1 finished before" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*.parquet")} == before


def test_other_settings_are_refused(
    dataset: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ["--set", "pairs.max_references=3"]
    code, said = told(["pipeline", "run", manifest, "--out", dataset, *FAST, *other], capsys)
    assert code == 1
    assert "pairs.max_references: 2 -> 3" in said


def test_plain_loop_and_two_workers_give_the_same_bytes(dataset: Path, manifest: Path, work: Path) -> None:
    expected = Dataset.open(dataset).content_hash()
    settings = resolve(with_overrides(preset("paper"), FAST[1::2]))
    resources = Resources(settings)
    plain = work / "plain"
    for clip in clips_from_arguments([str(manifest)]):
        for segment in segments_of(clip, settings.video):
            with UnitSink(str(plain), segment.unit_id, fingerprint(segment, settings)) as sink:
                process_segment(segment, resources, sink.emit)
    for path in sorted(plain.rglob("*.parquet")):
        assert path.read_bytes() == (dataset / path.relative_to(plain)).read_bytes(), path
    done = command("pipeline", "run", manifest, "--out", work / "two", "--workers", "2", *FAST)
    assert done.returncode == 0, done.stderr
    assert Dataset.open(work / "two").content_hash() == expected


def test_only_parameters_cross_a_shuffle(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the steps hand on, as Beam would encode it: under 2 kB a frame, where one crop alone has 60."""
    handed_on: list[TrackedSegment] = []

    def noting(tracked: TrackedSegment, *arguments: object, **named: object) -> UnitCounts:
        handed_on.append(tracked)
        return UnitCounts(unit_id=tracked.segment.unit_id, outcome="kept", samples=1)

    monkeypatch.setattr("pipeline.method.segment.render_segment", noting)
    settings = with_overrides(preset("paper"), FAST[1::2])
    run(clips_from_arguments([str(manifest)]), str(tmp_path / "out"), settings)
    (tracked,) = handed_on
    frames = sum(len(track.frame_index) for track in tracked.tracks)
    assert frames >= 20
    assert len(PickleCoder().encode(tracked)) < 2000 * frames


def test_audit_counts_what_the_tables_hold(dataset: Path, work: Path) -> None:
    assert main(["audit", str(dataset), "--json", str(work / "audit.json")]) == 0
    figures = json.loads((work / "audit.json").read_text())
    opened = Dataset.open(dataset)
    pairs = list(opened.rows("pairs"))
    assert sum(track["pairs"] for track in figures["tracks"]) == len(pairs)
    assert sum(track["pairs_kept"] for track in figures["tracks"]) == sum(row["kept"] for row in pairs)
    assert sum(track["samples"] for track in figures["tracks"]) == opened.row_count("samples")
    assert figures["units_kept"] == 1


def test_audit_reproduces_counts_at_three_thresholds(dataset: Path, work: Path) -> None:
    """A real clip's rows, counted one by one."""
    opened = Dataset.open(dataset)
    iou = {
        (row["track_id"], row["frame_index"]): row["silhouette_iou"]
        for row in opened.rows("frames", ["track_id", "frame_index", "silhouette_iou"])
    }
    kept = [row for row in opened.rows("pairs") if row["kept"]]
    for row in kept:
        ends = ((row["track_id"], row[name]) for name in ("target_frame", "reference_frame"))
        row["min_silhouette_iou"] = min(iou[end] for end in ends)
    for column, side in (("mean_baseline_m", ">="), ("rotation_deg", "<="), ("min_silhouette_iou", ">=")):
        limit = float(np.median([row[column] for row in kept]))
        passing = [row for row in kept if (row[column] >= limit if side == ">=" else row[column] <= limit)]
        assert 0 < len(passing) < len(kept)
        where = f"{column} {side} {limit!r}"
        assert main(["audit", str(dataset), "--where", where, "--json", str(work / "view.json")]) == 0
        made, seen = json.loads((work / "view.json").read_text())["sides"]
        assert (made["pairs_kept"], made["samples"]) == (len(kept), opened.row_count("samples"))
        targets = {(row["track_id"], row["target_frame"]) for row in passing}
        assert (seen["pairs_kept"], seen["samples"]) == (len(passing), len(targets))


def test_fit_predict_and_page(dataset: Path, work: Path, demo_clip: Path) -> None:
    checkpoint, predictions, page = work / "checkpoint", work / "predictions", work / "page.html"
    changes = ["model.width=8", "model.downs=3", "data.workers=0", "train.max_steps=3"]
    small = ["--preset", "small", *(part for change in changes for part in ("--set", change))]
    done = command("trainer", "fit", dataset, "--out", checkpoint, *small)
    assert done.returncode == 0, done.stdout + done.stderr
    done = command(
        "trainer",
        "predict",
        "--dataset",
        dataset,
        "--checkpoint",
        checkpoint,
        "--out",
        predictions,
        "--per-track",
        "2",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = sorted(predictions.glob("*.npz"))
    assert files
    assert sorted((predictions / "full").glob("*.npz"))
    for path in files:
        prediction = Prediction.load(path)
        mask = prediction.base_depth_m > 0
        assert np.array_equal(prediction.depth_m > 0, mask)
        offset_m = (prediction.depth_m - prediction.base_depth_m)[mask]
        assert np.abs(offset_m).max() <= 0.1 + 1e-6
        assert np.abs(offset_m).max() > 0
    assert main(["gallery", str(dataset), "--predictions", str(predictions), "--out", str(page)]) == 0
    assert page.read_text().count("refined depth") == 2 * len(files)  # alt text and caption
    photo = work / "photo.jpg"
    frame = next(decode(demo_clip, start_s=2.9))
    cv2.imwrite(str(photo), frame.image[..., ::-1])
    done = command(
        "trainer", "predict", photo, "--checkpoint", checkpoint, "--out", work / "photo", "--only-npz"
    )
    assert done.returncode == 0, done.stderr
    people = [Prediction.load(path) for path in sorted((work / "photo").glob("*.npz"))]
    assert len(people) == 2  # the man and the woman
    assert all(3 < np.median(person.depth_m[person.depth_m > 0]) < 9 for person in people)  # by the lens


def test_a_videos_depths_for_prediction_are_those_of_the_dataset(demo_clip: Path, tmp_path: Path) -> None:
    """Refined bodies and all: a network sees what it was trained on."""
    piece = tmp_path / "piece.mp4"
    images = [frame.image for frame in decode(str(demo_clip), start_s=2.0, end_s=2.5)]
    write_clip(piece, images.__getitem__, [at / 30 for at in range(len(images))])
    settings = with_overrides(preset("paper"), FAST[1::2])
    (clip,) = clips_from_arguments([str(piece)], None)
    (segment,) = segments_of(clip, settings.video)
    rows: dict[str, dict] = {}

    def keep(table: str, row: dict) -> None:
        if table == "samples":
            rows[row["sample_id"]] = row

    process_segment(segment, Resources(settings), keep)
    bodies = dict(PictureBodies(settings).of_video(str(piece)))
    assert rows
    assert set(rows) <= set(bodies)
    for name, row in rows.items():
        np.testing.assert_array_equal(bodies[name].base_depth, row["base_depth"].astype(np.float32))
        np.testing.assert_array_equal(bodies[name].K, row["K"])
