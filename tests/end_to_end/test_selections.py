"""Saved selections in `fit`, `verify` and `run`, and single pairs to look at, on a dataset made by the real graph."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import trainer.cli
from pipeline.audit.gates import overrides_from_name, overrides_from_selection
from pipeline.commands.main import main
from pipeline.config import preset
from pipeline.dataset.stored_settings import settings_of
from pipeline.dataset.verification import verify
from pipeline.inspection.pair_recording import spread_vertices
from pipeline.inspection.scene import SceneReader
from pipeline.method.resources import Resources
from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from schemas.errors import DatasetError, SettingsError
from schemas.selections import Selection
from schemas.settings import with_overrides
from tests.support.fast_units import fast_resources, fast_settings, write_clips
from trainer.config import DataSettings
from trainer.data import Samples, read_index

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selections")
    clips = clips_from_arguments([str(write_clips(folder / "clips", ["a", "b"]))])
    run(clips, str(folder / "dataset"), fast_settings(), make_resources=fast_resources)
    return folder / "dataset"


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(made, tmp_path / "dataset"))


def kept_by(root: Path, holds) -> dict[str, list[int]]:
    """The references a plain loop over every row keeps, by sample."""
    frames = {(row["track_id"], row["frame_index"]): row for row in Dataset.open(root).rows("frames")}
    pairs = {
        (row["track_id"], row["target_frame"], row["reference_frame"]): row
        for row in Dataset.open(root).rows("pairs")
    }
    found = {}
    for row in Dataset.open(root).rows("samples"):
        ends = [
            (item["frame_index"], pairs[row["track_id"], row["frame_index"], item["frame_index"]])
            for item in row["references"]
        ]
        stay = [
            frame
            for frame, pair in ends
            if holds(row, pair, frames[row["track_id"], pair["reference_frame"]])
        ]
        if stay:
            found[row["sample_id"]] = stay
    return found


def test_training_sees_exactly_the_references_of_a_view(root: Path) -> None:
    Selection(
        name="later", pairs="gap_s > 0 and angle_deg >= 1 and clip_id == 'a'", samples="frame_index <= 6"
    ).save(root)
    expected = kept_by(
        root,
        lambda sample, pair, _: pair["gap_s"] > 0 and pair["clip_id"] == "a" and sample["frame_index"] <= 6,
    )
    everything = kept_by(root, lambda *_: True)
    assert 0 < len(expected) < len(everything)
    index = read_index(Dataset.open(root), selection="later")
    assert {ref.sample_id: list(ref.references or ()) for ref in index} == expected
    samples = Samples(index, DataSettings(colour_jitter=False), seed=0, training=False)
    for at, ref in enumerate(index):
        frames = [reference["frame_index"] for reference in samples.row(at)["references"]]
        assert frames == expected[ref.sample_id]
        batch = samples[0, at]
        assert int(batch.valid.flatten(2).amax(dim=-1).sum()) == len(frames)
    with pytest.raises(DatasetError, match="in the selection 'later'"):
        read_index(Dataset.open(root), "frame_index > 6", selection="later")


def test_fit_takes_a_selection_and_refuses_one_that_is_not_there(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Selection(name="one", pairs="gap_s > 0").save(root)
    fit = ["fit", str(root), "--out", str(tmp_path / "checkpoint"), "--preset", "small"]
    tiny = ("train.max_steps=1", "train.batch_size=1", "data.workers=0", "data.max_references=1",
            "data.validation_share=0", "model.width=8", "model.stem_width=8")  # fmt: skip
    fit += ["--device", "cpu", *(text for setting in tiny for text in ("--set", setting))]
    assert trainer.cli.main([*fit, "--selection", "two"]) == 1
    assert "it has: one" in capsys.readouterr().err
    assert trainer.cli.main([*fit, "--selection", "one"]) == 0
    assert '"selection": "one"' in (tmp_path / "checkpoint/checkpoint.json").read_text()
    first = json.loads((tmp_path / "checkpoint/log.jsonl").read_text().splitlines()[0])
    assert first["selections"][str(root)]["pairs"] == "gap_s > 0"


def test_verify_looks_at_what_a_selection_keeps(root: Path) -> None:
    Selection(name="first", pairs="gap_s > 0", samples="clip_id == 'b'").save(root)
    expected = kept_by(root, lambda sample, pair, _: pair["gap_s"] > 0 and sample["clip_id"] == "b")
    report = verify(str(root), render=100, selection="first")
    assert report.problems == []
    assert (report.samples, report.references) == (len(expected), sum(map(len, expected.values())))
    assert report.rendered == len(expected)
    Selection(name="none", pairs="mean_baseline_m > 99").save(root)
    assert verify(str(root), render=0, selection="none").problems == ["selection 'none' keeps no sample."]
    (root / "meta/selections/first.json").write_text("{")
    assert any("cannot be read" in problem for problem in verify(str(root), render=0).problems)


def test_a_selection_of_limits_is_a_run_with_those_settings(root: Path) -> None:
    Selection(
        name="strict",
        pairs="mean_baseline_m >= 0.8 and 25 >= rotation_deg and min_silhouette_iou >= 0.75 "
        "and (misalignment_px is None or misalignment_px <= 0.6)",
    ).save(root)
    settings = with_overrides(preset("paper"), overrides_from_name(f"{root}:strict"))
    assert settings.pairs.min_mean_baseline_m == 0.8
    assert settings.pairs.max_rotation_deg == 25.0
    assert settings.gates.min_silhouette_iou == 0.75
    assert settings.pairs.max_misalignment_px == 0.6
    assert settings.pairs.max_baseline_over_depth == preset("paper").pairs.max_baseline_over_depth


@pytest.mark.parametrize(
    ("pairs", "samples", "words"),
    [
        ("angle_deg >= 9", None, "has settings only for"),
        ("mean_baseline_m <= 2", None, "has settings only for"),
        ("mean_baseline_m > 0.8", None, "has settings only for"),
        ("mean_baseline_m >= 0.8 or rotation_deg <= 20", None, "not one comparison"),
        ("0.5 <= mean_baseline_m <= 2", None, "not one comparison"),
        ("misalignment_px <= 0.6", None, r"write \(misalignment_px is None or misalignment_px <= 0.6\)"),
        ("misalignment_px is None", None, "has settings only for"),
        ("rotation_deg is None or misalignment_px <= 0.6", None, "has settings only for"),
        ("rotation_deg is None or rotation_deg <= 20", None, "has settings only for"),
        ("rotation_deg <= 20 and rotation_deg <= 30", None, "limited twice"),
        ("mean_baseline_m >= rotation_deg", None, "has settings only for"),
        ("rotation_deg <= 20", "valid_fraction >= 0.3", "chooses samples after pairs"),
    ],
)
def test_a_selection_that_is_no_limit_is_refused_for_a_run(
    pairs: str, samples: str | None, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        overrides_from_selection(Selection(name="v", pairs=pairs, samples=samples))


def test_the_arrows_of_a_pair_are_the_stored_motion(made: Path) -> None:
    """Vertices posed again from `frames` move as the maps in `samples` say, where a vertex is what a pixel shows."""
    dataset = Dataset.open(made)
    row = next(dataset.rows("samples"))
    stored = row["references"][0]
    scene = SceneReader(dataset, Resources(settings_of(dataset))).read(
        row["sample_id"], stored["frame_index"]
    )
    assert scene.reference is not None
    assert scene.field is not None
    assert scene.facts["kept"]
    camera = scene.target.surface.camera.resized((256, 256))
    px = np.floor(camera.px_from_cam(scene.target.surface.vertices)).astype(int)
    column, line = np.clip(px, 0, 255).T
    seen = np.abs(row["base_depth"][line, column] - scene.target.surface.vertices[:, 2]) < 0.002
    seen &= ((px >= 0) & (px < 256)).all(axis=1)
    assert seen.sum() > 500
    moved = (scene.reference.surface.vertices - scene.target.surface.vertices)[seen]
    d = stored["motion"][line, column][seen][:, 3:].astype(float)
    assert np.median(np.linalg.norm(d - moved, axis=1)) < 0.002
    assert np.median(np.linalg.norm(moved, axis=1)) > 0.01
    baseline = np.linalg.norm(scene.field.translation[seen], axis=1)
    assert baseline == pytest.approx(stored["mean_baseline_m"], rel=1e-3)  # a stiff turn: the same everywhere
    shown = spread_vertices(scene.target.surface.vertices, 0.06)
    cells = np.floor(scene.target.surface.vertices / 0.06).astype(int)
    assert len(np.unique(cells[shown], axis=0)) == len(shown) == len(np.unique(cells, axis=0))


def test_a_pair_becomes_pictures(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    assert main(["show", "pair", str(made), "--out", str(tmp_path / "pair.png")]) == 0
    assert "kept: True" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "pair.png")).shape == (2 * (256 + 24), 4 * 256, 3)
    assert main(["show", "pair", str(made), "--out", str(tmp_path / "pair.gif")]) == 0
    with Image.open(tmp_path / "pair.gif") as film:
        assert film.n_frames == 2  # type: ignore[attr-defined]
    one = [str(made), "a-s000-w000/p00/3"]  # targets are frames 0 and 6
    assert main(["show", "frame", *one, "--out", str(tmp_path / "one.png")]) == 0
    assert cv2.imread(str(tmp_path / "one.png")).shape == (256 + 24, 3 * 256, 3)
    assert main(["show", "pair", *one, "--out", str(tmp_path / "none.png")]) == 1
    assert "has no kept reference. Give --reference FRAME" in capsys.readouterr().err
    assert main(["show", "pair", *one, "--reference", "4", "--out", str(tmp_path / "untried.png")]) == 0
    assert "was not tried" in capsys.readouterr().out
    assert main(["show", "frame", one[0], "a-s000-w000/p00/99", "--out", str(tmp_path / "x.png")]) == 1
    assert "it has frames 0 to 11" in capsys.readouterr().err
    assert main(["show", "pair", str(made), "--out", str(tmp_path / "pair.jpg")]) == 2


def test_a_recording_holds_pictures_bodies_and_arrows(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    chunk = pytest.importorskip("rerun.chunk", reason="reading recordings back needs a newer rerun-sdk")
    path = tmp_path / "pair.rrd"
    assert main(["show", "pair", str(made), "--out", str(path)]) == 0
    parts = {str(part.entity_path): part.to_record_batch() for part in chunk.RrdReader(str(path)).stream()}
    for entity in ("target", "reference", "target/picture", "bodies/target", "bodies/reference"):
        assert f"/camera/{entity}" in parts
    arrows = parts["/camera/motion"]
    origins, vectors, colours = (
        arrows[f"Arrows3D:{name}"].to_pylist()[0] for name in ("origins", "vectors", "colors")
    )
    assert len(origins) == len(vectors) == len(colours) > 100
    dataset = Dataset.open(made)
    reader = SceneReader(dataset, Resources(settings_of(dataset)))
    name = reader.usual_target()
    scene = reader.read(name, reader.usual_reference(name))
    shown = spread_vertices(scene.target.surface.vertices)
    assert scene.reference is not None
    np.testing.assert_allclose(
        vectors, (scene.reference.surface.vertices - scene.target.surface.vertices)[shown], atol=1e-6
    )
