"""Which backend a setting means, with and without OpenGL."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipeline.rendering import choice, make_rasterizer, resolve_backend
from pipeline.rendering.choice import OpenGL, automatic_choice, opengl
from schemas.errors import SettingsError


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that may draw, whatever this machine has."""
    monkeypatch.setattr(choice, "has_graphics_device", lambda: True)


def test_where_nothing_draws_auto_is_compiled_and_opengl_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(choice, "opengl", lambda: pytest.fail("probed"))
    monkeypatch.setattr(choice, "_GRAPHICS_DEVICES", (f"{tmp_path}/renderD*",))
    monkeypatch.setattr(choice.sys, "platform", "linux")
    assert automatic_choice() == (
        "compiled",
        "no graphics device is here, and OpenGL drawn by the CPU is slower",
    )
    (tmp_path / "renderD128").touch()
    monkeypatch.setattr(choice, "opengl", lambda: OpenGL(platform="egl", renderer="radeonsi"))
    assert automatic_choice()[0] == "pyrender_gl"
    (tmp_path / "renderD128").touch()
    assert choice.has_graphics_device()


def test_elsewhere_than_on_linux_a_graphics_device_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(choice, "_GRAPHICS_DEVICES", ())
    monkeypatch.setattr(choice.sys, "platform", "darwin")
    assert choice.has_graphics_device()


def test_compiled_never_looks_for_gl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "opengl", lambda: pytest.fail("probed"))
    assert resolve_backend("compiled") == "compiled"
    assert make_rasterizer("compiled").name == "compiled"


@pytest.mark.parametrize(
    "renderer",
    ["NVIDIA H100/PCIe/SSE2", "Mesa Intel(R) UHD Graphics 620", "AMD Radeon (radeonsi)", "zink (NVIDIA)"],
)
def test_auto_takes_opengl_where_a_gpu_draws(renderer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "opengl", lambda: OpenGL(platform="egl", renderer=renderer))
    assert resolve_backend("auto") == resolve_backend("pyrender_gl") == "pyrender_gl"
    assert renderer in automatic_choice()[1]


@pytest.mark.parametrize(
    "renderer",
    [
        "llvmpipe (LLVM 19.1.7, 256 bits)",
        "softpipe",
        "Software Rasterizer",
        "Google SwiftShader",
        "zink (llvmpipe)",
    ],
)
def test_auto_is_compiled_where_the_cpu_draws_opengl(
    renderer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Which can still be asked for by its name."""
    monkeypatch.setattr(choice, "opengl", lambda: OpenGL(platform="egl", renderer=renderer))
    with caplog.at_level(logging.INFO, logger="pipeline"):
        assert resolve_backend("auto") == "compiled"
    assert f"would be drawn by the CPU ({renderer})" in caplog.text
    assert resolve_backend("pyrender_gl") == "pyrender_gl"


def test_without_opengl_auto_is_compiled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(choice, "opengl", lambda: None)
    with caplog.at_level(logging.INFO, logger="pipeline"):
        assert resolve_backend("auto") == "compiled"
    assert "no OpenGL context" in caplog.text
    for function in (resolve_backend, make_rasterizer):
        with pytest.raises(SettingsError, match="Install libegl1"):
            function("pyrender_gl")


def test_the_renderer_is_what_the_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for real, in a child process; Mesa on the CPU where it is told to."""
    found = opengl()
    if found is None:
        pytest.skip("no OpenGL: install libegl1 and libgl1-mesa-dri")
    assert found.platform in ("egl", "osmesa")
    assert found.renderer
    monkeypatch.setenv("LIBGL_ALWAYS_SOFTWARE", "1")
    software = opengl.__wrapped__()
    if software is None:
        pytest.skip("no OpenGL on the CPU beside the GPU's")
    assert software.draws_on_cpu, software


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(SettingsError, match="Use auto, pyrender_gl or compiled"):
        resolve_backend("opengl")


def test_a_platform_that_cannot_start_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried for real, in a child process: PyOpenGL knows no such platform."""
    monkeypatch.setenv("PYOPENGL_PLATFORM", "nonsense")
    assert opengl.__wrapped__() is None
