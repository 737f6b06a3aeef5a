"""Clips whose pictures look alike: copies are found, other people are not, and every clip has its turn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.audit import lookalikes as module
from pipeline.audit.figures import figures_of
from pipeline.audit.lookalikes import lookalikes, picture_hash
from pipeline.audit.scalars import AuditTables, read_tables
from pipeline.video.crops import decode_image
from schemas.dataset import Dataset
from tests.pipeline.audit.planted import made_up, write_tables
from tests.support.sample_rows import jpeg

FRAMES = 4


def recoded(data: bytes) -> bytes:
    """The same picture, half as large and back, brighter, in poor quality."""
    small = cv2.resize(decode_image(data), (256, 256), interpolation=cv2.INTER_AREA)
    large = cv2.convertScaleAbs(cv2.resize(small, (512, 512)), alpha=1.1)
    _, coded = cv2.imencode(".jpg", large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 40])
    return bytes(coded.tobytes())


@pytest.fixture
def tables(tmp_path: Path) -> AuditTables:
    """Clips a, b, c of a person each; those of c are b's pictures, coded again."""
    rng = np.random.default_rng(1)
    pictures = {clip: [jpeg(rng) for _ in range(FRAMES)] for clip in "ab"}
    pictures["c"] = [recoded(data) for data in pictures["b"]]
    made = made_up(list("abc"), FRAMES)
    count = 3 * FRAMES
    made["samples"] = {
        "sample_id": [f"{clip}/p00/{at}" for clip in "abc" for at in range(FRAMES)],
        "track_id": [f"{clip}/p00" for clip in "abc" for _ in range(FRAMES)],
        "frame_index": list(range(FRAMES)) * 3,
        "image": [picture for clip in "abc" for picture in pictures[clip]],
        "input_depth": [b"x"] * count, "base_depth": [b"x"] * count, "references": [[]] * count,
    }  # fmt: skip
    return read_tables(Dataset.open(write_tables(tmp_path, made)))


def test_a_copy_in_another_coding_is_found_and_nothing_else(tables: AuditTables) -> None:
    found = lookalikes(tables)
    assert found.clips == [(["b", "c"], ["source-b", "source-c"])]
    assert (found.compared, found.tracks) == (3, 3)
    (duplicate,) = figures_of(tables, alike=found).duplicates
    assert (duplicate.how, duplicate.members) == ("pictures look alike", ["b", "c"])


def test_every_clip_has_its_turn_before_any_has_a_second(
    tables: AuditTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module._one_of_every_clip_first(["a", "a", "b", "a", "c", "b"], [0, 1, 2, 3, 4, 5]) == [
        0,
        2,
        4,
        1,
        5,
        3,
    ]
    monkeypatch.setattr(module, "MAX_TRACKS", 2)
    found = lookalikes(tables)
    assert (found.clips, found.compared, found.tracks) == ([], 2, 3)


def test_a_hash_tells_which_cell_is_brighter_than_its_right_neighbour() -> None:
    ramp = np.tile(np.linspace(0, 255, 512).astype(np.uint8)[None, :, None], (512, 1, 3))
    assert picture_hash(ramp).all()
    assert not picture_hash(ramp[:, ::-1]).any()
