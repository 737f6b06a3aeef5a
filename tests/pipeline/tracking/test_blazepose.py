"""Decoding against slow loops, tiles by their law, and the real networks under shifts, scales, turns and mirrors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.assets import asset_path
from pipeline.tracking.blazepose import (
    SEGMENTATION_PX,
    Landmarks,
    PoseModels,
    anchor_centres,
    coverage,
    decode_keypoints,
    logistic,
    refine_with_heatmap,
    tile_offsets,
)
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.regions import Region, transform
from schemas.errors import AssetError

NOSE, HIPS, ANKLES, SHOULDERS = 0, [23, 24], [27, 28], [11, 12]


def test_anchors_against_a_slow_loop():
    # MediaPipe's SSD anchors: layers of equal stride share cells; two anchors per cell and layer, rows first
    slow, strides, at = [], [8, 16, 32, 32, 32], 0
    while at < len(strides):
        last, per_cell = at, 0
        while last < len(strides) and strides[last] == strides[at]:
            per_cell += 2
            last += 1
        cells = 224 // strides[at]
        for row in range(cells):
            for column in range(cells):
                slow += [((column + 0.5) / cells, (row + 0.5) / cells)] * per_cell
        at = last
    centres = anchor_centres()
    assert centres.shape == (2254, 2)
    np.testing.assert_allclose(centres, slow, rtol=0, atol=1e-12)


def test_key_points_are_offsets_from_the_anchor():
    raw = np.arange(24.0).reshape(2, 12)
    centres = np.array([[0.5, 0.25], [0.0, 1.0]])
    expected = [
        [[112 + 4, 56 + 5], [112 + 6, 56 + 7], [112 + 8, 56 + 9], [112 + 10, 56 + 11]],
        [[16, 224 + 17], [18, 224 + 19], [20, 224 + 21], [22, 224 + 23]],
    ]
    np.testing.assert_array_equal(decode_keypoints(raw, centres), expected)


def test_logistic():
    np.testing.assert_allclose(logistic(np.array([0.0, np.log(3), -np.log(3)])), [0.5, 0.75, 0.25])
    with np.errstate(all="raise"):
        far = logistic(np.array([-1e9, 1e9], np.float32))
    np.testing.assert_allclose(far, [0, 1], atol=1e-20)
    x = np.random.default_rng(0).normal(size=100) * 10
    np.testing.assert_allclose(logistic(x) + logistic(-x), 1)


def refine_slowly(xy: np.ndarray, logits: np.ndarray) -> np.ndarray:
    size, out = logits.shape[0], xy.copy()
    for k, (x, y) in enumerate(xy):
        column, row = int(np.floor(x * size / 256)), int(np.floor(y * size / 256))
        if not (0 <= column < size and 0 <= row < size):
            continue
        total = sum_u = sum_v = best = 0.0
        for v in range(row - 3, row + 4):
            for u in range(column - 3, column + 4):
                if 0 <= u < size and 0 <= v < size:
                    confidence = 1 / (1 + np.exp(-float(logits[v, u, k])))
                    best = max(best, confidence)
                    total, sum_u, sum_v = total + confidence, sum_u + u * confidence, sum_v + v * confidence
        if best >= 0.5:
            out[k] = sum_u / total / size * 256, sum_v / total / size * 256
    return out


def test_refinement_against_a_slow_loop():
    rng = np.random.default_rng(4)
    xy = np.concatenate(
        [
            rng.uniform(0, 256, (60, 2)),
            [[0.0, 0.0], [255.9, 255.9], [1.0, 255.0], [250.0, 3.0]],  # windows cut by the map's border
            [[-0.1, 50.0], [256.0, 50.0], [40.0, -30.0], [300.0, 400.0]],  # outside of the map
        ]
    )
    logits = rng.normal(-4, 3, (64, 64, len(xy)))
    logits[..., 10:20] = -3.0  # nowhere confident
    refined = refine_with_heatmap(xy, logits)
    np.testing.assert_allclose(refined, refine_slowly(xy, logits), atol=1e-9)
    np.testing.assert_array_equal(refined[10:20], xy[10:20])
    np.testing.assert_array_equal(refined[-4:], xy[-4:])
    assert (np.abs(refined - xy).max(axis=1) > 0.1).sum() > 40


def test_refinement_goes_to_a_single_peak():
    logits = np.full((64, 64, 1), -50.0)
    logits[21, 12, 0] = 50.0
    np.testing.assert_allclose(refine_with_heatmap(np.array([[41.0, 90.0]]), logits), [[48.0, 84.0]])
    far = np.array([[80.0, 84.0]])  # eight cells away: the window does not see the peak
    np.testing.assert_array_equal(refine_with_heatmap(far, logits), far)


@pytest.mark.parametrize(
    "hw", [(1080, 1920), (1920, 1080), (994, 1768), (480, 640), (300, 2000), (721, 1283), (101, 107)]
)
def test_tiles_cover_the_image_and_overlap_by_half(hw):
    tiles = tile_offsets(hw)
    side, length = min(hw), max(hw)
    assert {tile[2] for tile in tiles} == {side}
    along, across = (0, 1) if hw[1] > hw[0] else (1, 0)
    starts = [tile[along] for tile in tiles]
    assert {tile[across] for tile in tiles} == {0}
    assert starts[0] == 0
    assert starts[-1] == length - side
    overlap = side - np.diff(starts)
    assert (overlap >= 0.5 * side - 1).all()  # whole pixels
    assert len(tiles) <= 2 * length / side + 1


def test_square_images_need_no_tiles():
    assert tile_offsets((500, 500)) == []
    assert tile_offsets((500, 520)) == []


def look(models: PoseModels, image: np.ndarray, region: Region) -> Landmarks:
    """The second look at a person, from their own landmarks' region."""
    return models.landmarks(image, models.landmarks(image, region).next_region)


@pytest.fixture(scope="module")
def people(pose_models, demo_frame) -> list[Landmarks]:
    """The two people of the demo frame, from left to right."""
    found = pose_models.detect_people(demo_frame, 0.6)
    seen = [look(pose_models, demo_frame, found.region(index)) for index in range(len(found.score))]
    return sorted(seen, key=lambda person: person.xy_px[:, 0].mean())


def height_of(person: Landmarks) -> float:
    return float(np.ptp(person.xy_px[:, 1]))


def off_by(found: np.ndarray, expected: np.ndarray, height: float) -> float:
    """Mean distance of landmarks as a share of the person's height."""
    return float(np.linalg.norm(found - expected, axis=-1).mean()) / height


def test_two_people_at_their_places(people):
    assert len(people) == 2
    man, woman = people
    assert 595 < man.xy_px[HIPS, 0].mean() < 670
    assert 1180 < woman.xy_px[HIPS, 0].mean() < 1290
    for person in people:
        assert person.score > 0.95
        rows = [person.xy_px[part, 1].mean() for part in (NOSE, SHOULDERS, HIPS, ANKLES)]
        assert rows == sorted(rows)
        upright = [person.world_m[part, 1].mean() for part in (NOSE, SHOULDERS, HIPS, ANKLES)]
        assert upright == sorted(upright)
        assert 1.0 < upright[-1] - upright[0] < 1.7  # from nose to ankles, metres
        assert np.linalg.norm(person.world_m[HIPS].mean(axis=0)) < 0.03
        assert ((person.visibility >= 0) & (person.visibility <= 1)).all()
        assert person.presence.min() > 0.5


def test_mixed_cells_are_shared_by_both_sides():
    """The background's logits are larger than the person's; half a cell is still half a cell."""
    logits = np.full((256, 256), -1500.0, np.float32)
    logits[:, 101:] = 200.0
    cells = coverage(logistic(logits))
    assert cells.shape == (SEGMENTATION_PX, SEGMENTATION_PX)
    assert (cells[:, :50] == 0).all()
    assert (abs(cells[:, 50].astype(int) - 127) <= 1).all()
    assert (cells[:, 51:] == 255).all()


def test_the_segmentation_lies_on_the_person(people):
    for person in people:
        assert person.segmentation.shape == (SEGMENTATION_PX, SEGMENTATION_PX)
        row, column = np.nonzero(person.segmentation > 128)
        on_image = transform(person.image_from_segmentation, np.stack([column, row], axis=-1) + 0.5)
        low, high = on_image.min(axis=0), on_image.max(axis=0)
        # the outline holds the landmarks of trunk and limbs, and little more
        body = person.xy_px[[11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]]
        margin = 0.03 * height_of(person)
        assert (body > low - margin).all()
        assert (body < high + margin).all()
        assert 0.95 < (high - low)[1] / height_of(person) < 1.25


def shifted(region: Region, by: np.ndarray, scale: float = 1.0) -> Region:
    return Region(
        centre_px=region.centre_px * scale + by,
        side_px=region.side_px * scale,
        rotation_rad=region.rotation_rad,
    )


def test_shifting_the_image_shifts_the_landmarks(pose_models, demo_frame, people):
    image = np.pad(demo_frame, ((17, 5), (96, 0), (0, 0)))
    for person in people:
        before = pose_models.landmarks(demo_frame, person.next_region)
        after = pose_models.landmarks(image, shifted(person.next_region, np.array([96, 17])))
        assert off_by(after.xy_px, before.xy_px + [96, 17], height_of(person)) < 1e-3
        np.testing.assert_allclose(after.world_m, before.world_m, atol=3e-3)


def test_scaling_the_image_scales_the_landmarks(pose_models, demo_frame, people):
    small = cv2.resize(demo_frame, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    for person in people:
        before = pose_models.landmarks(demo_frame, person.next_region)
        after = pose_models.landmarks(small, shifted(person.next_region, np.zeros(2), 0.6))
        assert off_by(after.xy_px / 0.6, before.xy_px, height_of(person)) < 0.01


def test_turning_the_image_turns_pixels_and_metres(pose_models, demo_frame, people):
    width = demo_frame.shape[0]
    image = np.rot90(demo_frame, k=-1).copy()  # clockwise: (u, v) -> (height - v, u)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    for person in people:
        region = person.next_region
        before = pose_models.landmarks(demo_frame, region)
        after = pose_models.landmarks(
            image,
            Region(
                centre_px=turn @ region.centre_px + [width, 0],
                side_px=region.side_px,
                rotation_rad=region.rotation_rad + np.pi / 2,
            ),
        )
        assert off_by(after.xy_px, before.xy_px @ turn.T + [width, 0], height_of(person)) < 2e-3
        expected = np.concatenate([before.world_m[:, :2] @ turn.T, before.world_m[:, 2:]], axis=-1)
        np.testing.assert_allclose(after.world_m, expected, atol=0.01)


def test_a_mirrored_image_exchanges_left_and_right(pose_models, demo_frame, people):
    width, twin = demo_frame.shape[1], mirror_permutation()
    image = demo_frame[:, ::-1].copy()
    found = pose_models.detect_people(image, 0.6)
    assert len(found.score) == 2
    seen = sorted(
        (look(pose_models, image, found.region(index)) for index in range(2)),
        key=lambda person: -person.xy_px[:, 0].mean(),
    )
    for before, after in zip(people, seen, strict=True):
        back = [width, 0] + after.xy_px[twin] * [-1, 1]
        assert off_by(back, before.xy_px, height_of(before)) < 0.03
        assert np.linalg.norm(after.world_m[twin] * [-1, 1, 1] - before.world_m, axis=-1).mean() < 0.1


def test_two_looks_know_no_side(pose_models, demo_frame, people):
    """A look and one at the mirrored crop are, in a mirrored image, the same two; whom they follow stays."""
    models = PoseModels(mirrored_look=True)
    width, twin = demo_frame.shape[1], mirror_permutation()
    for person in people:
        region = person.next_region
        turned = Region(
            centre_px=region.centre_px * [-1, 1] + [width, 0],
            side_px=region.side_px,
            rotation_rad=-region.rotation_rad,
        )
        before = models.landmarks(demo_frame, region)
        after = models.landmarks(demo_frame[:, ::-1].copy(), turned)
        assert off_by([width, 0] + after.xy_px[twin] * [-1, 1], before.xy_px, height_of(before)) < 2e-3
        np.testing.assert_allclose(after.world_m[twin] * [-1, 1, 1], before.world_m, atol=0.01)
        alone = pose_models.landmarks(demo_frame, region)
        np.testing.assert_array_equal(before.next_region.centre_px, alone.next_region.centre_px)
        assert 0 < off_by(before.xy_px, alone.xy_px, height_of(before)) < 0.03


def test_the_heavier_model_looks_when_asked_and_says_so(pose_models, demo_frame, people):
    """The usual model stands in for it: the same numbers, marked; without one every look is the usual one's."""
    models = PoseModels(heavier_path=asset_path("pose_landmark_full.tflite"))
    region = people[0].next_region
    usual, heavier = (models.landmarks(demo_frame, region, heavier=heavier) for heavier in (False, True))
    assert (usual.heavier, heavier.heavier) == (False, True)
    np.testing.assert_array_equal(heavier.xy_px, usual.xy_px)
    np.testing.assert_array_equal(heavier.world_m, usual.world_m)
    assert not pose_models.landmarks(demo_frame, region, heavier=True).heavier


def test_detection_follows_the_image(pose_models, demo_frame, people):
    """Cut, shrunk, in a corner: still the same two people, with no tile at the same place as before."""
    small = cv2.resize(demo_frame[:, 300:1500], None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    found = pose_models.detect_people(small, 0.6)
    assert len(found.score) == 2
    seen = [look(pose_models, small, found.region(index)) for index in range(2)]
    seen.sort(key=lambda person: person.xy_px[:, 0].mean())
    for before, after in zip(people, seen, strict=True):
        assert off_by(after.xy_px / 0.7 + [300, 0], before.xy_px, height_of(before)) < 0.02


def test_an_empty_image_shows_nobody(pose_models):
    assert len(pose_models.detect_people(np.full((300, 500, 3), 90, np.uint8), 0.5).score) == 0


@pytest.mark.parametrize("damage", ["garbage", "empty", "half", "missing"])
def test_a_broken_model_names_the_remedy(tmp_path, damage):
    path = tmp_path / "pose_detection.tflite"
    model = asset_path("pose_detection.tflite").read_bytes()
    content = {"garbage": bytes(range(256)) * 50, "empty": b"", "half": model[: len(model) // 2]}
    if damage in content:
        path.write_bytes(content[damage])
    with pytest.raises(AssetError, match=r"python -m pipeline fetch") as caught:
        PoseModels(detector_path=path)
    assert str(path) in caught.value.message


def test_the_wrong_model_is_refused():
    detector, landmarker = asset_path("pose_detection.tflite"), asset_path("pose_landmark_full.tflite")
    with pytest.raises(AssetError, match=r"another model.*195.*fetch"):
        PoseModels(detector_path=landmarker)
    with pytest.raises(AssetError, match=r"another model.*2254.*fetch"):
        PoseModels(landmark_path=detector)
