"""The network: picture -> features -> theta += f(features, theta), three times from a mean body (method, section 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from schemas.conventions import BETA_COUNT, JOINT_COUNT
from trainer.tracknet.config import NetworkSettings
from trainer.tracknet.resnet import ResNet
from trainer.tracknet.rotations import (
    rotation_from_rotvec,
    rotation_from_six,
    rotvec_from_rotation,
    six_from_rotation,
)

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN_SCALE = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Bodies:
    """B bodies as the regressor gives them."""

    pose: Tensor
    """(B, 72) axis-angles or (B, 144) rot6d."""
    betas: Tensor
    """(B, 10)."""
    camera: Tensor
    """(B, 3) s, tx, ty."""

    @property
    def rotations(self) -> Tensor:
        """(B, 24, 3, 3) about the axes of each joint's parent."""
        if self.pose.shape[-1] == 6 * JOINT_COUNT:
            return rotation_from_six(self.pose.unflatten(-1, (JOINT_COUNT, 6)))
        return rotation_from_rotvec(self.pose.unflatten(-1, (JOINT_COUNT, 3)))

    @property
    def vector(self) -> Tensor:
        """(B, 85) [s, tx, ty | 72 pose | 10 betas]."""
        if self.pose.shape[-1] == 3 * JOINT_COUNT:
            return torch.cat([self.camera, self.pose, self.betas], dim=-1)
        return torch.cat([self.camera, rotvec_from_rotation(self.rotations).flatten(-2), self.betas], dim=-1)


class TrackNet(nn.Module):
    """Encoder and regressor. Weights are named as in SPIN's files, so that theirs load into the `hmr` preset."""

    init_pose: Tensor
    init_shape: Tensor
    init_cam: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = ResNet(settings.blocks, settings.width, bottleneck=settings.bottleneck)
        pose_size = 6 * JOINT_COUNT if settings.rotation_form == "rot6d" else 3 * JOINT_COUNT
        hidden = settings.hidden
        self.fc1 = nn.Linear(settings.features + pose_size + BETA_COUNT + 3, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.drop = nn.Dropout(settings.dropout)
        self.decpose = nn.Linear(hidden, pose_size)
        self.decshape = nn.Linear(hidden, BETA_COUNT)
        self.deccam = nn.Linear(hidden, 3)
        for layer in (self.decpose, self.decshape, self.deccam):
            nn.init.xavier_uniform_(layer.weight, gain=0.01)
        self.register_buffer("init_pose", _mean_pose(settings.rotation_form)[None])
        self.register_buffer("init_shape", torch.zeros(1, BETA_COUNT))
        self.register_buffer("init_cam", torch.tensor([[MEAN_SCALE, 0.0, 0.0]]))

    def bodies(self, images: Tensor) -> Bodies:
        """Bodies of square crops (B, 3, P, P), red, green, blue in [0, 1]."""
        return self.regress(self.encoder(self.scaled(images)).float())

    def forward(self, images: Tensor) -> Tensor:
        """(B, 85) of crops (B, 3, P, P)."""
        return self.bodies(images).vector

    def scaled(self, images: Tensor) -> Tensor:
        """What the encoder sees of colours in [0, 1]."""
        if self.settings.scaling == "hmr":
            return 2 * images - 1
        mean, deviation = (
            images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
        )
        return (images - mean) / deviation

    def regress(self, features: Tensor) -> Bodies:
        """Bodies of features (B, F).

        x = [features, theta], h = drop(a(fc2 drop(a(fc1 x)))), theta += [decpose h, decshape h, deccam h], with `a` the
        setting `regressor_activation`; `iterations` times from [init_pose, init_shape, init_cam].
        """
        count = features.shape[0]  # len() would fix the batch in an exported program
        pose, betas = self.init_pose.expand(count, -1), self.init_shape.expand(count, -1)
        camera = self.init_cam.expand(count, -1)
        activate = nn.functional.relu if self.settings.regressor_activation == "relu" else nn.Identity()
        for _ in range(self.settings.iterations):
            x = torch.cat([features, pose, betas, camera], dim=1)
            x = self.drop(activate(self.fc1(x)))
            x = self.drop(activate(self.fc2(x)))
            pose, betas, camera = pose + self.decpose(x), betas + self.decshape(x), camera + self.deccam(x)
        return Bodies(pose=pose, betas=betas, camera=camera)


def _mean_pose(rotation_form: str) -> Tensor:
    """Upright in camera axes, facing the camera: pi about x; every other joint straight."""
    rotvec = torch.zeros(JOINT_COUNT, 3)
    rotvec[0, 0] = torch.pi
    if rotation_form == "axis_angle":
        return rotvec.flatten()
    return six_from_rotation(rotation_from_rotvec(rotvec)).flatten()
