"""Which rasteriser a machine can run, decided without ever risking the process that asks."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from functools import cache

from pipeline.rendering.rasterizer import Rasterizer
from schemas.errors import SettingsError

BACKENDS = ("pyrender_gl", "compiled")
_GL_PLATFORMS = ("egl", "osmesa")
_PROBE_TIMEOUT_S = 60.0
_LOG = logging.getLogger(__name__)


def resolve_backend(name: str) -> str:
    """The backend that `name` means here: `auto` is pyrender_gl where an OpenGL context can be made, else compiled.

    Raises SettingsError for an unknown name, and for pyrender_gl where it cannot run.
    """
    if name not in ("auto", *BACKENDS):
        raise SettingsError(
            f"setting 'rendering.rasterizer' cannot be {name!r}.",
            remedy=f"Use auto, {' or '.join(BACKENDS)}.",
        )
    if name == "compiled":
        return name
    if gl_platform() is not None:
        return "pyrender_gl"
    if name == "auto":
        _LOG.warning("No OpenGL on this machine: depth is drawn by the compiled rasteriser (same results).")
        return "compiled"
    raise _no_gl()


def make_rasterizer(name: str, *, near_m: float = 0.05) -> Rasterizer:
    """A new rasteriser; nothing nearer than near_m is drawn. Make one per worker and close it.

    Raises SettingsError where `resolve_backend` does.
    """
    if resolve_backend(name) == "compiled":
        from pipeline.rendering.compiled import CompiledRasterizer

        return CompiledRasterizer(near_m=near_m)
    os.environ["PYOPENGL_PLATFORM"] = gl_platform() or ""
    from pipeline.rendering.pyrender_gl import PyrenderRasterizer

    return PyrenderRasterizer(near_m=near_m)


@cache
def gl_platform() -> str | None:
    """`egl` or `osmesa`, whichever can draw a triangle here (PYOPENGL_PLATFORM, if set, alone is tried); else None.

    Tried in a child process: a broken driver may crash rather than raise, and PyOpenGL can load only one platform.
    """
    wanted = os.environ.get("PYOPENGL_PLATFORM")
    search_path = os.pathsep.join(filter(None, sys.path))
    for platform in (wanted,) if wanted else _GL_PLATFORMS:
        try:
            done = subprocess.run(
                [sys.executable, "-c", "from pipeline.rendering.pyrender_gl import draw_one; draw_one()"],
                env={**os.environ, "PYOPENGL_PLATFORM": platform, "PYTHONPATH": search_path},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                timeout=_PROBE_TIMEOUT_S,
            )
        except (subprocess.TimeoutExpired, OSError):
            continue
        if done.returncode == 0:
            return platform
    return None


def _no_gl() -> SettingsError:
    return SettingsError(
        "setting 'rendering.rasterizer' is 'pyrender_gl', but no OpenGL context can be made on this machine.",
        remedy="Install libegl1 and libgl1-mesa-dri (or libosmesa6), or use rendering.rasterizer=compiled.",
    )
