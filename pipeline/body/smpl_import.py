"""A licensed body file of the user's own (SMPL, SMPL-H, SMPL-X), as the .npz that `BodyModel.load` takes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.body.body_file import check_body
from pipeline.body.joint_merging import merged_joints
from pipeline.body.landmark_transfer import transferred_landmarks
from pipeline.body.model import BodyModel
from pipeline.body.model_file import COUNTS, KIND_NAMES, REMEDY, Kind, kind_of, model_arrays, shape_count
from pipeline.body.npz_archive import write_npz
from pipeline.body.smplx_check import difference_from_smplx
from schemas.conventions import BETA_COUNT
from schemas.errors import AssetError

GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male", "neutral": "neutral"}

SMPLX_TOLERANCE_M = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class SmplFacts:
    """What a file turned out to be."""

    kind: Kind
    gender: str
    betas: int
    """Shape coefficients of the file; the first ten are kept."""
    sha256: str
    """Of the file."""
    difference_m: float | None
    """Largest distance of a posed vertex from the smplx package's; None where that is not installed."""

    @property
    def name(self) -> str:
        """The model's."""
        return KIND_NAMES[self.kind]


def import_smpl(source: Path, out: Path, gender: str | None = None) -> SmplFacts:
    """Reads a model's file as data (nothing runs), checks it, and writes its arrays as an .npz of 24 joints.

    SMPL-H's and SMPL-X's hands and face are merged (see `joint_merging`); all vertices stay. None of the three has a
    regressor of BlazePose's 33 landmarks, which the default tracker fits to: it is taken over from the open body (see
    `landmark_transfer`). `gender` replaces what the file's name says. Raises AssetError.
    """
    raw = model_arrays(source)
    kind = kind_of(source, raw)
    kept = merged_body(source, kind, raw)
    body = BodyModel(check_body(source, kept), str(source))
    _check_surface(source, kind, body)
    gender = _gender(source, gender)
    with open(source, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    difference = difference_from_smplx(kind, raw, body)
    if difference is not None and not difference <= SMPLX_TOLERANCE_M:
        raise AssetError(
            f"{source}: its posed vertices differ from those of the smplx package by up to {difference:.2g} m.",
            remedy=REMEDY,
        )
    kept["landmark_regressor"] = transferred_landmarks(body, BodyModel.open_body())
    betas = shape_count(kind, raw)
    notes = {"gender": gender, "source_betas": str(betas), "source_sha256": digest}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_npz(out, kept | {key: np.array(text) for key, text in notes.items()}, level=1)
    BodyModel.load(out)
    return SmplFacts(kind=kind, gender=gender, betas=betas, sha256=digest, difference_m=difference)


def merged_body(source: Path, kind: Kind, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a body file: 24 joints, ten shape coefficients, and whose they are. Raises AssetError."""
    vertices, _, joints = COUNTS[kind]
    expected = {
        "v_template": (vertices, 3), "J_regressor": (joints, vertices), "weights": (vertices, joints),
        "kintree_table": (2, joints), "posedirs": (vertices, 3, 9 * (joints - 1)), "shapedirs": (vertices, 3, None),
    }  # fmt: skip
    for key, shape in expected.items():
        found = raw[key]
        fits = len(shape) == found.ndim and all(
            want in (None, have) for want, have in zip(shape, found.shape)
        )
        if not fits or found.dtype.kind not in "fiu":
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise AssetError(
                f"{source}: {key}: found {found.dtype} of shape {found.shape}, expected numbers of shape ({wanted}).",
                remedy=REMEDY,
            )
    arrays = dict(raw) if kind == "smpl" else merged_joints(source, raw)
    return arrays | {"shapedirs": raw["shapedirs"][..., :BETA_COUNT], "kind": np.array(kind)}


def _check_surface(source: Path, kind: Kind, body: BodyModel) -> None:
    """SMPL's and SMPL-H's surface is closed: every edge belongs to two faces, in both directions.

    SMPL-X's is not (eyes and mouth have rims); its counts must do.
    """
    if kind == "smplx":
        return
    vertices, faces = len(body.template), body.faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    forward, backward = edges @ [vertices, 1], edges @ [1, vertices]
    if len(np.unique(forward)) != len(forward) or not np.array_equal(np.sort(forward), np.sort(backward)):
        raise AssetError(f"{source}: f: the surface is not closed and oriented.", remedy=REMEDY)


def _gender(source: Path, given: str | None) -> str:
    """What the file's name says, else its folder's (SMPL-H for AMASS comes as neutral/model.npz)."""
    if given is not None:
        return given
    for name in (source.stem, source.resolve().parent.name):
        found = {GENDERS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in GENDERS}
        if len(found) == 1:
            return found.pop()
    raise AssetError(
        f"the name {source.name!r} does not state a gender.", remedy="Add --gender male, female or neutral."
    )
