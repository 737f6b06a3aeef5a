"""Figures against faults that were planted and counts made by hand; selections; odd datasets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.audit.figures import figures_of, write_figures
from pipeline.audit.report import write_report
from pipeline.audit.scalars import read_tables
from pipeline.commands.main import main
from schemas.dataset import Dataset
from schemas.errors import DatasetError, SettingsError
from schemas.selections import Selection, selected_references, selection_names
from schemas.work_record import Pack, ShardFacts, WorkRecord
from tests.pipeline.audit.planted import made_up, write_tables
from tests.support.datasets import write_dataset
from tests.support.sample_rows import sample_row

CLIPS = ["a", "b", "c", "d", "e", "f"]


def slugs(root: Path, **options: str) -> list[str]:
    return [item.slug for item in figures_of(read_tables(Dataset.open(root)), **options).findings]


def test_a_sound_dataset_has_no_fault(tmp_path: Path) -> None:
    figures = figures_of(read_tables(Dataset.open(write_tables(tmp_path, made_up(CLIPS)))))
    assert [item for item in figures.findings if item.level == "fault"] == []


def test_assumed_focal_lengths_are_counted_by_clip_among_those_that_were_read(tmp_path: Path) -> None:
    tables = made_up(CLIPS)
    assert "assumed-focal-length" not in slugs(write_tables(tmp_path / "given", tables))
    tables["clips"]["focal_source"] = ["assumed", "given", "assumed", "given", "assumed", "given"]
    tables["clips"]["clip_id"] = [
        "a",
        "b",
        "a",
        "d",
        "e",
        "f",
    ]  # the third is a second unit of the first clip
    tables["clips"]["frames_read"][4] = 0  # could not be read: nothing rests on its lens
    root = write_tables(tmp_path / "assumed", tables)
    figures = figures_of(read_tables(Dataset.open(root)))
    assert figures.clips_with_assumed_focal == (1, 4)
    (finding,) = [item for item in figures.findings if item.slug == "assumed-focal-length"]
    assert finding.level == "note"
    assert finding.weight == 0.25
    assert "Nothing states the focal length of 1 of 4 clip(s) (by source: given 3, assumed 1)" in finding.text
    write_report(figures, read_tables(Dataset.open(root)), str(tmp_path / "page.html"))
    tables["clips"]["focal_source"][:2] = ["estimated", "file"]
    estimated = figures_of(read_tables(Dataset.open(write_tables(tmp_path / "estimated", tables))))
    assert estimated.clips_with_assumed_focal == (1, 4)  # the first clip's other unit is assumed
    (finding,) = [item for item in estimated.findings if item.slug == "assumed-focal-length"]
    assert "(by source: given 2, file 1, assumed 1)" in finding.text
    assert "Nothing states the focal length of 1 of 4 clip(s)" in (tmp_path / "page.html").read_text()


def swap(tables: dict[str, dict]) -> None:
    """Clip a: left and right change places between frames two apart."""
    pairs = tables["pairs"]
    pairs["rotation_deg"][(np.array(pairs["clip_id"]) == "a") & (pairs["gap_frames"] == 2)] = 95.0


def stand_still(tables: dict[str, dict]) -> None:
    """Clip b: hardly any baseline."""
    still = np.array(tables["pairs"]["clip_id"]) == "b"
    tables["pairs"]["mean_baseline_m"][still], tables["pairs"]["kept"][still] = 0.04, False


def mistake_focal_length(tables: dict[str, dict]) -> None:
    """Clip c: 20 times the focal length, 22,300 px for an image 1,920 px wide, and depth to match."""
    far = np.array(tables["pairs"]["clip_id"]) == "c"
    tables["pairs"]["focal_px"][far] *= 20
    tables["pairs"]["target_depth_m"][far] *= 20


def empty_masks(tables: dict[str, dict]) -> None:
    """Clip d: no valid pixel."""
    tables["pairs"]["valid_fraction"][np.array(tables["pairs"]["clip_id"]) == "d"] = 0.0


def copy_clip(tables: dict[str, dict]) -> None:
    """Clip f is the file of clip e."""
    tables["clips"]["input_sha256"][5] = tables["clips"]["input_sha256"][4]


FAULTS = {
    "left-right-swaps": (swap, "a/p00"),
    "static-clips": (stand_still, ": b."),
    "wrong-focal-length": (
        mistake_focal_length,
        "source-c (4.9 degrees across the image, people 80.0 m away)",
    ),
    "empty-masks": (empty_masks, "kept pair(s)"),
    "duplicate-across-splits": (
        copy_clip,
        "e, f, of 2 source(s) source-e, source-f, in the splits training, validation",
    ),
}
SPLITS = {"training": ["source-e", "source-a"], "validation": ["source-f"]}


@pytest.mark.parametrize(("size", "found"), [(0.3, False), (1.4, True)])
def test_bodies_that_disagree_with_the_pictures_are_a_warning(
    tmp_path: Path, size: float, found: bool
) -> None:
    tables = made_up(CLIPS)
    count = len(tables["pairs"]["kept"])
    tables["pairs"]["misalignment_px"] = np.where(np.arange(count) % 5 == 0, np.nan, size)
    figures = figures_of(read_tables(Dataset.open(write_tables(tmp_path, tables))))
    texts = [item.text for item in figures.findings if item.slug == "misaligned-bodies"]
    assert bool(texts) == found
    assert not found or "median 1.40 px" in texts[0]


@pytest.mark.parametrize(("matched", "found"), [(0.9, False), (0.2, True), (None, True)])
def test_pictures_in_which_little_is_found_again_are_a_warning(
    tmp_path: Path, matched: float | None, found: bool
) -> None:
    """Also where too few patches have texture for any to be looked for."""
    tables = made_up(CLIPS)
    count = len(tables["pairs"]["kept"])
    tables["pairs"]["matched_fraction"] = [matched] * count
    tables["pairs"]["textured_fraction"] = np.full(count, 0.5 if matched else 0.02)
    figures = figures_of(read_tables(Dataset.open(write_tables(tmp_path, tables))))
    assert [item.slug for item in figures.findings if item.slug == "pictures-tell-little"] == (
        ["pictures-tell-little"] if found else []
    )


def test_notes_of_clips_are_counted_by_kind_and_name_their_clips(tmp_path: Path) -> None:
    tables = made_up(CLIPS)
    hdr, woven = "HDR (HLG) tone-mapped to BT.709", "interlaced, made whole by bwdif"
    tables["clips"]["notes"] = ["", hdr, f"{hdr}; {woven}", "", hdr, ""]
    figures = figures_of(read_tables(Dataset.open(write_tables(tmp_path, tables))))
    (found,) = [item for item in figures.findings if item.slug == "noted-clips"]
    assert (found.level, found.weight) == ("note", 0.5)
    assert (
        f"3 of 6 clip(s) needed more than plain decoding: {hdr} (3: b, c, e), {woven} (1: c)." in found.text
    )


@pytest.mark.parametrize("slug", FAULTS)
def test_a_planted_fault_is_the_first_warning_and_names_the_culprit(tmp_path: Path, slug: str) -> None:
    plant, culprit = FAULTS[slug]
    tables = made_up(CLIPS)
    plant(tables)
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps(SPLITS))
    read = read_tables(Dataset.open(write_tables(tmp_path / "dataset", tables)))
    first, *rest = figures_of(read, splits=str(splits)).findings
    assert (first.slug, first.level) == (slug, "fault")
    assert culprit in first.text
    assert not {item.slug for item in rest} & set(FAULTS)


def test_all_planted_faults_together_are_the_first_warnings(tmp_path: Path) -> None:
    tables = made_up(CLIPS)
    for plant, _ in FAULTS.values():
        plant(tables)
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps(SPLITS | {"test": ["source-a"]}))
    found = slugs(write_tables(tmp_path / "dataset", tables), splits=str(splits))
    assert set(found[:6]) == {*FAULTS, "source-in-several-splits"}


def test_two_datasets_through_two_selections_stand_side_by_side(tmp_path: Path) -> None:
    tables = made_up(CLIPS), made_up(CLIPS[:2], seed=1)
    first, second = (write_tables(tmp_path / name, each) for name, each in zip("xy", tables))
    Selection(name="near", pairs="rotation_deg <= 12").save(first)
    Selection(name="valid", pairs="valid_fraction >= 0.6").save(first)
    asked = ["audit", str(first), str(second), "--selection", "near", "--selection", "valid"]
    assert main([*asked, "--json", str(tmp_path / "a.json"), "--out", str(tmp_path / "a.html")]) == 0
    sides = json.loads((tmp_path / "a.json").read_text())["sides"]
    expected = {}
    for root, each in zip((first, second), (table["pairs"] for table in tables)):
        kept = each["baseline_over_depth"] * 4 >= 0.5
        expected[f"{root}, as made"] = int(kept.sum())
        expected[f"{root}, selection near"] = int((kept & (each["rotation_deg"] <= 12)).sum())
        expected[f"{root}, selection valid"] = int((kept & (each["valid_fraction"] >= 0.6)).sum())
    assert {side["name"]: side["pairs_kept"] for side in sides} == expected
    assert len(set(expected.values())) == 6
    page = (tmp_path / "a.html").read_text()
    assert all(name in page for name in expected)


def test_spreads_by_source_are_those_of_numpy(tmp_path: Path) -> None:
    tables = made_up(CLIPS)
    figures = figures_of(read_tables(Dataset.open(write_tables(tmp_path, tables))))
    for group in figures.by_source:
        rows = np.array(tables["pairs"]["source_id"]) == group.name
        expected = np.percentile(tables["pairs"]["mean_baseline_m"][rows], [10, 25, 50, 75, 90])
        assert list(group.spread["mean_baseline_m"].values()) == pytest.approx(list(expected))


def test_a_selection_counts_and_selects_what_a_plain_loop_does(tmp_path: Path) -> None:
    tables = made_up(CLIPS)
    keys = dict.fromkeys(zip(tables["pairs"]["track_id"], tables["pairs"]["target_frame"].tolist()))
    tables["samples"] = {
        "sample_id": [f"{track}/{frame}" for track, frame in keys],
        "track_id": [track for track, _ in keys],
        "frame_index": [frame for _, frame in keys],
        "image": [b"x"] * len(keys), "input_depth": [b"x"] * len(keys), "base_depth": [b"x"] * len(keys),
        "references": [[]] * len(keys),
    }  # fmt: skip
    dataset = Dataset.open(write_tables(tmp_path, tables))
    text = "angle_deg >= 9 and min_silhouette_iou >= 0.75 and not clip_id == 'a'"
    Selection(name="wide", pairs=text).save(dataset.root)
    assert selection_names(dataset.root) == ["wide"]
    selection = Selection.load(dataset.root, "wide")
    iou = {
        (track, int(frame)): value
        for track, frame, value in zip(
            *(tables["frames"][name] for name in ("track_id", "frame_index", "silhouette_iou"))
        )
    }
    expected: dict[str, list[int]] = {}
    pairs = tables["pairs"]
    for at, track in enumerate(pairs["track_id"]):
        target, reference = int(pairs["target_frame"][at]), int(pairs["reference_frame"][at])
        angle = np.degrees(2 * np.arcsin(pairs["mean_baseline_m"][at] / 8))
        aligned = min(iou[track, target], iou[track, reference]) >= 0.75
        if pairs["kept"][at] and angle >= 9 and aligned and not track.startswith("a/"):
            expected.setdefault(f"{track}/{target}", []).append(reference)
    selected = selected_references(dataset, selection)
    assert {name: list(frames) for name, frames in selected.items()} == expected
    seen = read_tables(dataset, selection)
    assert int(seen.kept.sum()) == sum(map(len, expected.values()))
    assert seen.samples_left(seen.kept) == len(expected)


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "a" * 65])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="file name"):
        Selection(name=name, pairs="kept")


def test_a_selection_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    Selection(name="near", pairs="kept").save(tmp_path)
    with pytest.raises(DatasetError, match="it has: near"):
        Selection.load(tmp_path, "far")


def test_selections_of_version_0_1_are_read_from_their_old_folder(tmp_path: Path) -> None:
    old = tmp_path / "meta/views/near.json"
    old.parent.mkdir(parents=True)
    facts = {"format": "humandepth-view", "version": 1, "name": "near", "pairs": "kept", "samples": None}
    old.write_text(json.dumps(facts))
    assert selection_names(tmp_path) == ["near"]
    assert Selection.load(tmp_path, "near") == Selection(name="near", pairs="kept")
    saved = Selection(name="near", pairs="rotation_deg <= 12")
    assert saved.save(tmp_path) == tmp_path / "meta/selections/near.json"
    assert not old.exists()  # or it would come back once the new one is deleted
    assert Selection.load(tmp_path, "near") == saved


def test_empty_and_older_datasets_end_with_a_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(write_dataset(tmp_path / "empty", []))]) == 1
    assert "holds no finished unit" in capsys.readouterr().err
    root = write_tables(tmp_path / "old", made_up(["a"]))
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps(info | {"format_version": 0}))
    assert main(["audit", str(root)]) == 1
    assert "version 0" in capsys.readouterr().err
    root = write_tables(tmp_path / "older table", made_up(["a"]))
    path = root / "pairs/unit.parquet"
    table = pq.read_table(path)
    facts = table.schema.metadata | {b"humandepth.version": b"0"}
    pq.write_table(table.replace_schema_metadata(facts), path)
    record = WorkRecord.from_json((root / "meta/records/unit.json").read_text())
    shards = [ShardFacts.of(s.table, s.rows, Pack.of(root / s.path, s.path)) for s in record.shards]
    (root / "meta/records/unit.json").write_text(replace(record, shards=tuple(shards)).to_json())
    assert main(["audit", str(root), "--out", str(tmp_path / "a.html")]) == 1
    assert "holds table 'pairs' version '0', expected 'pairs' version" in capsys.readouterr().err


def test_one_row_and_markup_in_ids_make_a_page(tmp_path: Path) -> None:
    tables = made_up(["</script><script>alert(1)</script>"], 1)
    tables = {name: {key: value[:1] for key, value in columns.items()} for name, columns in tables.items()}
    read = read_tables(Dataset.open(write_tables(tmp_path / "dataset", tables)))
    figures = figures_of(read)
    write_figures(figures, str(tmp_path / "a.json"))
    write_report(figures, read, str(tmp_path / "a.html"))
    page = (tmp_path / "a.html").read_text()
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert json.loads((tmp_path / "a.json").read_text())["clips"] == 1


def test_pictures_come_from_samples_alone(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, [sample_row(seed, references=1) for seed in (1, 2)])
    read = read_tables(Dataset.open(root))
    write_report(figures_of(read), read, str(tmp_path / "a.html"))
    assert "No pictures" in (tmp_path / "a.html").read_text()


def test_a_trainings_own_report_names_what_it_dislikes(tmp_path: Path) -> None:
    """Written by the trainer itself: the losses of a sample are what its source and baseline make them."""
    import torch

    from trainer.data import SampleRef
    from trainer.objective import Losses
    from trainer.report import Report

    refs = [
        SampleRef(
            sample_id=f"{clip}/{at}", source_id=f"source-{clip}", track_id=f"{clip}/p00", path="", row_group=0,
            row=at, mean_baseline_m=0.5 + 0.1 * at, valid_fraction=0.5,
        )
        for clip in CLIPS for at in range(8)
    ]  # fmt: skip
    photo = torch.tensor([0.3 if ref.source_id == "source-c" else 0.05 * (1 + ref.row) for ref in refs])
    report, zeros = Report(refs), torch.zeros(len(refs))
    losses = Losses(**{name: zeros for name in Losses.__dataclass_fields__} | {"photo": photo})
    report.add([ref.sample_id for ref in refs], losses, zeros)
    report.write(tmp_path, report.sums)
    root = write_tables(tmp_path / "dataset", made_up(CLIPS))
    figures = figures_of(read_tables(Dataset.open(root)), training=str(tmp_path))
    rows = [row for row in figures.training or () if row.by == "source_id"]
    assert rows[0].group == "source-c"
    assert rows[0].photo == pytest.approx(0.3)
    assert rows[1].photo == pytest.approx(0.05 * np.arange(1, 9).mean())
    texts = {item.slug: item.text for item in figures.findings}
    assert "highest for samples with baseline, m 1.100-1.200" in texts["high-loss-mean-baseline-m"]
    with pytest.raises(DatasetError, match="cannot be read"):
        figures_of(read_tables(Dataset.open(root)), training=str(tmp_path / "dataset"))
    photo[:] = torch.where(photo == 0.3, 3.0, 0.05)
    report.add([ref.sample_id for ref in refs], losses, zeros)
    report.write(tmp_path, report.sums)
    texts = {
        item.slug: item.text
        for item in figures_of(read_tables(Dataset.open(root)), training=str(tmp_path)).findings
    }
    assert "source-c" in texts["high-loss-sources"]
    assert "source-a" not in texts["high-loss-sources"]
