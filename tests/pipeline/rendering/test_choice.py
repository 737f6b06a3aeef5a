"""Which backend a setting means, with and without OpenGL."""

from __future__ import annotations

import logging

import pytest

from pipeline.rendering import choice, make_rasterizer, resolve_backend
from schemas.errors import SettingsError


def test_compiled_never_looks_for_gl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "gl_platform", lambda: pytest.fail("probed"))
    assert resolve_backend("compiled") == "compiled"
    assert make_rasterizer("compiled").name == "compiled"


def test_auto_takes_gl_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "gl_platform", lambda: "egl")
    assert resolve_backend("auto") == resolve_backend("pyrender_gl") == "pyrender_gl"


def test_without_gl_auto_falls_back_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(choice, "gl_platform", lambda: None)
    with caplog.at_level(logging.WARNING):
        assert resolve_backend("auto") == "compiled"
    assert "No OpenGL" in caplog.text
    for function in (resolve_backend, make_rasterizer):
        with pytest.raises(SettingsError, match="Install libegl1"):
            function("pyrender_gl")


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(SettingsError, match="Use auto, pyrender_gl or compiled"):
        resolve_backend("opengl")


def test_a_platform_that_cannot_start_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried for real, in a child process: PyOpenGL knows no such platform."""
    monkeypatch.setenv("PYOPENGL_PLATFORM", "nonsense")
    assert choice.gl_platform.__wrapped__() is None
