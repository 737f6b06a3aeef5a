"""Figures against faults that were planted and counts made by hand; views; odd datasets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.audit.figures import figures_of, write_figures
from pipeline.audit.report import script_json, write_report
from pipeline.audit.scalars import read_tables
from pipeline.cli import main
from schemas.dataset import Dataset
from schemas.errors import DatasetError, SettingsError
from schemas.views import View, selected_references, view_names
from tests.pipeline.audit.planted import made_up, write_tables
from tests.support.datasets import write_dataset
from tests.support.sample_rows import sample_row

CLIPS = ["a", "b", "c", "d", "e", "f"]


def slugs(root: Path, **options: str) -> list[str]:
    return [item.slug for item in figures_of(read_tables(Dataset.open(root)), **options).findings]


def test_a_sound_dataset_has_no_fault(tmp_path: Path) -> None:
    figures = figures_of(read_tables(Dataset.open(write_tables(tmp_path, made_up(CLIPS)))))
    assert [item for item in figures.findings if item.level == "fault"] == []


def test_every_planted_fault_is_among_the_first_warnings(tmp_path: Path) -> None:
    tables = made_up(CLIPS)
    pairs, clips = tables["pairs"], tables["clips"]
    clip = np.array(pairs["clip_id"])
    swapped = (clip == "a") & (pairs["gap_frames"] == 2)
    pairs["rotation_deg"][swapped] = 95.0
    still = clip == "b"
    pairs["mean_baseline_m"][still], pairs["kept"][still] = 0.04, False
    far = clip == "c"
    pairs["focal_px"][far] *= 20
    pairs["target_depth_m"][far] *= 20
    pairs["valid_fraction"][clip == "d"] = 0.0
    clips["input_sha256"][5] = clips["input_sha256"][4]
    splits = tmp_path / "splits.json"
    splits.write_text(
        json.dumps({"training": ["source-e", "source-a"], "validation": ["source-f", "source-a"]})
    )
    found = slugs(write_tables(tmp_path / "dataset", tables), splits=str(splits))
    assert set(found[:6]) == {
        "left-right-swaps",
        "static-clips",
        "wrong-focal-length",
        "empty-masks",
        "duplicate-across-splits",
        "source-in-several-splits",
    }


def test_spreads_by_source_are_those_of_numpy(tmp_path: Path) -> None:
    tables = made_up(CLIPS)
    figures = figures_of(read_tables(Dataset.open(write_tables(tmp_path, tables))))
    for group in figures.by_source:
        rows = np.array(tables["pairs"]["source_id"]) == group.name
        expected = np.percentile(tables["pairs"]["mean_baseline_m"][rows], [10, 25, 50, 75, 90])
        assert list(group.spread["mean_baseline_m"].values()) == pytest.approx(list(expected))


def test_a_view_counts_and_selects_what_a_plain_loop_does(tmp_path: Path) -> None:
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
    View(name="wide", pairs=text).save(dataset.root)
    assert view_names(dataset.root) == ["wide"]
    view = View.load(dataset.root, "wide")
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
    selected = selected_references(dataset, view)
    assert {name: list(frames) for name, frames in selected.items()} == expected
    seen = read_tables(dataset, view)
    assert int(seen.kept.sum()) == sum(map(len, expected.values()))
    assert seen.samples_left(seen.kept) == len(expected)


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "a" * 65])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="file name"):
        View(name=name, pairs="kept")


def test_a_view_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    View(name="near", pairs="kept").save(tmp_path)
    with pytest.raises(DatasetError, match="it has: near"):
        View.load(tmp_path, "far")


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


def test_json_in_a_script_element_holds_no_markup() -> None:
    value = {"<!--<script>": ["</script>", "&lt;", float("nan")]}
    text = script_json(value)
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"<!--<script>": ["</script>", "&lt;", None]}


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
    assert "baseline, m 1.100-1.200 least" in texts["disliked-mean-baseline-m"]
    with pytest.raises(DatasetError, match="cannot be read"):
        figures_of(read_tables(Dataset.open(root)), training=str(tmp_path / "dataset"))
    photo[:] = torch.where(photo == 0.3, 3.0, 0.05)
    report.add([ref.sample_id for ref in refs], losses, zeros)
    report.write(tmp_path, report.sums)
    texts = {
        item.slug: item.text
        for item in figures_of(read_tables(Dataset.open(root)), training=str(tmp_path)).findings
    }
    assert "source-c" in texts["disliked-sources"]
    assert "source-a" not in texts["disliked-sources"]
