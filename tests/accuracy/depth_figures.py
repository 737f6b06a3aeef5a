"""What the errors of a track's bodies are made of, where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.geometry.camera import Camera
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from tests.support.rendered_people import COUNTED_JOINTS, Performance

HIPS, KNEES, ANKLES, SHOULDERS, HEAD, WRISTS = [1, 2], [4, 5], [7, 8], [16, 17], [15], [20, 21]
LEFT, RIGHT = [1, 16], [2, 17]
"""Hips and shoulders."""
LIMBS = ((1, 4), (2, 5), (4, 7), (5, 8), (16, 18), (17, 19), (18, 20), (19, 21))
"""Thighs, shanks, upper arms, forearms."""
SIGN_DEPTH_M = 0.1
"""Limbs that reach less far in depth have no sign."""
DEPTH_EVERY = 6
DEPTH_SCALE = 0.4
"""Base depth is compared in pictures of this share of the film's size, every few frames."""


@dataclass(frozen=True, kw_only=True)
class BodyFigures:
    """Means over frames. Lengths in millimetres, depths positive away from the camera."""

    mpjpe_mm: float
    """Over `COUNTED_JOINTS`, after aligning the mean ..."""
    pa_mm: float
    """... and after a similarity."""
    across_mm: float
    """The part of the first parallel to the picture ..."""
    along_mm: float
    """... and along the viewing axis."""
    ankles_mm: float
    """Signed depth error relative to the hips ..."""
    knees_mm: float
    shoulders_mm: float
    head_mm: float
    wrists_mm: float
    rotation_deg: float
    """Angle of the similarity."""
    exchanged: float
    """Share of frames whose shoulders and hips point to the wrong side."""
    wrong_signs: float
    """Share of limbs (reaching 10 cm or more in depth) that reach the wrong way."""
    depth_mm: float
    """Mean error of the base depth over pixels that both bodies cover, after taking away each image's median."""
    size: float
    """Distance over the true distance, of the pelvis."""
    found: float
    """Share of the film's frames that the track has."""
    kept: float
    """Share of the track's frames that pass the gates."""


def body_figures(
    body: BodyModel,
    truth: Performance,
    frame_index: np.ndarray,
    kept: np.ndarray,
    pose: np.ndarray,
    betas: np.ndarray,
    translation: np.ndarray,
    true_body: BodyModel | None = None,
) -> BodyFigures:
    """Figures of bodies (T of the film's frames) in the film's own camera, over frames `kept` (T,), or all if none.

    `true_body` performed; without one it was `body` too.
    """
    true_body = true_body or body
    use = kept if kept.any() else np.ones(len(kept), bool)
    at = frame_index[use]
    pose, translation = pose[use], translation[use]
    true_joints = truth.joints(true_body)[at]
    joints = body.joints(pose, betas, translation)
    counted = list(COUNTED_JOINTS)
    apart = _centred(joints[:, counted]) - _centred(true_joints[:, counted])
    aligned, angle = _aligned(_centred(joints[:, counted]), _centred(true_joints[:, counted]))
    relative = _depth(joints) - _depth(true_joints)
    sides = [_centre(each, LEFT) - _centre(each, RIGHT) for each in (joints, true_joints)]
    reach = [np.stack([each[:, b, 2] - each[:, a, 2] for a, b in LIMBS], 1) for each in (joints, true_joints)]
    counts = np.abs(reach[1]) > SIGN_DEPTH_M
    wrong = (reach[0] * reach[1] < 0) & counts
    return BodyFigures(
        mpjpe_mm=1000 * float(np.linalg.norm(apart, axis=-1).mean()),
        pa_mm=1000 * float(np.linalg.norm(aligned - _centred(true_joints[:, counted]), axis=-1).mean()),
        across_mm=1000 * float(np.linalg.norm(apart[..., :2], axis=-1).mean()),
        along_mm=1000 * float(np.abs(apart[..., 2]).mean()),
        **{
            f"{name}_mm": 1000 * float(relative[:, group].mean())
            for name, group in (
                ("ankles", ANKLES), ("knees", KNEES), ("shoulders", SHOULDERS), ("head", HEAD),
                ("wrists", WRISTS),
            )
        },
        rotation_deg=float(angle.mean()),
        exchanged=float(((sides[0] * sides[1]).sum(axis=-1) < 0).mean()),
        wrong_signs=float(wrong.sum() / max(counts.sum(), 1)),
        depth_mm=_base_depth_mm(body, true_body, truth, at, pose, betas, translation),
        size=float((joints[:, 0, 2] / true_joints[:, 0, 2]).mean()),
        found=len(frame_index) / len(truth.pts_s),
        kept=float(kept.mean()),
    )  # fmt: skip


def mean_figures(rows: Sequence[BodyFigures]) -> BodyFigures:
    """The mean of every figure."""
    names = [field.name for field in fields(BodyFigures)]
    return BodyFigures(**{name: float(np.nanmean([getattr(row, name) for row in rows])) for name in names})


def _base_depth_mm(
    body: BodyModel,
    true_body: BodyModel,
    truth: Performance,
    at: np.ndarray,
    pose: np.ndarray,
    betas: np.ndarray,
    translation: np.ndarray,
) -> float:
    height, width = truth.camera.hw
    camera: Camera = truth.camera.resized((round(DEPTH_SCALE * height), round(DEPTH_SCALE * width)))
    rasterizer, errors = CompiledRasterizer(), []
    for number in range(0, len(at), DEPTH_EVERY):
        frame = at[number]
        true = true_body.vertices(truth.pose[frame], truth.betas, truth.translation[frame])
        found = body.vertices(pose[number], betas, translation[number])
        depth = [render(rasterizer, each, body.faces, camera).depth for each in (found, true)]
        both = (depth[0] > 0) & (depth[1] > 0)
        if both.any():
            difference = (depth[0] - depth[1])[both]
            errors.append(np.abs(difference - np.median(difference)).mean())
    return 1000 * float(np.mean(errors)) if errors else float("nan")


def _depth(joints: np.ndarray) -> np.ndarray:
    """(T, 24) relative to the hips."""
    return joints[..., 2] - joints[:, HIPS, 2].mean(axis=1, keepdims=True)


def _centre(joints: np.ndarray, group: list[int]) -> np.ndarray:
    return np.asarray(joints[:, group].mean(axis=1))


def _centred(points: np.ndarray) -> np.ndarray:
    return np.asarray(points - points.mean(axis=1, keepdims=True))


def _aligned(points: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centred points (T, K, 3) after the similarity nearest to the truth, and its angles (T,) in degrees."""
    left, values, right = np.linalg.svd(np.einsum("tki,tkj->tij", points, true))
    sign = np.sign(np.linalg.det(left @ right))
    left[:, :, 2] *= sign[:, None]
    values[:, 2] *= sign
    rotation = left @ right
    scale = values.sum(axis=1) / (points**2).sum(axis=(1, 2))
    cosine = (np.trace(rotation, axis1=1, axis2=2) - 1) / 2
    return scale[:, None, None] * (points @ rotation), np.degrees(np.arccos(np.clip(cosine, -1, 1)))
