"""A licensed SMPL file of the user's own, from the pickle its makers ship to the .npz that `BodyModel.load` takes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.body.body_file import BodyArrays, check_body
from pipeline.body.inert_pickle import dense_array, read_pickle
from pipeline.body.landmark_transfer import transferred_landmarks
from pipeline.body.model import BodyModel
from pipeline.body.npz_archive import write_npz
from schemas.conventions import BETA_COUNT
from schemas.errors import AssetError

VERTICES, FACES = 6890, 13776
GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male", "neutral": "neutral"}
_REQUIRED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_REMEDY = (
    "Give the file of SMPL (basicModel_*.pkl or SMPL_*.pkl) as its makers ship it, not of SMPL-H or SMPL-X."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmplFacts:
    """What a file turned out to be."""

    gender: str
    version: str
    """1.0 has 10 shape coefficients, 1.1 has 300."""
    sha256: str
    """Of the pickle."""


def import_smpl(source: Path, out: Path, gender: str | None = None) -> SmplFacts:
    """Reads SMPL's pickle as data (nothing runs), checks it, and writes its arrays as an .npz.

    SMPL has no regressor of BlazePose's 33 landmarks, which the default tracker fits to: it is taken over from the
    open body (see `landmark_transfer`). `gender` replaces what the file's name says. Raises AssetError.
    """
    if source.suffix.lower() == ".npz":
        raise AssetError(f"{source} is an .npz already.", remedy="Give it as body.file.")
    raw = _arrays(source, read_pickle(source))
    body = check_body(source, raw)
    _check_topology(source, body)
    facts = SmplFacts(
        gender=_gender(source, gender),
        version="1.1" if raw["shapedirs"].shape[2] > 10 else "1.0",
        sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
    )
    kept = {key: raw[key] for key in _REQUIRED} | {"shapedirs": raw["shapedirs"][..., :BETA_COUNT]}
    kept["landmark_regressor"] = transferred_landmarks(BodyModel(body), BodyModel.open_body())
    notes = {"gender": facts.gender, "version": facts.version, "source_sha256": facts.sha256}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_npz(out, kept | {key: np.array(text) for key, text in notes.items()}, level=1)
    BodyModel.load(out)
    return facts


def _arrays(source: Path, contents: object) -> dict[str, np.ndarray]:
    if not isinstance(contents, dict):
        raise AssetError(
            f"{source} holds {type(contents).__name__}, expected a dictionary of arrays.", remedy=_REMEDY
        )
    arrays = {}
    for key in _REQUIRED:
        try:
            arrays[key] = dense_array(contents[key])
        except KeyError as error:
            raise AssetError(
                f"{source}: {key}: found {sorted(map(str, contents))}.", remedy=_REMEDY
            ) from error
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise AssetError(f"{source}: {key}: {error}.", remedy=_REMEDY) from error
    return arrays


def _check_topology(source: Path, body: BodyArrays) -> None:
    """SMPL's counts, and a closed surface of one piece: every edge belongs to two faces, in both directions."""
    vertices, faces = len(body.template), body.faces
    if (vertices, len(faces)) != (VERTICES, FACES):
        raise AssetError(
            f"{source}: found {vertices} vertices and {len(faces)} faces, expected {VERTICES} and {FACES}.",
            remedy=_REMEDY,
        )
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    forward, backward = edges @ [vertices, 1], edges @ [1, vertices]
    if len(np.unique(forward)) != len(forward) or not np.array_equal(np.sort(forward), np.sort(backward)):
        raise AssetError(f"{source}: f: the surface is not closed and oriented.", remedy=_REMEDY)


def _gender(source: Path, given: str | None) -> str:
    if given is not None:
        return given
    found = {GENDERS[word] for word in re.split(r"[^a-z]+", source.stem.lower()) if word in GENDERS}
    if len(found) != 1:
        raise AssetError(
            f"the name {source.name!r} does not say a gender.", remedy="Add --gender male, female or neutral."
        )
    return found.pop()
