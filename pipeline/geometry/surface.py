"""How each surface point that the target's camera sees moves to the reference, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats
from pipeline.geometry.motion import MotionField
from pipeline.geometry.posed_surface import PosedSurface, RenderedSurface, require_same_mesh
from pipeline.geometry.rigid import nearest_rotation, rotvec_from_rotation


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceMotion:
    """The motion `reference_from_target` of the n body pixels of a target, in row-major order of pixels."""

    pixel: NDArray[np.int64]
    """(n,) int64: row * W + column."""
    point: Floats
    """(n, 3) metres: the surface point p under the pixel's centre, in the target camera."""
    moved: Floats
    """(n, 3) metres: the same point of the body in the reference camera."""
    rotation: Floats
    """(n, 3, 3), in SO(3)."""
    hw: tuple[int, int]
    """Size of the map."""

    @property
    def translation(self) -> Floats:
        """(n, 3) metres about the camera's origin: t = moved - R p, so that R p + t is exact for the surface point."""
        translation: Floats = self.moved - np.einsum("nij,nj->ni", self.rotation, self.point)
        return translation

    @property
    def rotvec(self) -> Floats:
        """(n, 3) rotation vectors in radians."""
        return rotvec_from_rotation(self.rotation)

    @property
    def displacement(self) -> Floats:
        """(n, 3) metres: moved - p, how far the surface point moves."""
        return self.moved - self.point

    @property
    def baseline_m(self) -> Floats:
        """(n,) metres: |t|, where an equally moved camera would stand; not the length of the displacement."""
        length: Floats = np.linalg.norm(self.translation, axis=1)
        return length


def surface_motion(field: MotionField, *, target: RenderedSurface, reference: PosedSurface) -> SurfaceMotion:
    """The motion of every body pixel of the target.

    With the corners i of the pixel's face and the weights w_i of its surface point
        p = sum w_i v_t^i,  moved = sum w_i v_r^i,  R = argmin over SO(3) of |R - sum w_i R_i|_F,  t = moved - R p.
    """
    require_same_mesh(target, reference)
    raster = target.raster
    corners = target.faces[raster.face_id[raster.mask]]
    weights = raster.barycentric[raster.mask]
    return SurfaceMotion(
        pixel=np.flatnonzero(raster.mask),
        point=np.einsum("nk,nkc->nc", weights, target.vertices[corners]),
        moved=np.einsum("nk,nkc->nc", weights, reference.vertices[corners]),
        rotation=nearest_rotation(np.einsum("nk,nkij->nij", weights, field.rotation[corners])),
        hw=raster.hw,
    )


def stored_motion(motion: SurfaceMotion) -> NDArray[np.float16]:
    """The map as it is stored: (H, W, 6) float16, rotation vector then displacement of the surface point, 0 outside.

    Float16 of t about the camera's origin would cost up to 0.16 px at 256; the displacement d costs 0.02 px at most
    where |d| < 0.25 m, as between frames of a pair, and twice as much for every doubling of |d| (float16's spacing).
    `schemas.motion.decode_motion` turns the map back into R and t.
    """
    height, width = motion.hw
    dense = np.zeros((height * width, 6), np.float16)
    packed = np.concatenate([motion.rotvec, motion.displacement], axis=1)
    dense[motion.pixel] = packed.astype(np.float32).astype(np.float16)
    return dense.reshape(height, width, 6)
