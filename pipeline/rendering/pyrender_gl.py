"""An OpenGL rasteriser: pyrender's off-screen contexts (EGL or OSMesa, no window) and one face-id pass of our own.

pyrender's own passes draw into a multisampled target, which mixes the ids of neighbouring faces (18 % of pixels at
256), and its depth comes from one off-centre sample. Here an integer framebuffer with one sample at the pixel's centre
takes `gl_PrimitiveID`; depth and weights follow from the id in `surface.raster_from_face_ids`.

OpenGL also snaps corners to 1/256 pixel before it decides what they cover: at 512 that moves up to 4 pixels of a
body's outline, and 0.3 m of depth where a limb ends in front of the trunk. So each face is drawn as its bounding
rectangle, and the fragment shader decides coverage and depth from the corners themselves, as `compiled` does.
Measured on bodies at 512: the same ids as `compiled` but for a pixel or two, depths within 1e-8 m.

PyOpenGL decides on its platform when it is first imported: PYOPENGL_PLATFORM must be set before this module is.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np

os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
with suppress(ImportError):
    # CUDA builds of torch bring triton, which holds an LLVM, and so does Mesa's software renderer. Loaded after Mesa,
    # triton ends the process with a segmentation fault (torch.optim loads it); loaded before, both work.
    importlib.import_module("triton")

from OpenGL import GL as gl
from OpenGL.GL import shaders

from pipeline.geometry.camera import Camera
from pipeline.geometry.mesh import checked_faces, checked_vertices
from pipeline.rendering.shaders import FRAGMENT_SHADER, GEOMETRY_SHADER, VERTEX_SHADER

_NOTHING = np.array([-1, 0, 0, 0], np.int32)
_LOCK = threading.Lock()
"""A context can be current in one thread only, and all rasterisers of a process share one."""


class PyrenderRasterizer:
    """`Rasterizer` on OpenGL. All rasterisers of a process share one context; each owns its buffers."""

    name = "pyrender_gl"

    def __init__(self, *, near_m: float = 0.05) -> None:
        if not near_m > 0:
            raise ValueError(f"near_m must be above 0, got {near_m}")
        self._near_m = near_m
        self._pid = os.getpid()
        self._faces = np.empty((0, 3), np.int32)
        self._vertex_count = 0
        self._room_hw = (0, 0)
        with _current_context():
            self._program = shaders.compileProgram(
                shaders.compileShader(VERTEX_SHADER, gl.GL_VERTEX_SHADER),
                shaders.compileShader(GEOMETRY_SHADER, gl.GL_GEOMETRY_SHADER),
                shaders.compileShader(FRAGMENT_SHADER, gl.GL_FRAGMENT_SHADER),
                validate=False,  # validation needs a bound framebuffer, which there is none of yet
            )
            self._size_uniform = gl.glGetUniformLocation(self._program, "size_px")
            self._near_uniform = gl.glGetUniformLocation(self._program, "near_m")
            self._vertex_array = gl.glGenVertexArrays(1)
            self._vertex_buffer, self._index_buffer = gl.glGenBuffers(2)
            self._framebuffer = gl.glGenFramebuffers(1)
            self._images = gl.glGenRenderbuffers(2)
            gl.glBindVertexArray(self._vertex_array)
            gl.glBindBuffer(gl.GL_ARRAY_BUFFER, self._vertex_buffer)
            gl.glEnableVertexAttribArray(0)
            gl.glVertexAttribPointer(0, 4, gl.GL_FLOAT, gl.GL_FALSE, 0, None)
            gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, self._index_buffer)
            gl.glBindVertexArray(0)
        self._open = True

    def face_ids(self, vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
        """See `Rasterizer.face_ids`. Faces are uploaded only when they differ from those of the previous call."""
        if not self._open:
            raise RuntimeError("this rasteriser was closed; make a new one")
        if os.getpid() != self._pid:
            raise RuntimeError(
                "OpenGL does not survive fork(); make the rasteriser in the process that draws"
            )
        vertices = checked_vertices(vertices, "vertices")
        faces = checked_faces(faces, len(vertices))
        face_id = np.full(camera.hw, -1, np.int32)
        if faces.size == 0 or vertices[:, 2].max() < self._near_m:
            return face_id
        clip = _clip_from_cam(vertices, camera, self._near_m)
        with _current_context():
            self._make_room(camera.hw)
            self._upload(clip, faces)
            self._draw(camera.hw, face_id)
        return face_id

    def close(self) -> None:
        """Frees buffers and program; the process's context stays for its other rasterisers."""
        if not self._open or os.getpid() != self._pid:
            return
        self._open = False
        with _current_context():
            gl.glDeleteProgram(self._program)
            gl.glDeleteVertexArrays(1, [self._vertex_array])
            gl.glDeleteBuffers(2, [self._vertex_buffer, self._index_buffer])
            gl.glDeleteFramebuffers(1, [self._framebuffer])
            gl.glDeleteRenderbuffers(2, self._images)

    def _make_room(self, hw: tuple[int, int]) -> None:
        """Grows the framebuffer to the largest image so far; smaller ones use its corner."""
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._framebuffer)
        room = (max(hw[0], self._room_hw[0]), max(hw[1], self._room_hw[1]))
        if room == self._room_hw:
            return
        for image, stored, attachment in (
            (self._images[0], gl.GL_R32I, gl.GL_COLOR_ATTACHMENT0),
            (self._images[1], gl.GL_DEPTH_COMPONENT32F, gl.GL_DEPTH_ATTACHMENT),
        ):
            gl.glBindRenderbuffer(gl.GL_RENDERBUFFER, image)
            gl.glRenderbufferStorage(gl.GL_RENDERBUFFER, stored, room[1], room[0])
            gl.glFramebufferRenderbuffer(gl.GL_FRAMEBUFFER, attachment, gl.GL_RENDERBUFFER, image)
        state = gl.glCheckFramebufferStatus(gl.GL_FRAMEBUFFER)
        if state != gl.GL_FRAMEBUFFER_COMPLETE:
            raise RuntimeError(f"this OpenGL cannot draw integer images of {room} pixels (status {state:#x})")
        self._room_hw = room

    def _upload(self, clip: np.ndarray, faces: np.ndarray) -> None:
        gl.glBindVertexArray(self._vertex_array)
        gl.glBindBuffer(gl.GL_ARRAY_BUFFER, self._vertex_buffer)
        if len(clip) == self._vertex_count:
            gl.glBufferSubData(gl.GL_ARRAY_BUFFER, 0, clip.nbytes, clip)
        else:
            gl.glBufferData(gl.GL_ARRAY_BUFFER, clip.nbytes, clip, gl.GL_STREAM_DRAW)
            self._vertex_count = len(clip)
        if not np.array_equal(faces, self._faces):
            gl.glBufferData(gl.GL_ELEMENT_ARRAY_BUFFER, faces.nbytes, faces, gl.GL_STATIC_DRAW)
            self._faces = faces.copy()

    def _draw(self, hw: tuple[int, int], face_id: np.ndarray) -> None:
        gl.glViewport(0, 0, hw[1], hw[0])
        gl.glEnable(gl.GL_SCISSOR_TEST)
        gl.glScissor(0, 0, hw[1], hw[0])
        gl.glDisable(gl.GL_CULL_FACE)
        gl.glEnable(gl.GL_DEPTH_TEST)
        gl.glDepthFunc(
            gl.GL_LESS
        )  # like the compiled rasteriser: of equally near faces the first drawn stays
        gl.glClearBufferiv(gl.GL_COLOR, 0, _NOTHING)
        gl.glClearBufferfv(gl.GL_DEPTH, 0, np.ones(1, np.float32))
        gl.glUseProgram(self._program)
        gl.glUniform2f(self._size_uniform, hw[1], hw[0])
        gl.glUniform1f(self._near_uniform, self._near_m)
        gl.glDrawElements(gl.GL_TRIANGLES, self._faces.size, gl.GL_UNSIGNED_INT, None)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 4)
        gl.glReadPixels(0, 0, hw[1], hw[0], gl.GL_RED_INTEGER, gl.GL_INT, face_id)
        gl.glBindVertexArray(0)
        gl.glUseProgram(0)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, 0)


def draw_one() -> str:
    """Draws one triangle, checks it, and returns what GL_RENDERER says: `choice.opengl` runs it in a child process."""
    rasterizer = PyrenderRasterizer()
    vertices = np.array([[-9.0, -9.0, 1.0], [9.0, -9.0, 1.0], [0.0, 9.0, 1.0]])
    camera = Camera(np.array([[8.0, 0.0, 4.0], [0.0, 8.0, 4.0], [0.0, 0.0, 1.0]]), (8, 8))
    drawn = rasterizer.face_ids(vertices, np.array([[0, 1, 2]]), camera)
    rasterizer.close()
    if (drawn != 0).any():
        raise RuntimeError(f"OpenGL made a context but does not draw face ids: {np.unique(drawn)}")
    with _current_context():
        return bytes(gl.glGetString(gl.GL_RENDERER)).decode(errors="replace")


def _clip_from_cam(vertices: np.ndarray, camera: Camera, near_m: float) -> np.ndarray:
    """Homogeneous clip coordinates (V, 4) float32 of camera points (V, 3), projected in float64.

    Row 0 of the picture becomes the lowest row of OpenGL's window, so pixels are read back in our order. The depth
    range is as tight as the mesh allows: float32 depth then resolves micrometres (near .05 m, far 100 m: 16 um).
    """
    z = vertices[:, 2]
    near, far = max(near_m, 0.99 * z.min()), 1.01 * z.max()
    height, width = camera.hw
    fx, fy, cx, cy = camera.lens
    clip = np.empty((len(vertices), 4), np.float32)
    clip[:, 0] = (2 * fx / width) * vertices[:, 0] + (2 * cx / width - 1) * z
    clip[:, 1] = (2 * fy / height) * vertices[:, 1] + (2 * cy / height - 1) * z
    clip[:, 2] = ((far + near) * z - 2 * far * near) / (far - near)
    clip[:, 3] = z
    return clip


@contextmanager
def _current_context() -> Iterator[None]:
    """Makes this process's context current in the calling thread, and current nowhere afterwards."""
    with _LOCK:
        platform = _context(os.getpid())
        platform.make_current()
        try:
            yield
        finally:
            _release()


@cache
def _context(pid: int) -> Any:
    """The context of process `pid`. Never destroyed: pyrender's deletion ends the EGL display of all contexts."""
    name = os.environ["PYOPENGL_PLATFORM"]
    if name not in ("egl", "osmesa"):
        raise RuntimeError(
            f"PYOPENGL_PLATFORM must be egl or osmesa to draw without a window, got {name!r}; unset it"
        )
    if name == "osmesa":
        from pyrender.platforms.osmesa import OSMesaPlatform

        platform = OSMesaPlatform(1, 1)
    else:
        from pyrender.platforms.egl import EGLPlatform, get_device_by_index

        platform = EGLPlatform(1, 1, device=get_device_by_index(int(os.environ.get("EGL_DEVICE_ID", "0"))))
    platform.init_context()
    return platform


def _release() -> None:
    if os.environ["PYOPENGL_PLATFORM"] == "osmesa":
        return  # OSMesa lets another thread take a context over as it is
    from OpenGL import EGL as egl

    egl.eglMakeCurrent(egl.eglGetCurrentDisplay(), egl.EGL_NO_SURFACE, egl.EGL_NO_SURFACE, egl.EGL_NO_CONTEXT)
