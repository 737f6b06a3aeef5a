"""Depth in the picture's own pixels: what is rendered in the whole camera is what a crop of it put back gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from schemas.errors import DatasetError
from schemas.prediction import Placement, Prediction
from trainer.prediction_files import FULL, predict_into
from trainer.predictor import BaseDepth
from trainer.put_back import pasted, put_back, whole_picture
from trainer.subject import Subject
from trainer.surfaces import surface_points

HW = (300, 400)
FULL_K = np.array([[500.0, 0, 200], [0, 500.0, 150], [0, 0, 1]])
SIDE_PX = 256
CROPS = {
    "finer than the picture": (190.0, 140.0, 130.0),
    "coarser": (200.0, 150.0, 290.0),
    "at an odd place": (187.3, 141.7, 171.9),
    "beyond the left and upper edge": (40.2, 30.9, 160.0),
    "beyond the right and lower edge": (371.0, 282.0, 201.3),
    "all around the picture": (200.0, 150.0, 700.0),
}


def placement(crop: tuple[float, ...], **changes: object) -> Placement:
    box = np.array([crop[0] - 10, crop[1] - 20, crop[0] + 10, crop[1] + 20])
    made = Placement(picture="photo.jpg", picture_hw=HW, crop_px=np.array(crop), box_px=box)
    return replace(made, **changes)  # type: ignore[arg-type]


def crop_K(crop: tuple[float, ...], side_px: int = SIDE_PX) -> np.ndarray:
    return Camera(FULL_K, HW).cropped(np.array(crop), side_px).K


def rays(K: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) K^-1 (u, v, 1) at pixel centres."""
    v, u = np.mgrid[0 : hw[0], 0 : hw[1]] + 0.5
    return np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1)


def plane(K: np.ndarray, hw: tuple[int, int], normal: tuple[float, ...] = (0.3, -0.2, 1.0)) -> np.ndarray:
    """z of the plane n x = 4."""
    return 4.0 / (rays(K, hw) @ np.array(normal))


def sphere(K: np.ndarray, hw: tuple[int, int], centre: tuple[float, ...], radius: float) -> np.ndarray:
    ray, middle = rays(K, hw), np.array(centre)
    a, b = (ray**2).sum(-1), ray @ middle
    discriminant = b**2 - a * (middle @ middle - radius**2)
    return np.where(discriminant > 0, (b - np.sqrt(np.maximum(discriminant, 0))) / a, 0.0)


def predicted(depth: np.ndarray, crop: tuple[float, ...]) -> Prediction:
    depth = depth.astype(np.float32)
    return Prediction(
        depth_m=depth,
        base_depth_m=depth + np.float32(0.1) * (depth > 0),
        K=crop_K(crop),
        placement=placement(crop),
    )


def put_whole(prediction: Prediction) -> np.ndarray:
    assert prediction.placement is not None
    put, whole = put_back(prediction, prediction.placement), np.zeros(HW, np.float32)
    whole[put.rows, put.columns] = put.depth_m
    return whole


def inside_crop(crop: tuple[float, ...]) -> np.ndarray:
    """(H, W) bool: the picture's pixels whose centres the crop holds."""
    v, u = np.mgrid[0 : HW[0], 0 : HW[1]] + 0.5
    return (np.abs(u - crop[0]) < crop[2] / 2) & (np.abs(v - crop[1]) < crop[2] / 2)


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
def test_a_plane_comes_back_exactly(crop: tuple[float, ...]) -> None:
    """Its inverse depth is linear in pixels of both cameras: any error of position would show."""
    found = put_whole(predicted(plane(crop_K(crop), (SIDE_PX, SIDE_PX)), crop))
    inside = inside_crop(crop)
    assert np.array_equal(found > 0, inside)
    v, u = np.mgrid[0 : HW[0], 0 : HW[1]] + 0.5
    half_cell = crop[2] / SIDE_PX  # the outermost half cell has no neighbour beyond and takes the nearest
    inner = inside & (np.maximum(np.abs(u - crop[0]), np.abs(v - crop[1])) < crop[2] / 2 - half_cell)
    np.testing.assert_allclose(found[inner], plane(FULL_K, HW)[inner], rtol=2e-7 * 4)
    np.testing.assert_allclose(found[inside], plane(FULL_K, HW)[inside], rtol=0.3 * half_cell / 500)


@pytest.mark.parametrize("crop", [CROPS["coarser"], CROPS["at an odd place"]])
def test_a_sphere_comes_back_to_the_precision_of_its_map(crop: tuple[float, ...]) -> None:
    """0.4 m at 4 m: 50 px of radius in the picture, less or more in the map. Its rim is steep: cells decide."""
    centre = (0.0, -0.05, 4.0)
    found = put_whole(predicted(sphere(crop_K(crop), (SIDE_PX, SIDE_PX), centre, 0.4), crop))
    true = sphere(FULL_K, HW, centre, 0.4)
    both = (found > 0) & (true > 0)
    assert ((found > 0) != (true > 0)).sum() < 0.04 * (true > 0).sum()  # at most half a pixel of the rim
    off_axis = np.linalg.norm(rays(FULL_K, HW) * true[..., None] - centre, axis=-1)
    assert np.abs(off_axis[both] - 0.4).max() < 1e-9  # the oracle lies on the sphere
    points = rays(FULL_K, HW) * found[..., None]
    facing = both & (true < 4.0 - 0.2)
    assert facing.sum() > 2000
    assert np.abs(np.linalg.norm(points - centre, axis=-1)[facing] - 0.4).max() < 2e-4


def test_both_cameras_give_the_same_points() -> None:
    crop = CROPS["at an odd place"]
    where = placement(crop)
    np.testing.assert_allclose(where.picture_K(crop_K(crop), SIDE_PX), FULL_K, atol=1e-9)
    depth = plane(crop_K(crop), (SIDE_PX, SIDE_PX))
    points = surface_points(depth, crop_K(crop))
    px = points @ where.picture_K(crop_K(crop), SIDE_PX).T
    v, u = np.mgrid[0:SIDE_PX, 0:SIDE_PX] + 0.5
    in_picture = np.stack([u, v], -1) * crop[2] / SIDE_PX + np.array(crop[:2]) - crop[2] / 2
    np.testing.assert_allclose(px[..., :2] / px[..., 2:], in_picture, atol=1e-9)


def test_nothing_bleeds_in_from_the_background_or_across_a_jump() -> None:
    """A far half and a near half of a person: no pixel may lie between the two, and none before the person."""
    crop, depth = CROPS["at an odd place"], np.zeros((SIDE_PX, SIDE_PX), np.float32)
    depth[40:200, 60:128], depth[40:200, 128:180] = 4.0, 3.0
    found = put_whole(predicted(depth, crop))
    assert set(np.unique(found).round(5).tolist()) == {0.0, 3.0, 4.0}


def test_the_nearest_person_is_in_front_and_every_person_keeps_their_lens() -> None:
    near, far = CROPS["at an odd place"], CROPS["coarser"]
    people = [
        predicted(sphere(crop_K(far), (SIDE_PX, SIDE_PX), (0.1, 0.0, 6.0), 0.7), far),
        predicted(sphere(crop_K(near), (SIDE_PX, SIDE_PX), (0.0, 0.0, 4.0), 0.3), near),
    ]
    for order in ((0, 1), (1, 0)):
        whole = whole_picture([people[at] for at in order])
        single = [put_whole(people[at]) for at in order]
        both = (single[0] > 0) & (single[1] > 0)
        assert both.sum() > 500
        np.testing.assert_array_equal(whole.depth_m[both], np.minimum(*single)[both])
        np.testing.assert_array_equal(whole.depth_m > 0, (single[0] > 0) | (single[1] > 0))
        assert whole.person is not None
        assert whole.person_K is not None
        np.testing.assert_array_equal(whole.person[both], order.index(1) + 1)
        np.testing.assert_array_equal(whole.person > 0, whole.depth_m > 0)
        np.testing.assert_allclose(whole.base_depth_m - whole.depth_m, 0.1 * (whole.depth_m > 0), atol=2e-3)
        np.testing.assert_allclose(whole.person_K, [FULL_K, FULL_K], atol=1e-9)
    elsewhere = replace(people[0], placement=placement(far, picture_hw=(10, 10)))
    with pytest.raises(ValueError, match="one picture"):
        whole_picture([people[1], elsewhere])


def test_a_pasted_crop_lies_where_it_was_cut() -> None:
    """A linear ramp of the picture's pixel coordinates, sampled by a crop, is the same ramp again."""
    crop = CROPS["at an odd place"]
    v, u = np.mgrid[0:512, 0:512] + 0.5
    u, v = (axis * crop[2] / 512 + centre - crop[2] / 2 for axis, centre in ((u, crop[0]), (v, crop[1])))
    picture = pasted([np.stack([u, v, 0 * u], -1).astype(np.float32)], [placement(crop)])
    rows, columns = np.mgrid[80:210, 120:260]
    np.testing.assert_allclose(picture[rows, columns, 0], columns + 0.5, atol=0.03)  # 1/32 px: OpenCV's steps
    np.testing.assert_allclose(picture[rows, columns, 1], rows + 0.5, atol=0.03)


def test_a_placement_is_stored_and_read(tmp_path: Path) -> None:
    crop = CROPS["beyond the left and upper edge"]
    prediction = predicted(plane(crop_K(crop), (SIDE_PX, SIDE_PX)), crop)
    prediction = replace(prediction, placement=placement(crop, frame_index=17, pts_s=0.5667))
    prediction.save(tmp_path / "a.npz")
    found = Prediction.load(tmp_path / "a.npz").placement
    assert found is not None
    assert (found.picture, found.picture_hw, found.frame_index, found.pts_s) == ("photo.jpg", HW, 17, 0.5667)
    np.testing.assert_array_equal(found.crop_px, crop)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        np.testing.assert_allclose(stored["picture_K"], FULL_K, atol=1e-9)
        others = {name: stored[name] for name in stored.files}
    still = replace(prediction, placement=placement(crop))
    still.save(tmp_path / "photo.npz")
    found = Prediction.load(tmp_path / "photo.npz").placement
    assert found is not None
    assert (found.frame_index, found.pts_s) == (None, None)
    replace(prediction, placement=None).save(tmp_path / "old.npz")
    assert Prediction.load(tmp_path / "old.npz").placement is None
    np.savez(tmp_path / "bad.npz", **others | {"crop_px": np.array([1.0, 2.0, -3.0])})
    with pytest.raises(DatasetError, match="crop_px"):
        Prediction.load(tmp_path / "bad.npz")


def test_predict_writes_the_whole_picture_of_people_that_follow_one_another(tmp_path: Path) -> None:
    def subject(name: str, picture: str, crop: tuple[float, ...], centre: tuple[float, ...]) -> Subject:
        K = crop_K(crop, 512)
        return Subject(
            name=name,
            image=np.full((512, 512, 3), 0.25, np.float32),
            K=K,
            input_depth=sphere(K, (512, 512), centre, 0.3).astype(np.float32),
            base_depth=sphere(crop_K(crop), (256, 256), centre, 0.3).astype(np.float32),
            placement=placement(crop),
            picture_name=picture,
        )

    people = [
        subject("a-0", "a", CROPS["coarser"], (0.2, 0.0, 4.0)),
        subject("a-1", "a", CROPS["at an odd place"], (-0.2, 0.0, 4.5)),
        subject("b", "b", CROPS["coarser"], (0.0, 0.0, 4.0)),
    ]
    written = predict_into(tmp_path, iter(people), BaseDepth(), batch_size=2)
    assert [path.stem for path in written] == ["a-0", "a-1", "b"]
    whole = Prediction.load(tmp_path / FULL / "a.npz")
    assert whole.depth_m.shape == HW
    assert whole.person is not None
    assert set(np.unique(whole.person)) == {0, 1, 2}
    endings = {"-depth.png", "-normals.png", ".ply", ".glb", ".png", ".npz"}
    names = {path.name for path in (tmp_path / FULL).iterdir()}
    assert names == {f"{name}{ending}" for name in "ab" for ending in endings}
    true = np.maximum(sphere(FULL_K, HW, (0.2, 0.0, 4.0), 0.3), sphere(FULL_K, HW, (-0.2, 0.0, 4.5), 0.3))
    both = (whole.depth_m > 0) & (true > 0)
    assert both.sum() > 0.95 * (true > 0).sum()
    assert np.median(np.abs(whole.depth_m - true)[both]) < 1e-4
