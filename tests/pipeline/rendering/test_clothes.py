"""What people wear on the mean: the file, and the base depth that is rendered from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import Settings
from pipeline.geometry.camera import Camera
from pipeline.method.named_files import body_digest, check_named_files, named_clothes
from pipeline.rendering import render
from pipeline.rendering.base_mesh import BaseMesh, outward_normals
from pipeline.rendering.clothes import Clothes, clothes_for
from pipeline.rendering.compiled import CompiledRasterizer
from schemas.conventions import MAP_PX
from schemas.errors import AssetError, SettingsError
from schemas.settings import with_overrides
from tests.support.scenes import block, icosphere
from tests.support.sphere_scene import CENTRE_M, RADIUS_M, map_intrinsics, sphere_depth

CLOTHES = Clothes(offset_m=np.linspace(0.0, 0.03, 7), body_sha256="ab" * 32, tracks=3)


@pytest.mark.parametrize("offset_m", [0.02, -0.005])
def test_clothes_move_the_base_depth_of_a_sphere_by_their_thickness(offset_m: float) -> None:
    """To the depth of the larger sphere in closed form, within what its facets leave out, under 2 mm."""
    ball = icosphere(4, RADIUS_M)
    worn = np.full(len(ball.vertices), offset_m)
    camera = Camera(map_intrinsics(MAP_PX), (MAP_PX, MAP_PX))

    def drawn(mesh: BaseMesh) -> np.ndarray:
        return render(CompiledRasterizer(), mesh.vertices(ball.vertices + CENTRE_M), ball.faces, camera).depth

    naked = drawn(BaseMesh(ball.faces, len(worn)))
    dressed = drawn(BaseMesh(ball.faces, len(worn), clothes_m=worn))
    centre = MAP_PX // 2
    assert naked[centre, centre] - dressed[centre, centre] == pytest.approx(offset_m, abs=2e-5)
    expected = sphere_depth(MAP_PX, RADIUS_M + offset_m)
    facing = (expected > 0) & (expected < CENTRE_M[2] - 0.5 * RADIUS_M)
    np.testing.assert_allclose(dressed[facing], expected[facing], rtol=0, atol=2e-3)
    grown = render(
        CompiledRasterizer(), ball.vertices * (1 + offset_m / RADIUS_M) + CENTRE_M, ball.faces, camera
    )
    np.testing.assert_allclose(dressed[facing], grown.depth[facing], rtol=0, atol=2e-5)


def test_every_vertex_moves_by_its_own_before_the_mesh_is_smoothed_and_widened() -> None:
    mesh = block((0.5, 0.5, 0.5), 4)
    count = len(mesh.vertices)
    worn = np.random.default_rng(0).uniform(0, 0.03, count)
    moved = mesh.vertices + worn[:, None] * outward_normals(mesh.vertices, mesh.faces)
    found = BaseMesh(mesh.faces, count, clothes_m=worn).vertices(mesh.vertices)
    np.testing.assert_allclose(found, moved, rtol=0, atol=1e-15)
    rest = BaseMesh(mesh.faces, count, smoothing_passes=2, surface_offset_m=0.01)
    all_of_it = BaseMesh(mesh.faces, count, smoothing_passes=2, surface_offset_m=0.01, clothes_m=worn)
    np.testing.assert_allclose(all_of_it.vertices(mesh.vertices), rest.vertices(moved), rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="clothes_m must have shape"):
        BaseMesh(mesh.faces, count, clothes_m=worn[1:])


def test_a_file_keeps_what_was_saved_and_is_the_same_bytes_again(tmp_path: Path) -> None:
    first, second = tmp_path / "new" / "clothes.npz", tmp_path / "clothes of summer"
    for path in (first, second):
        CLOTHES.save(path)
    assert first.read_bytes() == second.read_bytes()
    found = clothes_for(second, body_sha256="ab" * 32)
    np.testing.assert_allclose(found.offset_m, CLOTHES.offset_m, rtol=0, atol=1e-9)
    assert (found.body_sha256, found.tracks) == (CLOTHES.body_sha256, 3)


def test_clothes_of_another_body_are_refused_with_what_to_do(tmp_path: Path) -> None:
    CLOTHES.save(tmp_path / "clothes.npz")
    with pytest.raises(AssetError, match="abababababab, this one has cdcdcdcdcdcd") as error:
        clothes_for(tmp_path / "clothes.npz", body_sha256="cd" * 32)
    assert "pipeline dataset clothes" in error.value.remedy


@pytest.mark.parametrize(
    "arrays",
    [
        {"offset_m": np.zeros(7)},
        {"offset_m": np.full(7, np.nan), "body_sha256": np.array("ab"), "tracks": np.array(1)},
        {"offset_m": np.zeros((7, 1)), "body_sha256": np.array("ab"), "tracks": np.array(1)},
        {"offset_m": np.zeros(7), "body_sha256": np.array(1.0), "tracks": np.array(1)},
    ],
)
def test_another_file_is_refused_by_name(arrays: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(AssetError, match=r"other\.npz is not a file of clothes"):
        Clothes.load(tmp_path / "other.npz")


def test_settings_that_name_clothes_are_checked_before_anything_is_done(tmp_path: Path) -> None:
    file = tmp_path / "clothes.npz"
    settings = with_overrides(Settings(), [f"rendering.clothes={file}"])
    with pytest.raises(SettingsError, match=r"rendering\.clothes.*no such file"):
        check_named_files(settings)
    CLOTHES.save(file)
    with pytest.raises(AssetError, match="clothes of the body with SHA-256 abababababab"):
        check_named_files(settings)
    Clothes(offset_m=CLOTHES.offset_m, body_sha256=body_digest(settings), tracks=1).save(file)
    check_named_files(settings)
    assert named_clothes(Settings()) is None
    with pytest.raises(SettingsError, match=r"rendering\.clothes.*dressed shape has its own"):
        with_overrides(Settings(), [f"rendering.clothes={file}", "rendering.base_surface=dressed"])
