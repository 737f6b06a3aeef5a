"""The `smplx` package as a second opinion: an imported body posed by it and by us.

The package is an extra of its own (`pip install 'humandepth[smplx]'`), free for non-commercial research only, as are
the models. It unpickles the files it is given, so it is given the arrays that were read here, in a file of our own.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.body.model_file import Kind
from schemas.conventions import BETA_COUNT, JOINT_COUNT

POSES = 4
_HAND_COEFFICIENTS, _FACE_LANDMARKS = 45, 51


def difference_from_smplx(kind: Kind, raw: Mapping[str, np.ndarray], body: BodyModel) -> float | None:
    """Largest distance in metres of a vertex between smplx's mesh of a file's arrays and ours of the imported body.

    Over random shapes and poses of the body's joints, hands and face at rest. None where smplx is not installed.
    """
    try:
        import smplx
        import torch
    except ModuleNotFoundError:
        return None
    rng = np.random.default_rng(6666)
    pose, betas = rng.normal(0, 0.4, (POSES, JOINT_COUNT, 3)), rng.normal(0, 1.5, (POSES, BETA_COUNT))
    place = rng.normal(0, 2, (POSES, 3))
    if kind != "smpl":
        pose[:, 22:] = 0  # the layout's hands; in the others these places are fingers or the jaw
    joints = 24 if kind == "smpl" else 22
    with contextlib.redirect_stdout(io.StringIO()):  # it warns of ten shape coefficients
        theirs = _their_model(smplx, torch, kind, raw)
    values = {
        "betas": betas, "transl": place, "global_orient": pose[:, 0], "body_pose": pose[:, 1:joints].reshape(POSES, -1)
    }  # fmt: skip
    with torch.no_grad():
        found = theirs(**{name: torch.from_numpy(value) for name, value in values.items()}).vertices.numpy()
    return float(np.linalg.norm(found - body.vertices(pose, betas, place), axis=-1).max())


def _their_model(smplx: Any, torch: Any, kind: Kind, raw: Mapping[str, np.ndarray]) -> Any:
    """smplx's model of arrays; what it wants beyond them (hands' components, face landmarks) is zero."""
    arrays = dict(raw) | {"shapedirs": raw["shapedirs"][..., :BETA_COUNT]}
    options = {"batch_size": POSES, "dtype": torch.float64, "num_betas": BETA_COUNT}
    if kind == "smpl":
        struct = smplx.utils.Struct(**arrays)
        names = smplx.vertex_ids.vertex_ids["smplh"]
        return smplx.SMPL(model_path="", data_struct=struct, vertex_ids=names, **options)
    for side in "lr":
        arrays[f"hands_components{side}"] = np.eye(_HAND_COEFFICIENTS)
        arrays[f"hands_mean{side}"] = np.zeros(_HAND_COEFFICIENTS)
    options |= {"use_pca": False, "flat_hand_mean": True}
    if kind == "smplh":
        names = smplx.vertex_ids.vertex_ids["smplh"]
        struct = smplx.utils.Struct(**arrays)
        return smplx.SMPLH(model_path="", data_struct=struct, vertex_ids=names, **options)
    arrays["shapedirs"] = np.pad(arrays["shapedirs"], ((0, 0), (0, 0), (0, 10)))  # no expression
    arrays["lmk_faces_idx"] = np.zeros(_FACE_LANDMARKS, np.int64)
    arrays["lmk_bary_coords"] = np.tile([1.0, 0, 0], (_FACE_LANDMARKS, 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "SMPLX_NEUTRAL.npz"
        np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's signature takes allow_pickle too
        return smplx.SMPLX(model_path=str(path), **options)
