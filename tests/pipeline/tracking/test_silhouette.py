"""Coverage against a loop over cells and against cv2, overlaps and outlines of shapes whose answer is known."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.records import PERSON_PX, unpacked_person
from pipeline.tracking.blazepose import SEGMENTATION_PX
from pipeline.tracking.people import Observations
from pipeline.tracking.regions import Region, transform
from pipeline.tracking.silhouette import MASK_PX, covered, person_cells, silhouette_iou, silhouettes_of
from tests.support.toy_people import ToyBody, observations


def covered_slowly(vertices: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """Every cell against every triangle, of either orientation."""
    row, column = np.mgrid[0:size, 0:size] + 0.5
    mask = np.zeros((size, size), bool)
    for face in faces:
        a, b, c = vertices[face]
        sides = [
            (q[0] - o[0]) * (row - o[1]) - (q[1] - o[1]) * (column - o[0])
            for o, q in ((a, b), (b, c), (c, a))
        ]
        mask |= (np.min(sides, axis=0) >= 0) | (np.max(sides, axis=0) <= 0)
    return mask


def projected_toy(seed: int, scale: float, centre: float) -> tuple[np.ndarray, np.ndarray]:
    body = ToyBody()
    pose = np.random.default_rng(seed).normal(0, 0.5, (24, 3))
    pose[0] = Rotation.random(random_state=seed).as_rotvec()
    return body.vertices(pose, np.zeros(10), np.zeros(3))[:, :2] * scale + centre, body.faces


@pytest.mark.parametrize(("seed", "scale", "centre"), [(1, 12, 16), (2, 20, 14), (3, 40, 0), (4, 12, 60)])
def test_coverage_against_a_slow_loop(seed, scale, centre):
    """Spindles are closed, so the triangles of one orientation cover all that any cover; some lie outside."""
    vertices, faces = projected_toy(seed, scale, centre)
    expected = covered_slowly(vertices, faces, 32)
    np.testing.assert_array_equal(covered(vertices, faces, 32), expected)
    np.testing.assert_array_equal(covered(vertices, faces[:, ::-1], 32), expected)
    assert expected.any() == (centre < 60)


@pytest.mark.parametrize("seed", range(3))
def test_the_open_body_against_cv2(seed):
    """cv2 fills what it touches: ours lies inside its fill, which reaches no further than a cell beyond ours."""
    body = BodyModel.open_body()
    pose = np.random.default_rng(seed).normal(0, 0.2, (24, 3))
    pose[0] = Rotation.random(random_state=seed).as_rotvec()
    vertices = body.vertices(pose, np.zeros(10), np.zeros(3))[:, :2] * 110 + 128
    drawn = np.zeros((256, 256), np.uint8)
    for corners in np.rint((vertices[body.faces] - 0.5) * 256).astype(np.int32):
        cv2.fillConvexPoly(drawn, corners, 1, lineType=cv2.LINE_8, shift=8)
    ours = covered(vertices, body.faces, 256)
    assert not (ours & (drawn == 0)).any()
    beyond = (drawn == 1) & (cv2.dilate(ours.astype(np.uint8), np.ones((3, 3))) == 0)
    assert beyond.sum() < 0.002 * ours.sum()  # tips of fingers thinner than a cell
    assert ours.sum() > 2000
    # a closed surface: the triangles that look away cover the same
    assert np.count_nonzero(covered(vertices, body.faces[:, ::-1], 256) != ours) < 0.002 * ours.sum()


def test_coverage_of_a_rectangle_in_closed_form():
    corners = np.array([[3.2, 4.0], [9.6, 4.0], [9.6, 12.4], [3.2, 12.4]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    mask = covered(corners, faces, 16)
    expected = np.zeros((16, 16), bool)
    expected[4:12, 3:10] = True  # centres 4.5 ... 11.5 and 3.5 ... 9.5
    np.testing.assert_array_equal(mask, expected)
    assert not covered(corners, faces[:, ::-1], 16).any()  # turned away


def test_huge_triangles_cost_little_memory():
    """A body that a failed fit puts at the camera: every triangle spans the whole mask and far beyond."""
    rng = np.random.default_rng(0)
    vertices = rng.uniform(-1e6, 1e6, (300, 2))
    faces = rng.integers(0, 300, (400, 3))
    tracemalloc.start()
    mask = covered(vertices, faces, 256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mask.any()
    assert peak < 64e6


def test_points_without_an_image_cover_nothing():
    corners = np.array([[np.nan, np.nan], [9.6, 4.0], [9.6, 12.4]])
    assert not covered(corners, np.array([[0, 1, 2], [0, 2, 1]]), 16).any()


BOX = (40, 32, 80, 96)
"""Left, top, right, bottom of a rectangle in cells of the segmentation."""


def rectangle_seen(
    box=BOX, region: Region | None = None, image_hw: tuple[int, int] = (600, 600), soft: int = 0
) -> Observations:
    """A person whose segmentation is a rectangle, twice: in frame 0 nothing, in frame 1 the rectangle."""
    segmentation = np.zeros((2, SEGMENTATION_PX, SEGMENTATION_PX), np.uint8)
    left, top, right, bottom = box
    segmentation[1, top:bottom, left:right] = 255
    if soft:
        segmentation[1] = cv2.blur(segmentation[1], (soft, soft))
    region = region or Region(centre_px=np.array([300.0, 300.0]), side_px=384.0, rotation_rad=0.0)
    affine = np.repeat(region.image_from_crop(SEGMENTATION_PX)[None], 2, axis=0)
    return observations(
        np.arange(2) / 30,
        np.zeros((2, 33, 2)),
        np.zeros((2, 33, 3)),
        image_hw=image_hw,
        segmentation=segmentation,
        image_from_segmentation=affine,
    )


def box_mesh(seen: Observations, box, shift=(0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    """The rectangle as a closed mesh in image pixels: two triangles to the front, two to the back."""
    left, top, right, bottom = box
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float) + shift
    return transform(seen.image_from_segmentation[1], corners), np.array(
        [[0, 1, 2], [0, 2, 3], [0, 2, 1], [0, 3, 2]]
    )


TURNED = Region(centre_px=np.array([310.0, 290.0]), side_px=300.0, rotation_rad=0.6)


@pytest.mark.parametrize("region", [None, TURNED])
@pytest.mark.parametrize(
    ("shift", "iou"), [((0, 0), 1.0), ((20, 0), 1 / 3), ((0, 32), 1 / 3), ((40, 0), 0.0), ((48, 0), 0.0)]
)
def test_overlap_of_shifted_rectangles(region, shift, iou):
    seen = rectangle_seen(region=region)
    silhouettes = silhouettes_of(seen, 0.5)
    vertices, faces = box_mesh(seen, BOX, shift)
    assert silhouette_iou(silhouettes, 1, vertices, faces) == pytest.approx(iou, abs=0.02 if region else 1e-9)
    assert silhouette_iou(silhouettes, 0, vertices, faces) == 0


@pytest.mark.parametrize("region", [None, TURNED])
def test_the_outline_lies_on_the_edge(region):
    seen = rectangle_seen(region=region)
    silhouettes = silhouettes_of(seen, 0.5)
    assert silhouettes.contour_weight[1].all()
    assert not silhouettes.contour_weight[0].any()
    cells = (silhouettes.contour_px[1] - seen.image_from_segmentation[1, :, 2]) @ np.linalg.inv(
        seen.image_from_segmentation[1, :, :2]
    ).T
    left, top, right, bottom = BOX
    to_edges = np.stack([cells[:, 0] - left, right - cells[:, 0], cells[:, 1] - top, bottom - cells[:, 1]])
    # the outline runs through the centres of the mask's outermost cells, a quarter of a segmentation cell inside
    np.testing.assert_allclose(to_edges.min(axis=0), 0.25, atol=1e-9)
    for edge in to_edges:  # evenly spaced: each edge has its share of the perimeter
        assert 15 < np.isclose(edge, 0.25).sum() < 36


@pytest.mark.parametrize("region", [None, TURNED])
def test_distance_outside_is_in_image_pixels(region):
    seen = rectangle_seen(region=region)
    silhouettes = silhouettes_of(seen, 0.5)
    px_per_cell = (region.side_px if region else 384.0) / MASK_PX
    np.testing.assert_allclose(silhouettes.px_per_cell, px_per_cell)
    left, top, right, bottom = (2 * edge for edge in BOX)
    cells = np.arange(MASK_PX) + 0.5
    across = np.maximum(np.maximum(left - cells, cells - right), 0)
    assert silhouettes.outside_px.shape == (2, MASK_PX // 2, MASK_PX // 2)
    row = silhouettes.outside_px[1, (top + bottom) // 4]
    np.testing.assert_allclose(row, across.reshape(-1, 2).mean(axis=1) * px_per_cell, rtol=1e-5)
    inside = silhouettes.mask(1).reshape(MASK_PX // 2, 2, MASK_PX // 2, 2).all(axis=(1, 3))
    assert inside.any()
    assert not silhouettes.outside_px[1][inside].any()
    # off a corner: cv2's 5x5 chamfer is right to 2 %
    corner = silhouettes.outside_px[1, top // 2 - 16, left // 2 - 21] / px_per_cell
    assert corner == pytest.approx(np.hypot(41, 31) - 0.5, rel=0.02)


def test_mask_and_image_map_onto_each_other():
    seen = rectangle_seen(region=TURNED)
    silhouettes = silhouettes_of(seen, 0.5)
    corners = np.array([[0.0, 0], [128, 0], [64, 64], [20, 100]])
    in_mask = transform(silhouettes.mask_from_image[1], transform(seen.image_from_segmentation[1], corners))
    np.testing.assert_allclose(in_mask, 2 * corners, atol=1e-9)


def test_a_higher_threshold_is_thinner():
    seen = rectangle_seen(soft=17)
    low, high = (silhouettes_of(seen, threshold).mask(1) for threshold in (0.5, 0.85))
    assert (low | high == low).all()
    # the blurred edge falls over 17 cells = 34 of the mask's: .35 of them lie between the thresholds, on both sides
    middle = MASK_PX // 2
    assert low[middle].sum() == pytest.approx(80, abs=2)
    assert low[middle].sum() - high[middle].sum() == pytest.approx(2 * 0.35 * 34, abs=3)


def test_cuts_by_the_region_are_no_outline():
    seen = rectangle_seen(box=(40, 32, 128, 96))  # reaches the region's right border
    silhouettes = silhouettes_of(seen, 0.5)
    cells = transform(silhouettes.mask_from_image[1], silhouettes.contour_px[1])
    counts = silhouettes.contour_weight[1] == 1
    assert not counts[cells[:, 0] > MASK_PX - 2].any()
    assert counts[cells[:, 0] < MASK_PX - 3].all()
    assert 0.1 < 1 - counts.mean() < 0.5


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_cuts_by_the_image_are_no_outline(side):
    """The image ends inside the region; the segmentation ends with it, along a line that is no outline."""
    # region: 384 px around (300, 300), 3 px per cell; the rectangle covers u 228..348, v 204..396
    moves = {"left": (-228.0, 0.0), "right": (0.0, 0.0), "top": (0.0, -204.0), "bottom": (0.0, 0.0)}
    image_hw = {"left": (600, 600), "right": (600, 348), "top": (600, 600), "bottom": (396, 600)}[side]
    centre = np.array([300.0, 300.0]) + moves[side]
    region = Region(centre_px=centre, side_px=384.0, rotation_rad=0.0)
    silhouettes = silhouettes_of(rectangle_seen(region=region, image_hw=image_hw), 0.5)
    points, counts = silhouettes.contour_px[1], silhouettes.contour_weight[1] == 1
    axis = 0 if side in ("left", "right") else 1
    extent = image_hw[1] if axis == 0 else image_hw[0]
    distance = points[:, axis] if side in ("left", "top") else extent - points[:, axis]
    assert not counts[distance < 3.0].any()
    assert counts[distance > 3.1].all()
    assert 0.1 < 1 - counts.mean() < 0.45


def test_the_mask_is_where_the_segmentation_reaches_the_threshold():
    seen = rectangle_seen()
    seen.segmentation[1] = np.random.default_rng(4).integers(0, 256, seen.segmentation[1].shape)
    silhouettes = silhouettes_of(seen, 0.6)
    soft = cv2.resize(seen.segmentation[1], (MASK_PX, MASK_PX), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(silhouettes.mask(1), soft > 255 * 0.6)
    assert silhouettes.is_seen.tolist() == [False, True]


def test_a_mask_seen_nowhere():
    silhouettes = silhouettes_of(rectangle_seen(), 1.0)
    assert not silhouettes.is_seen.any()
    assert not silhouettes.contour_weight.any()
    assert not silhouettes.outside_px.any()


@pytest.mark.parametrize("region", [None, TURNED])
def test_the_outline_in_a_crop_is_the_masks(region):
    """Cell by cell: the mask where the cell's centre falls, but for cells that the outline itself crosses."""
    silhouettes = silhouettes_of(rectangle_seen(region=region), 0.5)
    crop_px = np.array([[300.0, 310.0, 400.0], [290.0, 280.0, 333.0]])
    blind, found = map(unpacked_person, person_cells(silhouettes, crop_px))
    assert blind.all()  # nothing was segmented: nothing is known
    assert found.shape == (PERSON_PX, PERSON_PX)
    u, v, side = crop_px[1]
    row, column = np.mgrid[0:PERSON_PX, 0:PERSON_PX] + 0.5
    image_px = np.stack([column, row], axis=-1) * side / PERSON_PX + [u - side / 2, v - side / 2]
    cell = np.floor(transform(silhouettes.mask_from_image[1], image_px)).astype(int)
    inside = ((cell >= 0) & (cell < MASK_PX)).all(axis=-1)
    mask = silhouettes.mask(1)[np.clip(cell[..., 1], 0, MASK_PX - 1), np.clip(cell[..., 0], 0, MASK_PX - 1)]
    expected = (mask & inside).astype(np.uint8)
    near = cv2.dilate(expected, np.ones((3, 3))) != cv2.erode(expected, np.ones((3, 3)))
    np.testing.assert_array_equal(found[~near], expected[~near])
    assert 0.05 < expected.mean() < 0.6
    assert (found != expected).mean() < 0.02


def test_outlines_are_the_same_without_distances():
    rng = np.random.default_rng(5)
    segmentation = np.zeros((2, SEGMENTATION_PX, SEGMENTATION_PX), np.uint8)
    segmentation[0, 20:90, 30:70] = rng.integers(0, 256, (70, 40))
    region = Region(centre_px=np.array([100.0, 90.0]), side_px=150.0, rotation_rad=0.3)
    affine = np.repeat(region.image_from_crop(SEGMENTATION_PX)[None], 2, axis=0)
    seen = observations(
        np.arange(2) / 30,
        np.zeros((2, 33, 2)),
        np.zeros((2, 33, 3)),
        image_hw=(200, 200),
        segmentation=segmentation,
        image_from_segmentation=affine,
    )
    whole, outlines = (silhouettes_of(seen, 0.5, distances=each) for each in (True, False))
    assert outlines.outside_px.size == 0
    for name in ("mask_bits", "mask_from_image", "px_per_cell", "contour_px", "contour_weight"):
        np.testing.assert_array_equal(getattr(outlines, name), getattr(whole, name))
