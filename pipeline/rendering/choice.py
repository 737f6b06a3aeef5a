"""Which rasteriser a machine can run, decided without ever risking the process that asks."""

from __future__ import annotations

import glob
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from schemas.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.rendering.rasterizer import Rasterizer

BACKENDS = ("pyrender_gl", "compiled")
_GL_PLATFORMS = ("egl", "osmesa")
_DRAWN_BY_THE_CPU = ("llvmpipe", "softpipe", "swrast", "swiftshader", "software rasterizer")
"""In what GL_RENDERER says, in small letters."""
_GRAPHICS_DEVICES = ("/dev/dri/renderD*", "/dev/nvidia[0-9]*", "/dev/dxg", "/dev/kgsl*", "/dev/mali*")
"""What Linux calls them: Mesa's drivers, NVIDIA's, Windows' (WSL), Adreno's, Mali's."""
_PROBE_TIMEOUT_S = 60.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OpenGL:
    """The OpenGL that this machine offers without a window."""

    platform: str
    """`egl` or `osmesa`."""
    renderer: str
    """What GL_RENDERER says, for example `llvmpipe (LLVM 19.1.7, 256 bits)`."""

    @property
    def draws_on_cpu(self) -> bool:
        """Whether no GPU does the drawing: it then takes nine times as long as the compiled rasteriser."""
        return any(name in self.renderer.lower() for name in _DRAWN_BY_THE_CPU)


def resolve_backend(name: str) -> str:
    """The backend that `name` means here: `auto` is pyrender_gl where a GPU draws OpenGL, else compiled.

    Raises SettingsError for an unknown name, and for pyrender_gl where it cannot run.
    """
    if name not in ("auto", *BACKENDS):
        raise SettingsError(
            f"setting 'rendering.rasterizer' cannot be {name!r}.",
            remedy=f"Use auto, {' or '.join(BACKENDS)}.",
        )
    if name == "compiled":
        return name
    if name == "auto":
        backend, reason = automatic_choice()
        _LOG.info("rendering.rasterizer=auto selects %s: %s.", backend, reason)
        return backend
    if opengl() is None:
        raise _no_gl()
    return name


def automatic_choice() -> tuple[str, str]:
    """What `auto` means on this machine, and why.

    OpenGL is tried only where a device could draw it: that takes 3 s of CPU time.
    """
    if not has_graphics_device():
        return "compiled", "no graphics device is here, and OpenGL drawn by the CPU is slower"
    found = opengl()
    if found is None:
        return "compiled", "no OpenGL context can be made"
    if found.draws_on_cpu:
        return "compiled", f"OpenGL would be drawn by the CPU ({found.renderer}), which is slower"
    return "pyrender_gl", f"OpenGL is drawn by {found.renderer}"


def make_rasterizer(name: str, *, near_m: float = 0.05) -> Rasterizer:
    """A new rasteriser; nothing nearer than near_m is drawn. Make one per worker and close it.

    Raises SettingsError where `resolve_backend` does.
    """
    if resolve_backend(name) == "compiled":
        from pipeline.rendering.compiled import CompiledRasterizer

        return CompiledRasterizer(near_m=near_m)
    found = opengl()
    assert found is not None  # resolve_backend has raised otherwise
    os.environ["PYOPENGL_PLATFORM"] = found.platform
    from pipeline.rendering.pyrender_gl import PyrenderRasterizer

    return PyrenderRasterizer(near_m=near_m)


def has_graphics_device() -> bool:
    """Whether this machine may have a GPU that draws; known on Linux alone, assumed elsewhere."""
    return sys.platform != "linux" or any(glob.glob(place) for place in _GRAPHICS_DEVICES)


@cache
def opengl() -> OpenGL | None:
    """The first of EGL and OSMesa that can draw a triangle here (PYOPENGL_PLATFORM, if set, alone is tried); else None.

    Tried in a child process: a broken driver may crash rather than raise, and PyOpenGL can load only one platform.
    """
    wanted = os.environ.get("PYOPENGL_PLATFORM")
    search_path = os.pathsep.join(filter(None, sys.path))
    for platform in (wanted,) if wanted else _GL_PLATFORMS:
        try:
            done = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    "from pipeline.rendering.pyrender_gl import draw_one; print(draw_one())",
                ],
                env={**os.environ, "PYOPENGL_PLATFORM": platform, "PYTHONPATH": search_path},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                timeout=_PROBE_TIMEOUT_S,
            )
        except (subprocess.TimeoutExpired, OSError):
            continue
        if done.returncode == 0:
            lines = done.stdout.decode(errors="replace").splitlines() or ["an unnamed renderer"]
            return OpenGL(platform=platform, renderer=lines[-1])
    return None


def _no_gl() -> SettingsError:
    return SettingsError(
        "setting 'rendering.rasterizer' is 'pyrender_gl', but no OpenGL context can be made on this machine.",
        remedy="Install libegl1 and libgl1-mesa-dri (or libosmesa6), or use rendering.rasterizer=compiled.",
    )
