"""Both rasterisers: exact rays, closed forms, the near plane, both sides, and each other."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.geometry.raster import Raster
from pipeline.rendering import Rasterizer, make_rasterizer, render
from pipeline.rendering.choice import opengl
from tests.support.oracles import RayCaster, cast_exactly
from tests.support.scenes import (
    CLOSED_SCENES,
    Mesh,
    block,
    body_pair,
    icosphere,
    pixel_rays,
    sheet,
    square_camera,
)

BACKENDS = [
    "compiled",
    pytest.param(
        "pyrender_gl",
        marks=pytest.mark.skipif(opengl() is None, reason="no OpenGL: install libegl1 and libgl1-mesa-dri"),
    ),
]
needs_gl = BACKENDS[1].marks


@pytest.fixture(scope="module", params=BACKENDS)
def rasterizer(request: pytest.FixtureRequest) -> Iterator[Rasterizer]:
    made = make_rasterizer(request.param)
    yield made
    made.close()


@pytest.fixture
def wide_camera() -> Camera:
    """Not square, the principal point far off the centre, different focal lengths."""
    return Camera(np.array([[90.0, 0.0, 11.25], [0.0, 80.0, 40.5], [0.0, 0.0, 1.0]]), (48, 70))


@pytest.mark.parametrize("name", list(CLOSED_SCENES))
def test_closed_scenes(rasterizer: Rasterizer, name: str) -> None:
    """Masks equal, depth within 1e-5 m where the ray does not graze the surface."""
    scene = CLOSED_SCENES[name]()
    raster = render(rasterizer, scene.target, scene.faces, scene.camera)
    np.testing.assert_array_equal(raster.mask, scene.depth > 0)
    assert np.abs(raster.depth - scene.depth)[raster.mask & ~scene.steep].max() <= 1e-5


def test_pixel_centres_lie_at_one_half(rasterizer: Rasterizer) -> None:
    """A card whose image edges lie 1/64 pixel before, then behind, the centres of columns and rows."""
    camera = Camera(np.array([[32.0, 0.0, 16.0], [0.0, 32.0, 16.0], [0.0, 0.0, 1.0]]), (32, 32))
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    for nudge, columns in ((-1 / 64, range(10, 20)), (1 / 64, range(11, 20))):
        low, high = (10.5 + nudge - 16) / 32, (19.75 - 16) / 32
        card = np.array([[low, low, 1.0], [high, low, 1.0], [high, high, 1.0], [low, high, 1.0]])
        seen = rasterizer.face_ids(card, faces, camera) >= 0
        expected = np.zeros((32, 32), bool)
        expected[columns.start : columns.stop, columns.start : columns.stop] = True
        np.testing.assert_array_equal(seen, expected)


def test_soup_of_triangles_against_every_face(rasterizer: Rasterizer, wide_camera: Camera) -> None:
    """Small and huge, outside the image, behind the camera, across the near plane: what an exact ray meets first."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        centre = rng.uniform([-3, -3, -1.5], [3, 3, 4], (60, 1, 3))
        vertices = (centre + rng.normal(size=(60, 3, 3)) * rng.choice([0.05, 0.4, 2.0], (60, 1, 1))).reshape(
            -1, 3
        )
        faces = np.arange(180).reshape(60, 3)
        ids = rasterizer.face_ids(vertices, faces, wide_camera)
        face, _ = cast_exactly(pixel_rays(wide_camera).reshape(-1, 3), vertices, faces, near_m=0.05)
        differs = ids.ravel() != face
        assert (ids >= 0).mean() > 0.5
        # OpenGL itself cuts and fills the faces that cross the near plane; it snaps their corners to 1/256 pixel.
        assert differs.sum() <= (0 if rasterizer.name == "compiled" else 2)


def test_a_surface_that_crosses_the_near_plane_is_cut_there(rasterizer: Rasterizer) -> None:
    """A floor from behind the camera to 4 m ahead: a pixel shows it exactly where its closed-form depth is >= near."""
    floor = np.array([[-5.0, 0.3, -2.0], [5.0, 0.3, -2.0], [5.0, 0.3, 4.0], [-5.0, 0.3, 4.0]])
    faces, camera = np.array([[0, 1, 2], [0, 2, 3]]), square_camera(64, focal_per_side=0.5)
    rays = pixel_rays(camera)
    with np.errstate(divide="ignore"):
        depth = 0.3 / rays[..., 1]
    for near_m in (0.05, 0.5):
        made = make_rasterizer(rasterizer.name, near_m=near_m)
        raster = render(made, floor, faces, camera)
        made.close()
        expected = (
            (rays[..., 1] > 0) & (depth >= near_m) & (depth <= 4.0) & (np.abs(depth * rays[..., 0]) <= 5)
        )
        np.testing.assert_array_equal(raster.mask, expected)
        np.testing.assert_allclose(raster.depth[expected], depth[expected], rtol=0, atol=1e-5)


def test_nothing_nearer_than_the_near_plane_hides_what_lies_behind(rasterizer: Rasterizer) -> None:
    card = sheet(1.0, 1.0, 2)
    vertices = np.concatenate([card.vertices * 0.04 + [0, 0, 0.04], card.vertices + [0, 0, 2]])
    ids = rasterizer.face_ids(vertices, np.concatenate([card.faces, card.faces + 9]), square_camera(32))
    assert ids.max() >= 8
    assert not ((ids >= 0) & (ids < 8)).any()


def test_all_behind_or_all_outside_is_background(rasterizer: Rasterizer) -> None:
    mesh, camera = icosphere(2, 0.3), square_camera(32)
    for away in ([0, 0, -3], [20, 0, 3], [0, -20, 3], [0, 0, 0.01 - 0.3]):
        assert (rasterizer.face_ids(mesh.vertices + away, mesh.faces, camera) == -1).all()
    assert (rasterizer.face_ids(mesh.vertices + [0, 0, 3], mesh.faces[:0], camera) == -1).all()


def test_a_body_partly_outside_shows_the_same_pixels_as_a_wider_image(rasterizer: Rasterizer) -> None:
    pair = body_pair(256)
    whole = rasterizer.face_ids(pair.target, pair.faces, pair.target_camera)
    K = pair.target_camera.K - [[0, 0, 100], [0, 0, 20], [0, 0, 0]]
    part = rasterizer.face_ids(pair.target, pair.faces, Camera(K, (90, 40)))
    np.testing.assert_array_equal(part, whole[20:110, 100:140])
    assert (part >= 0).any()


def test_both_sides_of_faces_are_drawn(rasterizer: Rasterizer) -> None:
    pair = body_pair(128)
    ids = rasterizer.face_ids(pair.target, pair.faces, pair.target_camera)
    flipped = rasterizer.face_ids(pair.target, pair.faces[:, ::-1], pair.target_camera)
    assert (ids != flipped).sum() <= 1  # equal depths along an edge may be settled otherwise
    inside = block((2.0, 2.0, 2.0), 2)  # seen from within: only back sides
    assert (rasterizer.face_ids(inside.vertices, inside.faces, pair.target_camera) >= 0).all()


def test_degenerate_faces_do_no_harm(rasterizer: Rasterizer) -> None:
    mesh, camera = icosphere(2, 0.3), square_camera(32)
    vertices = mesh.vertices + [0, 0, 2]
    points = np.array([[0, 0, 0], [1, 1, 5], [3, 2, 3]])
    expected = rasterizer.face_ids(vertices, mesh.faces, camera)
    with_points = rasterizer.face_ids(vertices, np.concatenate([mesh.faces, points]), camera)
    np.testing.assert_array_equal(with_points, expected)


@pytest.mark.parametrize("side_px", [256, 512])
def test_bodies_against_embree(rasterizer: Rasterizer, side_px: int) -> None:
    """At most one mask pixel of a body's outline, and 1e-5 m of depth, from an independent ray caster (float32)."""
    for seed in range(3):
        pair = body_pair(side_px, seed=seed)
        raster = render(rasterizer, pair.target, pair.faces, pair.target_camera)
        face, depth = RayCaster(pair.target, pair.faces).nearest(
            pixel_rays(pair.target_camera).reshape(-1, 3)
        )
        hit = (face >= 0).reshape(raster.hw)
        assert (hit != raster.mask).sum() <= 1
        both = hit & raster.mask
        apart = np.sort(np.abs(raster.depth - depth.reshape(raster.hw))[both])
        assert apart[-2] <= 1e-5
        assert apart[-1] <= 1e-5 or seed  # a ray between two surfaces' edges may go either way in float32


@pytest.mark.parametrize("make", [lambda: make_rasterizer("compiled", near_m=0.0)], ids=["compiled"])
def test_a_near_plane_of_zero_is_refused(make) -> None:
    with pytest.raises(ValueError, match="near_m must be above 0"):
        make()


def test_bad_meshes_are_refused(rasterizer: Rasterizer) -> None:
    mesh, camera = sheet(1, 1, 2), square_camera(16)
    with pytest.raises(ValueError, match="finite"):
        rasterizer.face_ids(mesh.vertices * np.nan, mesh.faces, camera)
    with pytest.raises(ValueError, match="must index 9 vertices"):
        rasterizer.face_ids(mesh.vertices, mesh.faces + 5, camera)


def test_sizes_meshes_and_order_of_calls_do_not_matter(rasterizer: Rasterizer) -> None:
    """Buffers are kept between calls: every call must still draw what it was given."""
    small, large = icosphere(1, 0.3), icosphere(3, 0.4)
    calls = [
        (small, 40),
        (large, 96),
        (small, 40),
        (large, 24),
        (Mesh(large.vertices, large.faces[::-1]), 24),
        (large.moved(np.eye(3), np.array([0.1, 0, 0])), 96),
        (small, 96),
    ]
    kept = [rasterizer.face_ids(m.vertices + [0, 0, 2], m.faces, square_camera(px)) for m, px in calls]
    for (mesh, px), ids in zip(calls, kept):
        fresh = make_rasterizer(rasterizer.name)
        np.testing.assert_array_equal(
            fresh.face_ids(mesh.vertices + [0, 0, 2], mesh.faces, square_camera(px)), ids
        )
        fresh.close()


def test_closing_twice_and_beside_a_living_one(rasterizer: Rasterizer) -> None:
    mesh, camera = icosphere(2, 0.3), square_camera(32)
    before = rasterizer.face_ids(mesh.vertices + [0, 0, 2], mesh.faces, camera)
    other = make_rasterizer(rasterizer.name)
    np.testing.assert_array_equal(other.face_ids(mesh.vertices + [0, 0, 2], mesh.faces, camera), before)
    other.close()
    other.close()
    np.testing.assert_array_equal(rasterizer.face_ids(mesh.vertices + [0, 0, 2], mesh.faces, camera), before)


def test_threads_may_share_one(rasterizer: Rasterizer) -> None:
    mesh, camera = icosphere(3, 0.3), square_camera(64)
    expected = rasterizer.face_ids(mesh.vertices + [0, 0, 2], mesh.faces, camera)
    same: list[bool] = []

    def draw() -> None:
        for _ in range(5):
            same.append(
                np.array_equal(rasterizer.face_ids(mesh.vertices + [0, 0, 2], mesh.faces, camera), expected)
            )

    threads = [threading.Thread(target=draw) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 15


@needs_gl[0]
def test_a_closed_gl_rasterizer_says_so() -> None:
    made = make_rasterizer("pyrender_gl")
    made.close()
    with pytest.raises(RuntimeError, match="closed"):
        made.face_ids(np.zeros((3, 3)), np.array([[0, 1, 2]]), square_camera(8))


@pytest.mark.parametrize("platform", ["egl", "osmesa"])
def test_each_platform_draws_the_same(platform: str) -> None:
    """In a child process: PyOpenGL can load one platform only."""
    draw = (
        "import sys, numpy as np\n"
        "from pipeline.rendering.pyrender_gl import PyrenderRasterizer, draw_one\n"
        "from tests.support.scenes import block_scene\n"
        "draw_one()\n"
        "scene = block_scene(96)\n"
        "ids = PyrenderRasterizer().face_ids(scene.target, scene.faces, scene.camera)\n"
        "sys.stdout.buffer.write(ids.tobytes())\n"
    )
    environment = {
        **os.environ,
        "PYOPENGL_PLATFORM": platform,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run([sys.executable, "-c", draw], env=environment, capture_output=True, timeout=120)
    if done.returncode != 0:
        pytest.skip(f"no {platform} here: {done.stderr.decode().strip().splitlines()[-1]}")
    scene = CLOSED_SCENES["block"](96)
    expected = make_rasterizer("compiled").face_ids(scene.target, scene.faces, scene.camera)
    drawn = np.frombuffer(done.stdout, np.int32).reshape(96, 96)
    np.testing.assert_array_equal(drawn >= 0, expected >= 0)
    assert (drawn != expected).mean() <= 0.002  # a pixel's centre on a shared edge belongs to either face


@needs_gl[0]
@pytest.mark.parametrize("seed", range(6))
def test_backends_agree_on_bodies(seed: int) -> None:
    """At 512: at most 2 mask pixels, and 5e-5 m where both see the body."""
    pair = body_pair(512, turn_deg=10.0 * seed, seed=seed)
    rasters: list[Raster] = []
    for name in ("compiled", "pyrender_gl"):
        made = make_rasterizer(name)
        rasters.append(render(made, pair.reference, pair.faces, pair.reference_camera))
        made.close()
    one, other = rasters
    assert (one.mask != other.mask).sum() <= 2
    assert np.abs(one.depth - other.depth)[one.mask & other.mask].max() <= 5e-5


@needs_gl[0]
def test_torch_can_train_in_a_process_that_has_drawn() -> None:
    """In a process of its own: where torch is a CUDA build this ended in a segmentation fault (triton after Mesa)."""
    steps = "from pipeline.rendering.pyrender_gl import draw_one; draw_one(); import torch; "
    steps += "torch.optim.Adam([torch.zeros(1, requires_grad=True)]); print('trains')"
    found = opengl()
    environment = os.environ | {"PYOPENGL_PLATFORM": found.platform if found else ""}
    done = subprocess.run([sys.executable, "-c", steps], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "trains\n"), done.stderr
