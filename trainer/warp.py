"""Where a target pixel lies in a reference, and what colour is there.

Shapes: B targets, N references each, H W pixels of the maps. Pixel centres at +0.5, metres, x right, y down, z forward.
"""

from __future__ import annotations

import torch
from torch import Tensor

MIN_DEPTH_M = 0.05
"""Points nearer to the reference camera than this have no picture."""


def pixel_rays(K: Tensor, hw: tuple[int, int]) -> Tensor:
    """(B, 3, H, W) of K (B, 3, 3): K^-1 (u, v, 1) at pixel centres, so that depth times ray is the camera point."""
    height, width = hw
    u = torch.arange(width, dtype=K.dtype, device=K.device) + 0.5
    v = torch.arange(height, dtype=K.dtype, device=K.device) + 0.5
    x = ((u - K[:, 0, 2, None]) / K[:, 0, 0, None])[:, None, :].expand(-1, height, -1)
    y = ((v - K[:, 1, 2, None]) / K[:, 1, 1, None])[:, :, None].expand(-1, -1, width)
    return torch.stack([x, y, torch.ones_like(x)], dim=1)


def rotate(rotvec: Tensor, vector: Tensor) -> Tensor:
    """R v for rotation vectors (..., 3, H, W) and vectors broadcastable to them.

    Rodrigues: R v = cos(a) v + sin(a)/a (r x v) + (1 - cos a)/a^2 (r . v) r with a = |r|. Both quotients are finite and
    smooth at a = 0.
    """
    squares = rotvec.square().sum(-3, keepdim=True)
    is_small = squares < 1e-8
    angle = torch.where(is_small, torch.ones_like(squares), squares).sqrt()
    sine = torch.where(is_small, 1 - squares / 6, torch.sin(angle) / angle)
    versine = torch.where(is_small, 0.5 - squares / 24, (1 - torch.cos(angle)) / angle.square())
    cosine = 1 - versine * squares
    vector = vector.expand_as(rotvec)
    along = (rotvec * vector).sum(-3, keepdim=True)
    turned: Tensor = (
        cosine * vector + sine * torch.linalg.cross(rotvec, vector, dim=-3) + versine * along * rotvec
    )
    return turned


def reference_points(offset: Tensor, base_depth: Tensor, rays: Tensor, motion: Tensor) -> Tensor:
    """(B, N, 3, H, W) metres in the reference cameras of the target's refined surface.

    The motion (R, t) of a pixel belongs to its base surface point p = D_base r, r its ray, and is stored as the
    rotation vector of R and the displacement d with R p + t = p + d. For the depth D = D_base + offset

        x_ref = R (D r) + t = p + d + offset R r,

    which has no difference of large numbers, so float32 is exact to micrometres.
    offset, base_depth (B, 1, H, W) metres, rays (B, 3, H, W), motion (B, N, 6, H, W).
    """
    turned = rotate(motion[:, :, :3], rays[:, None])
    return (base_depth * rays)[:, None] + motion[:, :, 3:] + offset[:, None] * turned


def project(points: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (B, N, H, W, 2) = (u, v) of points (B, N, 3, H, W), K (B, N, 3, 3); and which lie in front."""
    z = points[:, :, 2]
    in_front = z > MIN_DEPTH_M
    safe = torch.where(in_front, z, torch.ones_like(z))
    focal, centre = K[..., (0, 1), (0, 1)][..., None, None], K[..., :2, 2][..., None, None]
    px = points[:, :, :2] / safe[:, :, None] * focal + centre
    return px.movedim(2, -1), in_front


def sample_at(images: Tensor, px: Tensor) -> tuple[Tensor, Tensor]:
    """Colours (B, N, C, H, W) of images (B, N, C, H', W') at pixels (B, N, H, W, 2), and which lie inside (B, N, H, W).

    Bilinear between pixel centres. Points outside are not moved into the image: they are reported as outside.
    """
    height, width = images.shape[-2:]
    size = torch.tensor([width, height], dtype=px.dtype, device=px.device)
    inside = ((px >= 0) & (px <= size)).all(-1)
    grid = torch.where(inside[..., None], px / (0.5 * size) - 1, torch.zeros_like(px))
    colours = torch.nn.functional.grid_sample(
        images.flatten(0, 1), grid.flatten(0, 1), mode="bilinear", padding_mode="border", align_corners=False
    )
    return colours.unflatten(0, images.shape[:2]), inside
