"""The input of the geometry benchmarks: the open body in two frames, refined to 13,222 vertices."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from pipeline.geometry.rings import Rings, two_ring
from tests.support.scenes import BodyPair, body_pair

VERTEX_COUNT = 13_222
SIDE_PX = 256


@cache
def dense_pair() -> tuple[BodyPair, Rings]:
    """A pair at 256 pixels and its two-rings; a whole subdivision would give 28,000 vertices, so edges are split."""
    pair = body_pair(SIDE_PX)
    faces, ends = split_longest_edges(pair.target, pair.faces)
    grown = {name: np.concatenate([v, v[ends].mean(axis=1)]) for name, v in per_vertex(pair).items()}
    pair = replace(pair, faces=faces, **grown)
    assert len(pair.target) == VERTEX_COUNT, "the shipped body changed: put its new count here"
    return pair, two_ring(faces, len(pair.target))


def per_vertex(pair: BodyPair) -> dict[str, np.ndarray]:
    """The arrays that have a row per vertex."""
    return {"rest": pair.rest, "target": pair.target, "reference": pair.reference}


def split_longest_edges(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces (F', 3), and the ends (n, 2) of the edges at whose middles the n new vertices lie.

    The longest edges first; a triangle is cut at most once, so the mesh stays closed and keeps its shape.
    """
    corners = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges, of_face = np.unique(np.sort(corners, axis=1), axis=0, return_inverse=True)
    of_face = of_face.reshape(-1, 3)
    sides: list[list[int]] = [[] for _ in edges]
    for face, own in enumerate(of_face.tolist()):
        for edge in own:
            sides[edge].append(face)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    cut: dict[int, tuple[int, int]] = {}
    ends: list[int] = []
    for edge in np.argsort(-length).tolist():
        if any(face in cut for face in sides[edge]):
            continue
        for face in sides[edge]:
            cut[face] = (of_face[face].tolist().index(edge), len(vertices) + len(ends))
        ends.append(edge)
    new = [face for number, face in enumerate(faces.tolist()) if number not in cut]
    for face, (start, middle) in cut.items():
        a, b, c = np.roll(faces[face], -start).tolist()
        new += [[a, middle, c], [middle, b, c]]
    return np.array(new, np.int32), edges[ends]
