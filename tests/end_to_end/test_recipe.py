"""A network trained on imported bodies is given what it was trained on: the same body, lens and mesh in predictions."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.body.model import BodyModel, open_body_path
from pipeline.config import Settings, preset
from pipeline.dataset.stored_settings import settings_of
from pipeline.geometry.camera import Camera
from pipeline.method.named_files import file_digest
from pipeline.method.rendered_frames import body_from_vector
from pipeline.method.resources import Resources
from pipeline.rendering import render
from pipeline.rendering.clothes import Clothes
from pipeline.runner.driver import resolve, run
from pipeline.tracking.imported_bodies import ImportedBodies, write_bodies
from pipeline.video.decode import decode
from pipeline.video.source import clips_from_arguments
from schemas.conventions import MAP_PX, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE
from schemas.dataset import Dataset
from schemas.prediction import Prediction
from schemas.settings import with_overrides
from tests.support.clips import write_clip
from tests.support.rendered_people import rendered, walking
from trainer.checkpoint import load_checkpoint
from trainer.cli import main

FIT = ["model.width=8", "model.stem_width=8", "model.downs=3", "train.max_steps=1", "train.batch_size=1",
       "data.workers=0", "data.validation_share=0"]  # fmt: skip
FOCAL_PX = 700.0


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film, its bodies by "another program", a body file, the dataset made of them and a network trained on it."""
    work = tmp_path_factory.mktemp("recipe")
    with np.load(open_body_path(), allow_pickle=False) as stored:
        arrays = dict(stored)
    np.savez(work / "body.npz", **arrays | {"v_template": arrays["v_template"] * 1.03})  # type: ignore[arg-type]
    body = BodyModel.load(work / "body.npz")
    made = walking(turn_deg=40, focal_px=FOCAL_PX, seconds=0.6)
    film = [frame.image for frame in rendered(body, made)]
    write_clip(work / "walk.mp4", film.__getitem__, [at / 30 for at in range(len(film))])
    worn = np.linspace(0.005, 0.03, body.vertex_count)
    digest = file_digest(str(work / "body.npz"))
    Clothes(offset_m=worn, body_sha256=digest, tracks=1).save(work / "clothes.npz")
    bodies = ImportedBodies(
        person=np.zeros(len(film), int),
        frame_index=np.arange(len(film)),
        pose=made.pose,
        betas=np.tile(made.betas, (len(film), 1)),
        translation_m=made.translation,
        focal_px=np.full(len(film), FOCAL_PX),
    )
    clips = clips_from_arguments([str(work / "walk.mp4")])
    write_bodies(work / "bodies" / f"{clips[0].clip_id}.npz", bodies)
    settings = with_overrides(preset("released"), [
        f"body.file={work / 'body.npz'}", "tracking.tracker=imported", f"tracking.bodies={work / 'bodies'}",
        "rendering.rasterizer=compiled", "pairs.min_mean_baseline_m=0.1", "pairs.max_references=1",
        "pairs.target_stride=4", "camera.crop_margin=1.3", f"rendering.clothes={work / 'clothes.npz'}",
    ])  # fmt: skip
    run(clips, str(work / "dataset"), resolve(settings))
    assert Dataset.open(work / "dataset").row_count("samples") >= 2
    changes = [part for change in FIT for part in ("--set", change)]
    fit = ["fit", str(work / "dataset"), "--out", str(work / "out"), "--preset", "small", "--device", "cpu"]
    assert main([*fit, *changes]) == 0
    return work


@pytest.fixture(scope="module")
def sample(work: Path) -> dict:
    return list(Dataset.open(work / "dataset").rows("samples"))[1]


@pytest.fixture(scope="module")
def photo(work: Path, sample: dict) -> Path:
    """The picture of one training frame, and beside it the body that the dataset stores of it."""
    images = {frame.index: frame.image for frame in decode(work / "walk.mp4")}
    path = work / "frame.png"
    cv2.imwrite(str(path), images[sample["frame_index"]][..., ::-1])
    frames = Dataset.open(work / "dataset").rows("frames")
    (row,) = [row for row in frames if row["frame_index"] == sample["frame_index"]]
    vector = row["body_vector"].astype(np.float64)
    stored = ImportedBodies(
        person=np.zeros(1, int),
        frame_index=np.zeros(1, int),
        pose=vector[VECTOR_POSE].reshape(1, 24, 3),
        betas=vector[VECTOR_BETAS][None],
        weak=vector[VECTOR_CAMERA][None],
        crop_px=row["crop_px"][None],
    )
    write_bodies(work / "stored/frame.npz", stored)
    return path


def predict(work: Path, *arguments: object) -> int:
    return main(["predict", *map(str, arguments), "--device", "cpu", "--only-npz"])


def test_the_depth_of_a_training_frame_is_the_datasets(
    work: Path, photo: Path, sample: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    """From its picture and its stored body; the dataset itself holds it in tenths of a millimetre."""
    done = predict(
        work, photo, "--checkpoint", work / "out", "--out", work / "a",
        "--set", f"tracking.bodies={work / 'stored'}", "--focal-px", FOCAL_PX,
    )  # fmt: skip
    assert done == 0
    assert "in training and now" not in capsys.readouterr().err
    found = Prediction.load(work / "a/frame.npz")
    dataset = Dataset.open(work / "dataset")
    resources = Resources(settings_of(dataset))
    camera = Camera(sample["K"], (512, 512))
    posed = body_from_vector(sample["body_vector"].astype(np.float64), camera, resources.body)
    surface = resources.mesh.vertices(posed.vertices)

    def drawn(K: np.ndarray) -> np.ndarray:
        return render(resources.rasterizer, surface, resources.body.faces, Camera(K, (MAP_PX, MAP_PX))).depth

    in_dataset = drawn(camera.resized((MAP_PX, MAP_PX)).K)
    # Half of a tenth of a millimetre, and what rounding the vector to float32 does on steep surfaces.
    assert np.abs(in_dataset - sample["base_depth"]).max() <= 0.5e-4 + 3e-6
    expected = drawn(found.K)
    assert (expected > 0).sum() > 3000
    np.testing.assert_array_equal(found.base_depth_m > 0, expected > 0)
    assert np.abs(found.base_depth_m - expected).max() < 1e-6
    assert found.placement is not None
    np.testing.assert_allclose(
        found.placement.picture_K(found.K, MAP_PX),
        [[FOCAL_PX, 0, 360], [0, FOCAL_PX, 270], [0, 0, 1]],
        atol=1e-6,
    )


def test_a_video_is_predicted_with_the_same_body(work: Path) -> None:
    done = predict(work, work / "walk.mp4", "--checkpoint", work / "out", "--out", work / "v", "--every", 8)
    assert done == 0
    found = [Prediction.load(path) for path in sorted((work / "v").glob("*.npz"))]
    assert len(found) >= 2
    placements = [each.placement for each in found]
    assert all(place is not None and place.pts_s is not None for place in placements)
    stored = {row["frame_index"]: row for row in Dataset.open(work / "dataset").rows("frames")}
    for each, place in zip(found, placements, strict=True):
        assert place is not None
        row = stored[place.frame_index]
        np.testing.assert_allclose(place.crop_px, row["crop_px"], atol=1e-9)
        np.testing.assert_allclose(each.K[:2] * 2, row["K"][:2], atol=1e-9)
        assert place.pts_s == pytest.approx(row["pts_s"])
    assert len(list((work / "v/full").glob("*.npz"))) == len(found)


def test_another_body_is_refused_and_can_be_accepted(
    work: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = work / "other.npz"
    with np.load(work / "body.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    np.savez(other, **arrays | {"v_template": arrays["v_template"] * 0.9})  # type: ignore[arg-type]
    given = [
        photo,
        "--checkpoint",
        work / "out",
        "--focal-px",
        FOCAL_PX,
        "--set",
        f"tracking.bodies={work / 'stored'}",
    ]
    changed = ["--set", f"body.file={other}"]
    assert predict(work, *given, "--out", work / "b", *changed) == 1
    assert "clothes.npz holds clothes of the body with SHA-256" in capsys.readouterr().err
    changed += ["--set", "rendering.clothes="]
    assert predict(work, *given, "--out", work / "b", *changed) == 2
    said = capsys.readouterr().err
    for word in ("body.file", "other.npz", "body.npz", "SHA-256", "--allow-mismatch", "--set body.file="):
        assert word in said
    assert predict(work, *given, "--out", work / "b", *changed, "--allow-mismatch") == 0
    assert predict(work, *given, "--out", work / "c", "--set", f"body.file={work / 'gone.npz'}") == 2
    assert "gone.npz" in capsys.readouterr().err
    same = work / "moved.npz"
    same.write_bytes((work / "body.npz").read_bytes())  # elsewhere, but the same file
    assert predict(work, *given, "--out", work / "d", "--set", f"body.file={same}") == 0
    changed = ["--set", "rendering.surface_offset_m=0.05", "--set", "camera.crop_margin=1.1"]
    assert predict(work, *given, "--out", work / "e", *changed) == 0
    said = capsys.readouterr().err
    assert "rendering.surface_offset_m is 0.026 and 0.05" in said
    assert "camera.crop_margin is 1.3 and 1.1" in said


def test_bodies_of_the_picture_have_to_be_named(
    work: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [photo, "--checkpoint", work / "out", "--focal-px", FOCAL_PX]
    assert predict(work, *given, "--out", work / "f") == 1
    said = capsys.readouterr().err
    assert "holds no bodies of the clip 'frame'" in said
    assert "tracking.bodies" in said


def test_without_a_checkpoint_the_base_depth_is_written_and_said(
    work: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_checkpoint(work / "out").recipe
    assert recipe is not None
    settings = [
        "tracking.tracker=imported",
        f"tracking.bodies={work / 'stored'}",
        f"body.file={work / 'body.npz'}",
        f"rendering.clothes={work / 'clothes.npz'}",
    ]
    changes = [part for change in [*settings, "camera.crop_margin=1.3"] for part in ("--set", change)]
    done = predict(work, photo, "--out", work / "g", "--preset", "released", *changes, "--focal-px", FOCAL_PX)
    assert done == 0
    assert "the base depth alone" in capsys.readouterr().err
    alone, refined = (Prediction.load(work / folder / "frame.npz") for folder in ("g", "a"))
    np.testing.assert_array_equal(alone.depth_m, alone.base_depth_m)
    np.testing.assert_array_equal(alone.base_depth_m, refined.base_depth_m)


def test_samples_of_the_dataset_know_their_place(work: Path, sample: dict) -> None:
    dataset = work / "dataset"
    assert predict(work, "--dataset", dataset, "--checkpoint", work / "out", "--out", work / "h") == 0
    rows = {row["frame_index"]: row for row in Dataset.open(dataset).rows("frames")}
    for path in sorted((work / "h").glob("*.npz")):
        place = Prediction.load(path).placement
        assert place is not None
        assert place.picture_hw == (540, 720)
        np.testing.assert_array_equal(place.crop_px, rows[place.frame_index]["crop_px"])
    assert len(list((work / "h/full").glob("*.npz"))) == len(list((work / "h").glob("*.npz")))


def test_a_network_that_learned_in_clothes_is_given_them(
    work: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without them, or with others, its offset would be added to another surface."""
    given = [
        photo, "--checkpoint", work / "out", "--out", work / "i", "--focal-px", FOCAL_PX,
        "--set", f"tracking.bodies={work / 'stored'}", "--set",
    ]  # fmt: skip
    assert predict(work, *given, "rendering.clothes=") in (1, 2)
    said = capsys.readouterr().err
    assert "rendering.clothes: this is none, the network was trained with" in said
    assert "--allow-mismatch" in said
    assert predict(work, *given, "rendering.clothes=", "--allow-mismatch") == 0
    clothed, naked = (Prediction.load(work / folder / "frame.npz") for folder in ("a", "i"))
    both = (clothed.base_depth_m > 0) & (naked.base_depth_m > 0)
    assert 0.004 < np.median((naked.base_depth_m - clothed.base_depth_m)[both]) < 0.04


def test_the_checkpoint_holds_the_recipe(work: Path) -> None:
    facts = json.loads((work / "out/checkpoint.json").read_text())["recipe"]
    assert facts["settings"]["rendering"]["surface_offset_m"] == 0.026
    assert facts["settings"]["tracking"]["tracker"] == "imported"
    assert len(facts["sha256"]["body.file"]) == 64
    assert set(facts["settings"]) == {"video", "camera", "body", "tracking", "gates", "refine", "rendering"}
    assert Settings.__dataclass_fields__.keys() >= facts["settings"].keys()
