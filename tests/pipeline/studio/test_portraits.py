"""A portrait's vector is the body in its picture: rendered through the crop's camera it gives the known silhouette."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.commands.main import main
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.method.portraits import MARGIN
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from pipeline.studio.clip import StudioClip
from pipeline.studio.portraits import portraits_of
from pipeline.studio.settings import StudioSettings
from schemas.conventions import VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE
from schemas.portraits import PORTRAIT_PX, PORTRAITS
from schemas.shard import read_rows

SETTINGS = StudioSettings(height_px=160, width_px=160, supersampling=1, subdivisions=0, shake_deg=3.0)
SEEDS = (4, 7)
"""One of them is filmed by hand: its camera turns."""


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return list(portraits_of(SEEDS, SETTINGS, 2, []))


def crop_camera(clip: StudioClip, time_s: float) -> Camera:
    px = clip.camera.px_from_cam(clip.at(time_s).surface)
    low, high = px.min(axis=0), px.max(axis=0)
    return clip.camera.cropped(np.array([*(low + high) / 2, MARGIN * (high - low).max()]), PORTRAIT_PX)


def test_the_vector_renders_to_the_known_picture(rows: list[dict]) -> None:
    body, rasterizer = BodyModel.open_body(), CompiledRasterizer()
    turned = 0
    for row, (seed, at) in zip(rows, [(seed, at) for seed in SEEDS for at in (0, 1)], strict=True):
        clip = StudioClip(seed, SETTINGS)
        time_s = at * SETTINGS.duration_s / 2
        turned += bool(np.abs(clip.stage.turn(time_s) - np.eye(3)).max() > 1e-6)
        camera, vector = crop_camera(clip, time_s), row["body_vector"]
        place = translation_from_weak_perspective(vector[VECTOR_CAMERA], camera)
        mesh = body.vertices(vector[VECTOR_POSE].reshape(24, 3), vector[VECTOR_BETAS], place)
        np.testing.assert_allclose(mesh, clip.at(time_s).body, atol=1e-9)
        naked = render(rasterizer, mesh, body.faces, camera).mask
        assert (
            naked & (row["mask"] > 0)
        ).sum() > 0.97 * naked.sum()  # clothes hide it, and little of it shows
        assert naked.sum() > 0.6 * (row["mask"] > 0).sum()
    assert turned


def test_the_command_writes_the_table(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "portraits.parquet"
    sizes = [
        f"--set={name}={value}" for name, value in (("height_px", 96), ("width_px", 96), ("subdivisions", 0))
    ]
    assert main(["studio", "portraits", "--out", str(out), "--clips", "1", "--per-clip", "2", *sizes]) == 0
    found = list(read_rows(PORTRAITS, out))
    assert [row["sample_id"] for row in found] == ["studio-000000/000", "studio-000000/001"]
    assert all(row["mask"].any() for row in found)
    assert main(["studio", "portraits", "--out", str(out), "--clips", "0"]) == 2
