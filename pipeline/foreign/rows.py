"""Parts of a file of results put together into rows of the neutral format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.body.inert_pickle import dense_array
from pipeline.foreign.film import Film
from pipeline.geometry.camera import Camera
from pipeline.tracking.imported_bodies import (
    ImportedBodies,
    bodies_from_arrays,
    translation_with_same_image,
)
from schemas.conventions import BETA_COUNT
from schemas.errors import SourceError

SMPL_PELVIS_M = (-0.0018, -0.2233, 0.0282)
SMPLX_PELVIS_M = (0.0031, -0.3514, 0.0120)
"""Where the pelvis lies at rest (neutral mean shapes), in the axes translations are added in."""


def part(contents: Any, *keys: Any) -> Any:
    """What stands under keys inside one another. Raises KeyError that says what is there instead."""
    for key in keys:
        if not isinstance(contents, Mapping):
            raise KeyError(f"{key!r} is looked for in {type(contents).__name__}")
        if key not in contents:
            raise KeyError(f"there is no {key!r} among {', '.join(map(repr, list(contents)[:12]))}")
        contents = contents[key]
    return contents


def numbers(values: Any, *shape: int) -> np.ndarray:
    """Numbers as (N, *shape), or just the shape's axes where the array has no more. Raises ValueError otherwise."""
    array = np.asarray(dense_array(values), dtype=np.float64)
    squeezed = (
        array.reshape([side for side in array.shape if side != 1]) if array.ndim > len(shape) + 1 else array
    )
    tail = squeezed.shape[squeezed.ndim - len(shape) :] if shape else ()
    if squeezed.ndim not in (len(shape), len(shape) + 1) or tail != shape:
        fitting = "(N, " + ", ".join(map(str, shape)) + ")" if shape else "(N,)"
        raise ValueError(f"an array of shape {array.shape} where {fitting} fits")
    return squeezed.reshape(-1, *shape)


def ten_betas(values: Any, count: int) -> np.ndarray:
    """(count, 10) of shapes with ten or more coefficients, one for all rows or one a row."""
    array = np.asarray(dense_array(values), dtype=np.float64)
    array = array.reshape(-1, array.shape[-1])
    if array.shape[1] < BETA_COUNT or len(array) not in (1, count):
        raise ValueError(f"betas of shape {array.shape} where ({count}, {BETA_COUNT}) fits")
    return np.broadcast_to(array[:, :BETA_COUNT], (count, BETA_COUNT))


def whole(values: Any) -> np.ndarray:
    """(N,) whole numbers. Raises ValueError for fractions."""
    array = np.asarray(dense_array(values)).reshape(-1)
    if not np.isfinite(array).all() or (array != np.round(array)).any():
        raise ValueError("fractions where whole numbers are expected")
    return array.astype(np.int64)


def joined(parts: Iterable[Mapping[str, Any]], **same: Any) -> ImportedBodies:
    """Rows of several people or frames, one after the other. Raises SourceError where there are none."""
    parts = [found for found in parts if len(np.atleast_1d(found["person"]))]
    if not parts:
        raise SourceError("the results hold no person.", remedy="Give results of a film with people in it.")
    rows = dict(parts[0])
    if len(parts) > 1:
        rows = {key: np.concatenate([np.asarray(found[key]) for found in parts]) for key in rows}
    return bodies_from_arrays("results", rows | same)


def with_virtual_lens(
    bodies: ImportedBodies, film: Film, hw: tuple[int, int] | None = None
) -> ImportedBodies:
    """Bodies that were found with a lens no film has: marked so, and moved where the film's own is given.

    The pipeline puts marked bodies where they have the same image through the film's lens.
    """
    if film.focal_px is None:
        return replace(bodies, focal_is_assumed=np.ones(len(bodies), bool))
    height, width = hw if hw is not None else film.size()
    camera = Camera(
        np.array([[film.focal_px, 0, width / 2], [0, film.focal_px, height / 2], [0, 0, 1.0]]),
        (height, width),
    )
    centre = (
        np.broadcast_to(camera.K[:2, 2], (len(bodies), 2)) if bodies.centre_px is None else bodies.centre_px
    )
    assert bodies.translation_m is not None
    assert bodies.focal_px is not None
    moved = translation_with_same_image(bodies.translation_m, bodies.focal_px, centre, camera)
    focal = np.full(len(bodies), film.focal_px)
    return replace(bodies, translation_m=moved, focal_px=focal, centre_px=None, focal_is_assumed=None)


def without_betas(bodies: ImportedBodies) -> ImportedBodies:
    """The same poses and places for a body of another shape space: mean shape, pelvis where it was."""
    rest = {"smpl": SMPL_PELVIS_M, "smplx": SMPLX_PELVIS_M}.get(bodies.shape_space)
    if bodies.rest_pelvis_m is None and rest is not None:
        bodies = replace(bodies, rest_pelvis_m=np.broadcast_to(rest, (len(bodies), 3)))
    return replace(bodies, betas=0 * bodies.betas, shape_space="none")


def at_rate(bodies: ImportedBodies, fps: float) -> ImportedBodies:
    """Bodies by time instead of by frame number: frame n was taken at n / fps."""
    if bodies.frame_index is None:
        raise SourceError(
            "--fps cannot be combined with results that state the times of their bodies.",
            remedy="Leave --fps out.",
        )
    return replace(bodies, pts_s=bodies.frame_index / fps, frame_index=None)


def frame_numbers(names: Sequence[str], first: int = 0) -> list[int]:
    """Frame of each name: the number that its stem is, counted from `first`; else its place in the numbers' order."""
    stems = [re.split(r"[/\\]", name)[-1].rpartition(".")[0] or name for name in names]
    if all(re.fullmatch(r"[0-9]+", stem) for stem in stems):
        return [int(stem) - first for stem in stems]
    order = sorted(range(len(names)), key=lambda at: natural(names[at]))
    places = dict(zip(order, range(len(names))))
    return [places[at] for at in range(len(names))]


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts `track_10` behind `track_2`."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"([0-9]+)", name)]
