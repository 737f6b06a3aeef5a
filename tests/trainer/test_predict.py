"""What `predict` leaves: base plus offset, files that say the same, meshes that face the camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image, ImageOps

from pipeline.method.picture_bodies import PhotoBody
from schemas.errors import DatasetError, DecodeError, NobodyFoundError, SourceError
from schemas.prediction import Prediction, prediction_path
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import CENTRE_M, RADIUS_M, map_intrinsics, sphere_depth, sphere_row
from trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trainer.config import ModelSettings, Settings
from trainer.depth_files import PNG_UNITS_PER_M, depth_mesh, write_depth_png
from trainer.model import ReconNet
from trainer.photo_file import read_photo
from trainer.predict import subjects_of_files
from trainer.prediction_files import predict_into
from trainer.predictor import BaseDepth, Predictor
from trainer.subject import Subject, subjects_of_dataset
from trainer.surfaces import normals, surface_points
from trainer.turntable import FRAMES, turntable, write_turntable

TINY = ModelSettings(downs=3, width=8, stem_width=8, kernel_px=3, groups=2, blocks=1, head_blocks=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = [sphere_row(seed, track=f"clip/p0{seed % 2}", turns_deg=(9.0,)) for seed in range(6)]
    return str(write_dataset(tmp_path_factory.mktemp("predict") / "dataset", rows))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.manual_seed(3)
    model = ReconNet(TINY)
    torch.nn.init.normal_(model.last.weight, std=0.3)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, model, torch.optim.Adam(model.parameters()), Settings(model=TINY), 1, {})
    return load_checkpoint(folder)


@pytest.fixture(scope="module")
def predictor(checkpoint: Checkpoint) -> Predictor:
    return Predictor(checkpoint, "cpu")


@pytest.fixture
def sphere() -> Prediction:
    depth = sphere_depth(256, RADIUS_M).astype(np.float32)
    return Prediction(depth_m=depth, base_depth_m=depth, K=map_intrinsics(256))


def test_a_mirrored_look_makes_depth_of_mirror_images_mirror_images(
    dataset: str, checkpoint: Checkpoint
) -> None:
    (subject,) = list(subjects_of_dataset(dataset, ["clip/p01/000010"]))
    maps = {name: getattr(subject, name)[:, ::-1].copy() for name in ("image", "input_depth", "base_depth")}
    mirrored = replace(subject, **maps)

    def added_m(predictor: Predictor, shown: Subject) -> np.ndarray:
        found = predictor.predict(shown)
        return found.depth_m - found.base_depth_m

    once, twice = Predictor(checkpoint, "cpu"), Predictor(checkpoint, "cpu", mirrored_look=True)
    np.testing.assert_allclose(added_m(twice, mirrored), added_m(twice, subject)[:, ::-1], atol=1e-6)
    assert np.abs(added_m(once, mirrored) - added_m(once, subject)[:, ::-1]).max() > 1e-4
    mean = (added_m(once, subject) + added_m(once, mirrored)[:, ::-1]) / 2
    np.testing.assert_allclose(added_m(twice, subject), mean, atol=1e-6)


def test_depth_is_base_plus_offset(dataset: str, predictor: Predictor) -> None:
    (subject,) = list(subjects_of_dataset(dataset, ["clip/p01/000010"]))
    prediction = predictor.predict(subject)
    mask = subject.base_depth > 0
    assert np.array_equal(prediction.depth_m > 0, mask)
    offset = (prediction.depth_m - prediction.base_depth_m)[mask]
    assert np.abs(offset).max() <= 0.1 + 1e-6
    assert np.ptp(offset) > 1e-3
    np.testing.assert_allclose(prediction.K, map_intrinsics(256))


def test_samples_are_chosen_by_id_by_track_or_all(dataset: str) -> None:
    assert len(list(subjects_of_dataset(dataset))) == 6
    names = [subject.name for subject in subjects_of_dataset(dataset, per_track=1)]
    assert names == ["clip/p00/000020", "clip/p01/000030"]
    with pytest.raises(DatasetError, match="no sample 'nobody'"):
        list(subjects_of_dataset(dataset, ["nobody"]))


def test_files_say_the_same(dataset: str, predictor: Predictor, tmp_path: Path) -> None:
    (path,) = predict_into(tmp_path, subjects_of_dataset(dataset, ["clip/p00/000020"]), predictor)
    assert path == prediction_path(tmp_path, "clip/p00/000020")
    prediction = Prediction.load(path)
    stored = cv2.imread(str(path.with_name(f"{path.stem}-depth.png")), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    np.testing.assert_allclose(
        stored / PNG_UNITS_PER_M, prediction.depth_m, atol=0.5 / PNG_UNITS_PER_M + 1e-6
    )
    mesh = trimesh.load(path.with_suffix(".ply"), process=False)
    points = surface_points(prediction.depth_m, prediction.K)[prediction.depth_m > 0]
    np.testing.assert_allclose(mesh.vertices, points, atol=1e-5)
    assert cv2.imread(str(path.with_suffix(".png"))).shape[2] == 3
    glb = trimesh.load(path.with_suffix(".glb"), force="mesh", process=False)
    assert len(glb.faces) == len(mesh.faces)
    assert glb.face_normals[:, 2].mean() > 0.5  # towards the viewer: z in glTF's axes
    picture = cv2.imread(str(path.with_name(f"{path.stem}-normals.png")))[..., ::-1].astype(float)
    normal = normals(prediction.depth_m, prediction.K)
    seen = normal.any(axis=-1)
    np.testing.assert_allclose(2 * picture[seen] / 255 - 1, normal[seen] * [1, -1, -1], atol=0.005)
    assert not picture[~seen].any()
    only = predict_into(
        tmp_path / "only", subjects_of_dataset(dataset, ["clip/p00/000020"]), predictor, only_npz=True
    )
    assert list((tmp_path / "only").iterdir()) == only


def test_together_is_as_alone(dataset: str, predictor: Predictor, tmp_path: Path) -> None:
    """Five of six and then the last: the same files in the same order."""
    alone, together = (
        predict_into(
            tmp_path / str(size), subjects_of_dataset(dataset), predictor, only_npz=True, batch_size=size
        )
        for size in (1, 5)
    )
    assert [path.name for path in alone] == [path.name for path in together]
    assert len(alone) == 6
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_allclose(Prediction.load(first).depth_m, Prediction.load(second).depth_m, atol=1e-6)


def test_depth_png_beyond_its_range_is_its_end(tmp_path: Path) -> None:
    write_depth_png(tmp_path / "d.png", np.array([[0.0, 1.0], [13.0, 50.0]]))
    stored = cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED)
    assert stored.tolist() == [[0, 5000], [65000, 65535]]


def test_mesh_of_a_sphere_lies_on_it_and_faces_the_camera(sphere: Prediction) -> None:
    colours = np.random.default_rng(0).uniform(size=(256, 256, 3)).astype(np.float32)
    mesh = depth_mesh(sphere, colours)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - CENTRE_M, axis=1), RADIUS_M, atol=1e-5)
    towards_camera = -(mesh.face_normals * mesh.triangles_center).sum(axis=1)
    assert (towards_camera > 0).all()
    mask = sphere.depth_m > 0
    np.testing.assert_array_equal(
        mesh.visual.vertex_colors[:, :3], np.rint(255 * colours[mask]).astype(np.uint8)
    )


@pytest.mark.parametrize(("slope_deg", "is_kept"), [(79.0, True), (81.0, False)])
def test_faces_do_not_span_a_jump_of_depth(slope_deg: float, is_kept: bool) -> None:
    """A step between two columns: as steep as its height over the width of a pixel at the nearer depth."""
    K, depth = map_intrinsics(8), np.full((6, 8), 4.0, np.float32)
    depth[:, 4:] = 4.0 + np.tan(np.radians(slope_deg)) * 4.0 / K[0, 0]
    prediction = Prediction(depth_m=depth, base_depth_m=depth, K=K)
    mesh = depth_mesh(prediction, np.zeros((6, 8, 3), np.float32))
    assert len(mesh.faces) == 2 * 5 * (
        3 + 3 + is_kept
    )  # 5 rows of squares, and perhaps the column over the step
    assert (np.ptp(mesh.triangles[..., 2], axis=1).max() > 0) == is_kept


def test_normals_of_a_sphere_are_its_radii(sphere: Prediction) -> None:
    found = normals(sphere.depth_m, sphere.K)
    points = surface_points(sphere.depth_m, sphere.K)
    radial = (points - CENTRE_M) / RADIUS_M
    facing = (
        -(radial * points).sum(-1) / np.maximum(np.linalg.norm(points, axis=-1), 1e-9) > 0.5
    ) & found.any(axis=-1)
    angle = np.degrees(np.arccos(np.clip((found * radial).sum(-1)[facing], -1, 1)))
    assert facing.sum() > 1000
    assert np.median(angle) < 0.5


class Bodies:
    """What finds people, in place of networks that a test has no pictures for: two in every photo that is not black."""

    def of_photo(
        self,
        image: np.ndarray,
        *,
        focal_px: float | None = None,
        file: Path | None = None,
        name: str = "photo",
    ) -> list[PhotoBody]:
        if not image.any():
            raise NobodyFoundError("nobody was found in the photo.", remedy="Use another.")
        return [found_body(image.shape), found_body(image.shape)]

    def of_video(
        self, path: str, *, focal_px: float | None = None, every: int = 1
    ) -> Iterator[tuple[str, PhotoBody]]:
        if Path(path).stat().st_size:
            raise DecodeError(f"{path} is no video.", remedy="Use another.")
        yield from ((f"clip-s000-w000/p00/{at:06d}", found_body((90, 160), at)) for at in range(0, 4, every))


def found_body(hw: tuple[int, ...], frame_index: int | None = None) -> PhotoBody:
    depth = sphere_depth(512, RADIUS_M)
    return PhotoBody(
        image=np.zeros((512, 512, 3), np.uint8),
        K=map_intrinsics(512),
        input_depth=depth,
        base_depth=depth[::2, ::2],
        crop_px=np.array([hw[1] / 2, hw[0] / 2, max(hw)]),
        box_px=np.array([0.0, 0.0, hw[1], hw[0]]),
        picture_hw=(hw[0], hw[1]),
        frame_index=frame_index,
        pts_s=None if frame_index is None else frame_index / 30,
    )


BODIES: Any = Bodies()


def test_files_that_are_no_photos(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a photo")
    (tmp_path / "empty.jpg").write_bytes(b"")
    whole = cv2.imencode(".png", np.full((40, 40, 3), 200, np.uint8))[1].tobytes()
    (tmp_path / "cut.png").write_bytes(whole[:40])
    for name in ("text.jpg", "empty.jpg", "cut.png"):
        with pytest.raises(DecodeError, match=name):
            list(subjects_of_files([str(tmp_path / name)], BODIES))
    with pytest.raises(SourceError, match=r"missing\.jpg"):
        list(subjects_of_files([str(tmp_path / "missing.jpg")], BODIES))


@pytest.mark.parametrize(
    ("name", "kind"), [("a.heic", "HEIC"), ("a.HEIF", "HEIF"), ("phone.jpg", "HEIC"), ("a.dng", "DNG")]
)
def test_photos_of_other_formats_are_called_by_their_name(tmp_path: Path, name: str, kind: str) -> None:
    """A phone's HEIC file, whatever it is called."""
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    with pytest.raises(DecodeError, match=rf"{name} is a {kind} photo.*[Cc]onvert"):
        read_photo(tmp_path / name)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_upright(tmp_path: Path, ending: str, orientation: int) -> None:
    """As their EXIF orientation says: the white corner is where Pillow puts it."""
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:16, :24] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{ending}"
    Image.fromarray(stored).save(path, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    found = read_photo(path)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 2


def test_a_turntable_turns_the_surface_and_comes_back(sphere: Prediction, tmp_path: Path) -> None:
    v, u = np.mgrid[0:256, 0:256] / 255
    frames = turntable(sphere, np.stack([u, v, 0 * u], -1).astype(np.float32))
    assert frames.shape == (FRAMES, 256, 256, 3)
    mask = sphere.depth_m > 0
    assert np.abs(frames[0][mask, 0] / 255 - u[mask]).mean() < 0.02  # not turned: the photo itself
    centre = [int(frame[128, 128, 0]) for frame in frames]
    quarter = FRAMES // 4
    assert abs(centre[quarter] - centre[0]) > 10
    assert np.sign(centre[quarter] - centre[0]) == -np.sign(centre[3 * quarter] - centre[0])
    write_turntable(tmp_path / "t.gif", frames)
    with Image.open(tmp_path / "t.gif") as gif:
        assert gif.n_frames == FRAMES


def test_folders_and_videos_are_walked_and_what_fails_is_left_out(tmp_path: Path) -> None:
    for name, value in (("one/a.jpg", 255), ("two/a.png", 255), ("two/empty.png", 0)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), value, np.uint8))
    (tmp_path / "clip.mp4").write_bytes(b"")
    (tmp_path / "broken.mp4").write_bytes(b"1")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "phone.heic").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    said: list[str] = []
    found = list(subjects_of_files([str(tmp_path)], BODIES, every=2, warn=said.append))
    assert [subject.name for subject in found] == [
        "clip/p00/000000",
        "clip/p00/000002",
        "one-a.jpg-0",
        "one-a.jpg-1",
        "two-a.png-0",
        "two-a.png-1",
    ]
    places = [subject.placement for subject in found]
    assert [place.frame_index for place in places if place] == [0, 2, None, None, None, None]
    assert [place.picture_hw for place in places if place][1:3] == [(90, 160), (8, 8)]
    assert [subject.picture is None for subject in found] == [True, True, False, False, False, False]
    for name in ("broken.mp4", "cut.jpg", "empty.png", "phone.heic"):
        assert sum(name in line for line in said) == 1
    assert said[-1] == "3 of 6 files were left out"
    with pytest.raises(NobodyFoundError, match=r"empty\.png"):
        list(subjects_of_files([str(tmp_path / "two/empty.png")], BODIES))
    (tmp_path / "bare").mkdir()
    with pytest.raises(SourceError, match="no photo and no video"):
        list(subjects_of_files([str(tmp_path / "bare")], BODIES))


def test_names_that_would_be_one_file_stay_apart(tmp_path: Path) -> None:
    """Two people in a.jpg, two in a-0.jpg, two in "a 0.jpg", which is a_0 as a file; a photo named twice is one."""
    for name in ("a.jpg", "a-0.jpg", "b 1.jpg", "b_1.jpg"):
        cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 255, np.uint8))
    subjects = subjects_of_files([str(tmp_path), str(tmp_path / "a.jpg")], BODIES)
    written = predict_into(tmp_path / "out", subjects, BaseDepth(), only_npz=True)
    assert len({path.name for path in written}) == 8
    assert len(list((tmp_path / "out/full").iterdir())) == 4


def test_an_empty_body_leaves_its_photo_out(tmp_path: Path) -> None:
    class Outside(Bodies):
        def of_photo(
            self,
            image: np.ndarray,
            *,
            focal_px: float | None = None,
            file: Path | None = None,
            name: str = "photo",
        ) -> list[PhotoBody]:
            seen, unseen = super().of_photo(image)
            return [seen, replace(unseen, base_depth=np.zeros((256, 256)))]

    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8, 3), 255, np.uint8))
    said: list[str] = []
    bodies: Any = Outside()
    found = list(subjects_of_files([str(tmp_path / "a.png")], bodies, warn=said.append))
    assert [subject.name for subject in found] == ["a-0"]
    assert "a-1" in said[0]


def test_names_never_leave_the_folder(tmp_path: Path) -> None:
    for name in ("../../etc/passwd", "/etc/passwd", "..", "a/../../b"):
        assert prediction_path(tmp_path, name).resolve().parent == tmp_path.resolve()
