"""Another background behind the person: the person stays, and a sequence may keep one for all its pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.trainer.tracknet.made_up import write_pictures
from trainer.tracknet.config import PictureSettings
from trainer.tracknet.pictures import Pictures, read_pictures


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures.parquet")


def test_other_backgrounds_leave_the_person(table: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 400, 3), (10, 200, 30), np.uint8))
    kept = PictureSettings(
        flip=False, occluder_share=0, colour_jitter=False, scale_jitter=0, shift_jitter=0, background="keep"
    )
    refs = read_pictures([str(table)])
    before = Pictures(refs, kept, 64, seed=0, training=True)
    after = Pictures(
        refs,
        replace(kept, background="replace"),
        64,
        seed=0,
        training=True,
        backgrounds=[tmp_path / "wall.png"],
    )
    replaced = 0
    for epoch in range(8):
        (old, vector_before), (new, vector_after) = before[epoch, 3], after[epoch, 3]
        assert torch.equal(vector_before, vector_after)
        torch.testing.assert_close(new[:, 10:54, 22:42], old[:, 10:54, 22:42])  # well inside the person
        is_wall = torch.allclose(new[:, 2, 2], torch.tensor([30.0, 200, 10]) / 255, atol=0.01)
        assert is_wall or torch.equal(new, old)
        replaced += is_wall
    assert 0 < replaced < 8


def test_one_background_for_each_sequence(table: Path) -> None:
    """Every picture of a source has the same one, in every epoch; another source has another."""
    still = PictureSettings(
        flip=False, occluder_share=0, colour_jitter=False, scale_jitter=0, shift_jitter=0,
        background_per="sequence", background_share=1.0,
    )  # fmt: skip
    refs = read_pictures([str(table)])
    refs = [replace(ref, source_id="first" if at < 3 else "second") for at, ref in enumerate(refs[:6])]
    pictures = Pictures(refs, still, 64, seed=0, training=True)
    behind = [pictures[epoch, at][0][:, :, :8] for epoch, at in ((0, 0), (0, 1), (4, 2), (0, 3), (3, 5))]
    assert torch.equal(behind[0], behind[1])
    assert torch.equal(behind[0], behind[2])
    assert torch.equal(behind[3], behind[4])
    assert (behind[0] - behind[3]).abs().mean() > 0.02
    half = Pictures(refs, replace(still, background_share=0.5), 64, seed=0, training=True)
    for at in range(6):  # a sequence is changed as a whole or not at all
        seen = [half[epoch, at][0][:, :, :8] for epoch in range(3)]
        assert torch.equal(seen[0], seen[1])
        assert torch.equal(seen[0], seen[2])
