"""How far a network's bodies are from the true ones on held-out pictures, in millimetres."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from schemas.conventions import JOINT_COUNT, VECTOR_BETAS, VECTOR_POSE
from trainer.tracknet.body import TorchBody
from trainer.tracknet.losses import aligned
from trainer.tracknet.model import Bodies, TrackNet
from trainer.tracknet.rotations import rotation_from_rotvec

BATCH = 32


@torch.no_grad()
def validate_tracknet(
    model: TrackNet, body: TorchBody, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> dict[str, float]:
    """Means over pictures: `mpjpe_mm` with the pelvis aligned, `pa_mpjpe_mm` after a similarity, `vertex_mm` with the
    pelvis aligned, and `mean_pose_mpjpe_mm` of the body every picture starts from: the floor any training must beat.
    """
    model.eval()
    sums, count = torch.zeros(4, dtype=torch.float64), 0
    for images, truth in batches:
        images, truth = images.to(device), truth.to(device)
        found = model.bodies(images)
        start = Bodies(
            pose=model.init_pose.expand(len(images), -1),
            betas=model.init_shape.expand(len(images), -1),
            camera=model.init_cam.expand(len(images), -1),
        )
        rotations = rotation_from_rotvec(truth[:, VECTOR_POSE].unflatten(-1, (JOINT_COUNT, 3)))
        betas = truth[:, VECTOR_BETAS]
        true_joints = body.joints(rotations, betas)
        joints, mean_joints = (body.joints(each.rotations, each.betas) for each in (found, start))
        vertices = body.vertices(found.rotations, found.betas) - joints[:, :1]
        true_vertices = body.vertices(rotations, betas) - true_joints[:, :1]
        errors = (
            _distance(joints - joints[:, :1], true_joints - true_joints[:, :1]),
            _distance(aligned(joints, true_joints), true_joints),
            _distance(vertices, true_vertices),
            _distance(mean_joints - mean_joints[:, :1], true_joints - true_joints[:, :1]),
        )
        sums += torch.stack([error.sum() for error in errors]).double().cpu()
        count += len(images)
    names = ("mpjpe_mm", "pa_mpjpe_mm", "vertex_mm", "mean_pose_mpjpe_mm")
    return {name: 1000 * float(value) / max(count, 1) for name, value in zip(names, sums, strict=True)}


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """(B,) mean over points of the distance, metres."""
    distances: Tensor = torch.linalg.vector_norm(a - b, dim=-1)
    return distances.mean(dim=-1)
