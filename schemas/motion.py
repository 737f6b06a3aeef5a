"""The stored motion map and its decoder: the one place that says how six numbers become a rotation and translation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def decode_motion(
    motion: NDArray[np.floating],
    base_depth: NDArray[np.floating],
    K: NDArray[np.floating],
    hw: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation (H, W, 3, 3) and translation (H, W, 3) in metres, `reference_from_target`, of a stored motion map.

    A pixel holds [v, d]: the rotation vector v of R and the displacement d of the surface point
    p = base_depth K^-1 (u, v, 1), so that

        t = p + d - R p    and    R p + t = p + d.

    motion (H, W, 6), base_depth (H, W) metres, K (3, 3) of the target at the map's own size, hw = (H, W) that K belongs
    to. Pixels without a body (base_depth 0) hold zeros and come back as R = I, t = 0.
    """
    if motion.shape != (*hw, 6) or base_depth.shape != tuple(hw):
        raise ValueError(
            f"maps must have K's size {hw}, got motion {motion.shape} and base_depth {base_depth.shape}"
        )
    rotvec, displacement = motion[..., :3].astype(np.float64), motion[..., 3:].astype(np.float64)
    point = _surface_point(np.asarray(base_depth, np.float64), np.asarray(K, np.float64))
    rotation = _rotation(rotvec)
    turned = np.einsum("hwij,hwj->hwi", rotation, point)
    return rotation, point + displacement - turned


def _surface_point(depth: NDArray[np.float64], K: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = np.indices(depth.shape)
    x = (columns + 0.5 - K[0, 2]) / K[0, 0]
    y = (rows + 0.5 - K[1, 2]) / K[1, 1]
    rays: NDArray[np.float64] = np.stack([x, y, np.ones_like(x)], axis=-1)
    return rays * depth[..., None]


def _rotation(rotvec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rodrigues' formula; sinc keeps it exact at zero."""
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(rotvec, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*rotvec.shape[:-1], 3, 3)
    sine, cosine = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    rotation: NDArray[np.float64] = np.eye(3) + sine * cross + cosine * (cross @ cross)
    return rotation
