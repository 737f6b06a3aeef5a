"""The body model as tensors: joints and vertices of rotation matrices, from a file in SMPL's layout."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.conventions import BETA_COUNT, JOINT_COUNT
from schemas.errors import AssetError

_REMEDY = "Write one with `python -m pipeline body export --out body.npz`, or import SMPL with `body import`."


class TorchBody(nn.Module):
    """SMPL's formula without pose blend shapes, about the body's origin. Metres."""

    joint_template: Tensor
    joint_shapedirs: Tensor
    template: Tensor
    shapedirs: Tensor
    weights: Tensor

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        super().__init__()
        regressor = torch.as_tensor(arrays["J_regressor"], dtype=torch.float64)
        template = torch.as_tensor(arrays["v_template"], dtype=torch.float64)
        shapedirs = torch.as_tensor(arrays["shapedirs"][..., :BETA_COUNT], dtype=torch.float64)
        tensors = {
            "joint_template": regressor @ template,
            "joint_shapedirs": torch.einsum("jv,vcb->jcb", regressor, shapedirs),
            "template": template,
            "shapedirs": shapedirs,
            "weights": torch.as_tensor(arrays["weights"]),
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.float(), persistent=False)
        parents = np.asarray(arrays["kintree_table"][0], dtype=np.int64)
        self.parents = [-1, *map(int, parents[1:])]

    @classmethod
    def load(cls, path: str | Path) -> TorchBody:
        """From an .npz in SMPL's layout. Raises AssetError."""
        names = ("v_template", "shapedirs", "J_regressor", "weights", "kintree_table")
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in names}
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise AssetError(f"{path} is not a body file: {error}.", remedy=_REMEDY) from error
        if arrays["J_regressor"].shape != (JOINT_COUNT, len(arrays["v_template"])):
            raise AssetError(
                f"{path}: J_regressor: found {arrays['J_regressor'].shape}, expected (24, V).", remedy=_REMEDY
            )
        return cls(arrays)

    def joints(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """(B, 24, 3) of rotations (B, 24, 3, 3) and betas (B, 10)."""
        return self._chained(rotations, betas)[1]

    def vertices(self, rotations: Tensor, betas: Tensor) -> Tensor:
        """(B, V, 3) by linear blend skinning; arguments as for `joints`."""
        world, position, rest = self._chained(rotations, betas)
        offset = position - (world @ rest[..., None])[..., 0]
        shape = self.template + torch.einsum("vcb,nb->nvc", self.shapedirs, betas)
        blended = torch.einsum("vj,njrc->nvrc", self.weights, world)
        return (blended @ shape[..., None])[..., 0] + torch.einsum("vj,njr->nvr", self.weights, offset)

    def _chained(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """World rotations (B, 24, 3, 3), joints (B, 24, 3), and the joints at rest."""
        rest = self.joint_template + torch.einsum("jcb,nb->njc", self.joint_shapedirs, betas)
        world, position = [rotations[:, 0]], [rest[:, 0]]
        for joint in range(1, JOINT_COUNT):
            parent = self.parents[joint]
            bone = rest[:, joint] - rest[:, parent]
            world.append(world[parent] @ rotations[:, joint])
            position.append(position[parent] + (world[parent] @ bone[..., None])[..., 0])
        return torch.stack(world, 1), torch.stack(position, 1), rest
