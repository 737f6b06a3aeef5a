"""People of unnumbered detections keep their numbers while their boxes overlap, in any order of detections."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.foreign.linking import MAX_GAP_FRAMES, boxes_of_places, linked_people, overlaps


def walkers(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, boxes and true people of three walkers side by side, detections shuffled and some missing."""
    rng = np.random.default_rng(seed)
    frame, boxes, who = [], [], []
    for number in range(40):
        for person in rng.permutation(3):
            if rng.random() < 0.25:
                continue
            left = 100.0 + 260 * person + 2 * number * (-1) ** person + rng.normal(0, 2)
            frame.append(number)
            boxes.append([left, 50, left + 150, 450 + rng.normal(0, 3)])
            who.append(person)
    return np.array(frame), np.array(boxes), np.array(who)


@pytest.mark.parametrize("seed", range(4))
def test_each_walker_has_one_number(seed: int) -> None:
    frame, boxes, who = walkers(seed)
    found = linked_people(frame, boxes)
    assert len({(a, b) for a, b in zip(found.tolist(), who.tolist())}) == 3
    shuffled = np.random.default_rng(seed + 9).permutation(len(frame))
    again = linked_people(frame[shuffled], boxes[shuffled])
    assert len({(a, b) for a, b in zip(again.tolist(), found[shuffled].tolist())}) == 3
    np.testing.assert_array_equal(found, linked_people(frame, boxes))


def test_two_boxes_of_a_frame_are_two_people_and_a_long_gap_ends_one() -> None:
    box = np.array([0.0, 0, 10, 20])
    same = linked_people(np.array([0, 0, 1, 1]), np.stack([box, box, box, box + 1]))
    assert same.tolist() == [0, 1, 0, 1]
    away = linked_people(np.array([0, MAX_GAP_FRAMES, 2 * MAX_GAP_FRAMES + 1]), np.stack([box] * 3))
    assert away.tolist() == [0, 0, 1]
    assert linked_people(np.array([0, 1]), np.stack([box, box + 8])).tolist() == [0, 1]


def test_overlap_is_intersection_over_union() -> None:
    boxes = np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [1, 1, 1, 1]])
    expected = [[1, 1 / 3, 0, 0], [1 / 3, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(overlaps(boxes, boxes), expected)


def test_boxes_of_places_are_where_and_as_large_as_people_are() -> None:
    (box,) = boxes_of_places(np.array([[0.5, -0.2, 4.0]]), 800.0)
    np.testing.assert_allclose(box, [100 - 60, -40 - 170, 100 + 60, -40 + 170])
