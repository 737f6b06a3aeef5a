"""BlazePose's detector and landmark network on LiteRT: images in, key points of people out.

The models are those of MediaPipe 0.10.21 (Apache-2.0). Inputs are sRGB uint8 images, outputs are pixels of the
image (centres at +0.5) and metres in axes parallel to the viewing ray's (x right, y down, z away).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from pipeline.assets import asset_path
from pipeline.geometry.array_types import Floats, Singles
from pipeline.tracking.heatmap_kernel import fill_centroids
from pipeline.tracking.looks import Look, mean_look, mirrored_look
from pipeline.tracking.regions import Region, sample, transform
from schemas.conventions import LANDMARK_COUNT
from schemas.errors import AssetError

DETECTOR_PX = 224
LANDMARK_PX = 256
ANCHOR_STRIDES = (8, 16, 32, 32, 32)
NETWORK_LANDMARKS = 39
LANDMARK_SIZES = (5 * NETWORK_LANDMARKS, 1)
"""Of a landmark network's first outputs."""
CENTRE_LANDMARK, CIRCLE_LANDMARK = 33, 34
"""Auxiliary landmarks: the region of the next frame."""
REFINE_RADIUS = 3
REFINE_MIN_CONFIDENCE = 0.5
SEGMENTATION_PX = 128
"""Side of the kept segmentation (the network gives 256; a quarter of the memory, and its edges are soft anyway)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections:
    """People the detector saw, best first."""

    score: np.ndarray
    """(N,) in [0, 1]."""
    keypoints_px: np.ndarray
    """(N, 4, 2): mid-hip, point on the body's circle, mid-shoulder, point on the upper body's circle."""

    def region(self, index: int) -> Region:
        """Where the landmark network should look for a person."""
        return Region.from_keypoints(self.keypoints_px[index, 0], self.keypoints_px[index, 1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Landmarks:
    """One person in one frame, as the landmark network sees them."""

    xy_px: np.ndarray
    """(33, 2) pixels of the image."""
    visibility: np.ndarray
    """(33,) probability that nothing hides the landmark."""
    presence: np.ndarray
    """(33,) probability that the landmark lies inside the crop."""
    world_m: np.ndarray
    """(33, 3) metres, hip-centred."""
    score: float
    """Probability that the region shows a person."""
    segmentation: np.ndarray
    """(SEGMENTATION_PX, SEGMENTATION_PX) uint8, 255 = wholly the person, aligned with the region."""
    image_from_segmentation: np.ndarray
    """(2, 3) affine map of the segmentation's pixels to the image's."""
    next_region: Region
    """Where to look in the next frame."""
    heavier: bool = False
    """Whether the heavier of two landmark networks saw it."""


def anchor_centres() -> np.ndarray:
    """(2254, 2) anchor centres in [0, 1] of the detector's input: two per cell and layer, layers of a stride merged."""
    centres = []
    for stride in sorted(set(ANCHOR_STRIDES)):
        cells = DETECTOR_PX // stride
        v, u = np.mgrid[0:cells, 0:cells]
        grid = (np.stack([u, v], axis=-1).reshape(-1, 2) + 0.5) / cells
        centres.append(np.repeat(grid, 2 * ANCHOR_STRIDES.count(stride), axis=0))
    return np.concatenate(centres)


def decode_keypoints(raw: Singles, centres: Floats) -> Floats:
    """Key points (N, 4, 2) in detector pixels of raw outputs (N, 12) [box 4 | 4 x (u, v)] and anchors (N, 2)."""
    return raw[:, 4:12].reshape(-1, 4, 2) + DETECTOR_PX * centres[:, None]


def logistic(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), clipped where float64 would overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(np.asarray(logits, dtype=np.float64), -60, 60)))


def refine_with_heatmap(xy: np.ndarray, heatmap_logits: np.ndarray) -> np.ndarray:
    """Landmarks (K, 2) in landmark-crop pixels, moved to the centroid of their heat map (S, S, K) near by.

    Confidence-weighted mean over the 7x7 cells around the landmark; one whose best cell is below 0.5, or which lies
    outside the map, stays. Cell i stands for the coordinate i / S, as in MediaPipe's decoder.
    """
    size, centroid = heatmap_logits.shape[0], np.empty(xy.shape)
    fill_centroids(xy / LANDMARK_PX * size, heatmap_logits, REFINE_RADIUS, REFINE_MIN_CONFIDENCE, centroid)
    return np.where(np.isnan(centroid), xy, centroid / size * LANDMARK_PX)


def coverage(person: np.ndarray) -> np.ndarray:
    """(SEGMENTATION_PX, SEGMENTATION_PX) uint8: 255 times the share of each cell that shows the person.

    Of probabilities (LANDMARK_PX, LANDMARK_PX). The network's map holds logits (measured: -1800 to 270), and a mean
    of logits lets the background win every mixed cell, which thins arms and legs.
    """
    size = (SEGMENTATION_PX, SEGMENTATION_PX)
    shares: Singles = cv2.resize(person, size, interpolation=cv2.INTER_AREA)
    return np.rint(255 * shares).astype(np.uint8)


def tile_offsets(hw: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Square tiles (left, top, side) over an image, side = its shorter side, at least half overlapping.

    People far from the centre of a wide frame are small and off-centre in its letterbox; in a tile they are not
    (measured: scores .86-.98 against .38-.9).
    """
    height, width = hw
    side, length = min(hw), max(hw)
    if length <= 1.05 * side:
        return []
    count = int(np.ceil((length - side) / (side / 2))) + 1
    offsets = np.rint(np.linspace(0, length - side, count)).astype(int)
    return [(int(at), 0, side) if width > height else (0, int(at), side) for at in offsets]


class PoseModels:
    """The detector and one or two landmark networks, one thread each. Raises AssetError when a file cannot be used."""

    def __init__(
        self,
        detector_path: Path | None = None,
        landmark_path: Path | None = None,
        *,
        heavier_path: Path | None = None,
        mirrored_look: bool = False,
    ) -> None:
        self._mirrored_look = mirrored_look
        self._detector = _interpreter(detector_path or asset_path("pose_detection.tflite"), (12, 1))
        self._landmarker = _interpreter(
            landmark_path or asset_path("pose_landmark_full.tflite"), LANDMARK_SIZES
        )
        self._heavier = None if heavier_path is None else _interpreter(heavier_path, LANDMARK_SIZES)
        self._anchors = anchor_centres()

    def detect(self, image: np.ndarray, threshold: float = 0.5) -> Detections:
        """People in an image (H, W, 3), as it fits into the detector's square."""
        height, width = image.shape[:2]
        scale = DETECTOR_PX / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        left, top = (DETECTOR_PX - size[0]) // 2, (DETECTOR_PX - size[1]) // 2
        canvas = np.zeros((DETECTOR_PX, DETECTOR_PX, 3), np.uint8)
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(image, size, interpolation=interpolation)
        canvas[top : top + size[1], left : left + size[0]] = small
        raw, logits = _run(self._detector, canvas.astype(np.float32) / 127.5 - 1.0)[:2]
        score = logistic(logits[0, :, 0])
        kept = np.flatnonzero(score >= threshold)
        kept = kept[np.argsort(-score[kept], kind="stable")]
        keypoints = decode_keypoints(raw[0, kept].astype(np.float64), self._anchors[kept])
        return Detections(score=score[kept], keypoints_px=(keypoints - np.array([left, top])) / scale)

    def detect_people(self, image: np.ndarray, threshold: float) -> Detections:
        """People in an image and in its tiles, each once: the best of those whose hips nearly coincide."""
        found = [self.detect(image, threshold)]
        for left, top, side in tile_offsets(image.shape[:2]):
            tile = self.detect(image[top : top + side, left : left + side], threshold)
            found.append(Detections(score=tile.score, keypoints_px=tile.keypoints_px + np.array([left, top])))
        score = np.concatenate([part.score for part in found])
        keypoints = np.concatenate([part.keypoints_px for part in found])
        kept = _suppress(score, keypoints)
        return Detections(score=score[kept], keypoints_px=keypoints[kept])

    def landmarks(self, image: np.ndarray, region: Region, *, heavier: bool = False) -> Landmarks:
        """Landmarks, visibility, world landmarks and segmentation of the person in a region.

        `heavier`: as the heavier network sees them, where there is one.
        """
        network = self._heavier if heavier and self._heavier is not None else self._landmarker
        image_from_crop = region.image_from_crop(LANDMARK_PX)
        crop = sample(image, image_from_crop, LANDMARK_PX).astype(np.float32) / 255.0
        look = first = self._look(network, crop)
        if self._mirrored_look:
            look = mean_look(first, mirrored_look(self._look(network, np.ascontiguousarray(crop[:, ::-1]))))
        world = look.world_m.copy()
        cos, sin = np.cos(region.rotation_rad), np.sin(region.rotation_rad)
        world[:, :2] = world[:, :2] @ np.array([[cos, sin], [-sin, cos]])
        ahead = transform(image_from_crop, first.xy[LANDMARK_COUNT:])
        return Landmarks(
            xy_px=transform(image_from_crop, look.xy[:LANDMARK_COUNT]),
            visibility=look.visibility,
            presence=look.presence,
            world_m=world,
            score=look.score,
            segmentation=coverage(look.person),
            image_from_segmentation=region.image_from_crop(SEGMENTATION_PX),
            next_region=Region.from_keypoints(
                ahead[CENTRE_LANDMARK - LANDMARK_COUNT], ahead[CIRCLE_LANDMARK - LANDMARK_COUNT]
            ),
            heavier=network is self._heavier,
        )

    def _look(self, network: Interpreter, crop: np.ndarray) -> Look:
        raw, score, mask, heatmap, world = _run(network, crop)
        rows = raw[0].reshape(NETWORK_LANDMARKS, 5).astype(np.float64)
        return Look(
            xy=refine_with_heatmap(rows[:, :2], heatmap[0]),
            visibility=logistic(rows[:LANDMARK_COUNT, 3]),
            presence=logistic(rows[:LANDMARK_COUNT, 4]),
            world_m=world[0].reshape(NETWORK_LANDMARKS, 3)[:LANDMARK_COUNT].astype(np.float64),
            score=float(score[0, 0]),
            person=logistic(mask[0, :, :, 0]),
        )


def _suppress(score: np.ndarray, keypoints: np.ndarray) -> list[int]:
    """Indices of detections, best first, whose hips are half a body circle away from every better one's."""
    radius = np.linalg.norm(keypoints[:, 1] - keypoints[:, 0], axis=-1)
    kept: list[int] = []
    for index in np.argsort(-score, kind="stable"):
        apart = np.linalg.norm(keypoints[kept, 0] - keypoints[index, 0], axis=-1)
        if (apart > 0.5 * np.maximum(radius[kept], radius[index])).all():
            kept.append(int(index))
    return kept


def _interpreter(path: Path, sizes: tuple[int, ...]) -> Interpreter:
    remedy = "Run `python -m pipeline fetch` to get it again."
    try:
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        outputs = interpreter.get_output_details()
    except (ValueError, RuntimeError, OSError) as error:
        raise AssetError(f"{path} is not a usable TFLite model ({error}).", remedy=remedy) from error
    if tuple(int(output["shape"][-1]) for output in outputs[: len(sizes)]) != sizes:
        shapes = [tuple(map(int, output["shape"])) for output in outputs]
        raise AssetError(f"{path} is another model: its outputs are {shapes}.", remedy=remedy)
    return interpreter


def _run(interpreter: Interpreter, image: np.ndarray) -> list[np.ndarray]:
    """Outputs in the order of their names (Identity, Identity_1, ...)."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    outputs = sorted(interpreter.get_output_details(), key=lambda output: output["name"])
    return [interpreter.get_tensor(output["index"]) for output in outputs]
