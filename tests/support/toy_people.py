"""People without pictures: stick figures that walk and turn, scripted networks that see them, posed bodies observed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from pipeline.records import Frame
from pipeline.tracking.articulated_body import ArticulatedBody
from pipeline.tracking.blazepose import SEGMENTATION_PX, Detections, Landmarks
from pipeline.tracking.people import Observations
from pipeline.tracking.regions import Region
from schemas.conventions import JOINT_COUNT, LANDMARK_COUNT


def stick_figure() -> np.ndarray:
    """(33, 3) metres about the hips, facing the camera: left to the right of the image, y down, z away."""
    points = np.zeros((LANDMARK_COUNT, 3))
    points[0] = 0.0, -0.60, -0.15
    for at, x in enumerate((0.02, 0.03, 0.04, -0.02, -0.03, -0.04), start=1):
        points[at] = x, -0.64, -0.12
    pairs = {
        7: (0.07, -0.62, 0.0),  # ears
        9: (0.02, -0.55, -0.12),  # mouth
        11: (0.18, -0.45, 0.0),  # shoulders
        13: (0.24, -0.18, 0.02),  # elbows
        15: (0.26, 0.06, -0.05),  # wrists
        17: (0.27, 0.13, -0.05),
        19: (0.25, 0.14, -0.06),
        21: (0.23, 0.10, -0.08),
        23: (0.10, 0.0, 0.0),  # hips
        25: (0.11, 0.40, -0.02),  # knees
        27: (0.11, 0.80, 0.02),  # ankles
        29: (0.11, 0.84, 0.06),  # heels
        31: (0.13, 0.87, -0.14),  # toes
    }
    for left, place in pairs.items():
        points[left] = place
        points[left + 1] = place * np.array([-1, 1, 1])
    return points


def walking_stick(times_s: np.ndarray, yaw_rad: np.ndarray, stride_hz: float = 0.9) -> np.ndarray:
    """(T, 33, 3) hip-centred metres of a stick figure whose arms and legs swing, turned by a yaw per frame."""
    rest, swing = stick_figure(), np.sin(2 * np.pi * stride_hz * times_s)
    points = np.repeat(rest[None], len(times_s), axis=0)
    for side in (0, 1):
        sign = 1 - 2 * side
        legs, arms = [25 + side, 27 + side, 29 + side, 31 + side], [at + side for at in (13, 15, 17, 19, 21)]
        points[:, legs, 2] += sign * 0.4 * swing[:, None] * rest[legs, 1]
        points[:, arms, 2] -= sign * 0.4 * swing[:, None] * (rest[arms, 1] + 0.45)
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    turn = np.zeros((len(times_s), 3, 3))
    turn[:, 0, 0], turn[:, 0, 2], turn[:, 1, 1], turn[:, 2, 0], turn[:, 2, 2] = cos, sin, 1, -sin, cos
    return points @ np.swapaxes(turn, 1, 2)


def observed_stick(
    times_s: np.ndarray,
    yaw_rad: np.ndarray,
    *,
    px_per_m: float = 200.0,
    drift_px_s: float = 60.0,
    noise_m: float = 0.0,
    rng: np.random.Generator | None = None,
    stride_hz: float = 0.9,
) -> Observations:
    """A stick figure seen from afar while it drifts sideways."""
    world = walking_stick(times_s, yaw_rad, stride_hz)
    if noise_m and rng is not None:
        world = world + rng.normal(0, noise_m, world.shape)
    at = np.stack([300 + drift_px_s * times_s, np.full(len(times_s), 250.0)], axis=-1)
    return observations(times_s, px_per_m * world[..., :2] + at[:, None], world, image_hw=(500, 900))


def observations(
    times_s: np.ndarray,
    xy_px: np.ndarray,
    world_m: np.ndarray,
    *,
    image_hw: tuple[int, int],
    segmentation: np.ndarray | None = None,
    image_from_segmentation: np.ndarray | None = None,
) -> Observations:
    """Observations with everything visible; segmentations empty unless given."""
    count = len(times_s)
    if segmentation is None:
        segmentation = np.zeros((count, SEGMENTATION_PX, SEGMENTATION_PX), np.uint8)
    if image_from_segmentation is None:
        image_from_segmentation = np.repeat(np.eye(2, 3)[None], count, axis=0)
    return Observations(
        frame_index=np.arange(count),
        pts_s=np.asarray(times_s, np.float64),
        image_hw=image_hw,
        xy_px=np.asarray(xy_px, np.float64),
        visibility=np.full((count, LANDMARK_COUNT), 0.99),
        presence=np.full((count, LANDMARK_COUNT), 0.99),
        world_m=np.asarray(world_m, np.float64),
        score=np.full(count, 0.99),
        segmentation=segmentation,
        image_from_segmentation=image_from_segmentation,
    )


def with_swapped_frames(seen: Observations, swapped: np.ndarray, twin: np.ndarray) -> Observations:
    """What a network says that takes left for right, and so front for back, in some frames."""
    pick = swapped[:, None, None]
    return replace(
        seen,
        xy_px=np.where(pick, seen.xy_px[:, twin], seen.xy_px),
        world_m=np.where(pick, seen.world_m[:, twin] * [1, 1, -1], seen.world_m),
        visibility=np.where(swapped[:, None], seen.visibility[:, twin], seen.visibility),
        presence=np.where(swapped[:, None], seen.presence[:, twin], seen.presence),
    )


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A person in a script: where they are, when they can be seen, when the detector notices them."""

    number: int
    hips_px: Callable[[int], tuple[float, float]]
    visible: Callable[[int], bool] = lambda frame: True
    detectable: Callable[[int], bool] = lambda frame: True
    height_px: float = 100.0

    def points(self, frame: int) -> np.ndarray:
        """(33, 2) pixels."""
        return np.array(self.hips_px(frame)) + stick_figure()[:, :2] * self.height_px / 1.5

    def region(self, frame: int) -> Region:
        """1.5 times the person's height, upright."""
        side = np.array([0, 0.6 * self.height_px])
        return Region.from_keypoints(np.array(self.hips_px(frame)), np.array(self.hips_px(frame)) - side)


@dataclass(eq=False)
class ScriptedModels:
    """Stands in for the networks: knows the script, reads the frame's number from the image, counts live images.

    A region shows the nearest visible actor within `reach` of its size; z of the world landmarks is the actor's
    number, so that a track can be checked for showing one person only.
    """

    actors: Sequence[Actor]
    reach: float = 0.35
    image_hw: tuple[int, int] = (240, 640)
    doubles: float = 0.0
    """The detector reports everyone a second time, this share of the region to the right."""
    live: int = 0
    most_live: int = 0
    detections: list[int] = field(default_factory=list)

    def frames(self, count: int, fps: float = 30.0) -> Iterator[Frame]:
        """Frames that carry their number in their first pixel."""
        for index in range(count):
            image = np.zeros((*self.image_hw, 3), np.uint8)
            image[0, 0] = index
            self.live += 1
            self.most_live = max(self.most_live, self.live)
            weakref.finalize(image, self._forget)
            frame = Frame(index=100 + index, pts_s=index / fps, image=image)
            del image
            yield frame
            del frame

    def _forget(self) -> None:
        self.live -= 1

    def detect_people(self, image: np.ndarray, threshold: float) -> Detections:
        """Everyone detectable, in the script's order, twice if asked for."""
        frame = int(image[0, 0, 0])
        self.detections.append(frame)
        seen = [actor for actor in self.actors if actor.visible(frame) and actor.detectable(frame)]
        regions = [actor.region(frame) for actor in seen]
        points = [_key_points(region.centre_px, region.side_px) for region in regions]
        if self.doubles:
            points += [
                _key_points(region.centre_px + [self.doubles * region.side_px, 0], region.side_px)
                for region in regions
            ]
        return Detections(score=np.full(len(points), 0.9), keypoints_px=np.array(points).reshape(-1, 4, 2))

    def landmarks(self, image: np.ndarray, region: Region, *, heavier: bool = False) -> Landmarks:
        """The nearest visible actor, or nobody."""
        frame = int(image[0, 0, 0])
        near = [
            (actor.region(frame).distance(region), at)
            for at, actor in enumerate(self.actors)
            if actor.visible(frame)
        ]
        distance, at = min(near, default=(np.inf, 0))
        actor = self.actors[at]
        is_seen = distance < self.reach
        world = stick_figure()
        world[:, 2] = actor.number
        return Landmarks(
            xy_px=actor.points(frame) if is_seen else region.centre_px + stick_figure()[:, :2],
            visibility=np.full(LANDMARK_COUNT, 0.9),
            presence=np.full(LANDMARK_COUNT, 0.9),
            world_m=world,
            score=0.98 if is_seen else 0.02,
            segmentation=np.zeros((SEGMENTATION_PX, SEGMENTATION_PX), np.uint8),
            image_from_segmentation=region.image_from_crop(SEGMENTATION_PX),
            next_region=actor.region(frame) if is_seen else region,
            heavier=heavier,
        )


def _key_points(centre: np.ndarray, side: float) -> np.ndarray:
    above = np.array([0.0, side / 2.5])
    return np.stack([centre, centre - above, centre - above / 2, centre - above])


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedPerson:
    """A body's true motion in camera coordinates."""

    times_s: np.ndarray
    pose: np.ndarray
    """(T, 24, 3)."""
    betas: np.ndarray
    """(10,)."""
    translation: np.ndarray
    """(T, 3) metres."""


def walking_person(
    times_s: np.ndarray, betas: np.ndarray | None = None, *, depth_m: float = 5.0, heading_rad: float = 0.9
) -> PosedPerson:
    """A person who walks past the camera on a gentle curve, arms and legs swinging."""
    count, phase = len(times_s), 2 * np.pi * 0.95 * times_s
    pose = np.zeros((count, JOINT_COUNT, 3))
    swing = np.sin(phase)
    pose[:, 1, 0], pose[:, 2, 0] = -0.45 * swing, 0.45 * swing
    pose[:, 4, 0], pose[:, 5, 0] = 0.35 + 0.3 * np.cos(phase), 0.35 - 0.3 * np.cos(phase)
    pose[:, 16], pose[:, 17] = [0, 0, -1.15], [0, 0, 1.15]
    pose[:, 16, 1], pose[:, 17, 1] = -0.3 * swing, -0.3 * swing
    pose[:, 18, 1], pose[:, 19, 1] = -0.35, 0.35
    pose[:, 3, 1], pose[:, 12, 0] = 0.08 * swing, 0.1
    heading = heading_rad + 0.3 * (times_s - times_s.mean())
    turn = Rotation.from_rotvec(np.stack([0 * heading, heading, 0 * heading], axis=-1))
    pose[:, 0] = (turn * Rotation.from_rotvec([np.pi, 0, 0])).as_rotvec()
    along = 1.1 * (times_s - times_s.mean())
    bob = 0.02 * np.cos(2 * phase)
    translation = np.stack([0.3 + along, 0.1 + bob, depth_m + 0.3 * along], axis=-1)
    return PosedPerson(
        times_s=times_s, pose=pose, betas=np.zeros(10) if betas is None else betas, translation=translation
    )


def observed_body(
    body: ArticulatedBody,
    person: PosedPerson,
    camera: Camera,
    *,
    noise: float = 0.0,
    noise_m: float = 0.0,
    seed: int = 0,
    with_masks: bool = False,
) -> Observations:
    """What a network without bias sees of a body: pixels, hip-centred metres along the ray, the mesh as a mask.

    `noise` is the standard deviation of pixels in person heights. Axes along the ray come from the rotation vector
    between e_z and the ray, and masks from cv2's polygons: neither from the code under test.
    """
    rng = np.random.default_rng(seed)
    points = body.landmarks(person.pose, person.betas, person.translation)
    xy = camera.px_from_cam(points)
    hips_px = xy[:, 23:25].mean(axis=1)
    ray = camera.cam_from_px(hips_px, np.ones(len(points)))
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    axis = np.cross([0.0, 0.0, 1.0], ray)
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    to_camera = Rotation.from_rotvec(axis / np.maximum(length, 1e-12) * np.arcsin(length))
    centred = points - points[:, 23:25].mean(axis=1, keepdims=True)
    world = np.einsum("tij,tki->tkj", to_camera.as_matrix(), centred)
    height = np.ptp(xy, axis=1).max(axis=-1)
    segmentation, affine = None, None
    if with_masks:
        vertices = body.vertices(person.pose, person.betas, person.translation)
        regions = [
            Region(centre_px=centre, side_px=1.5 * size, rotation_rad=0.0)
            for centre, size in zip(hips_px, height)
        ]
        segmentation = np.stack(
            [_drawn(camera.px_from_cam(mesh), body.faces, at) for mesh, at in zip(vertices, regions)]
        )
        affine = np.stack([region.image_from_crop(SEGMENTATION_PX) for region in regions])
    return observations(
        person.times_s,
        xy + noise * height[:, None, None] * rng.normal(size=xy.shape),
        world + noise_m * rng.normal(size=world.shape),
        image_hw=camera.hw,
        segmentation=segmentation,
        image_from_segmentation=affine,
    )


def _drawn(vertices_px: np.ndarray, faces: np.ndarray, region: Region) -> np.ndarray:
    """(SEGMENTATION_PX, SEGMENTATION_PX) uint8: the share of each cell that the mesh covers, four by four samples."""
    size = 4 * SEGMENTATION_PX
    corner = region.centre_px - region.side_px / 2
    cells = (vertices_px - corner) / region.side_px * size
    fine = np.zeros((size, size), np.uint8)
    for triangle in np.rint((cells[faces] - 0.5) * 16).astype(np.int32):
        cv2.fillConvexPoly(fine, triangle, 255, shift=4)
    return cv2.resize(fine, (SEGMENTATION_PX, SEGMENTATION_PX), interpolation=cv2.INTER_AREA)


class ToyBody:
    """A body in the SMPL layout made of spindles around bones: 24 joints, ten shapes, 33 landmarks, a closed surface.

    Rest pose: T-pose, y up, facing +z, left at +x. Everything is computed by loops over joints with 4x4 matrices, so
    it is an independent oracle as well as a body that needs no file.
    """

    parents = np.array([-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21])

    shape_space = "open"
    landmark_offsets = None

    def __init__(self) -> None:
        rng = np.random.default_rng(11)
        half = {
            0: (0, 0, 0), 1: (0.09, -0.08, 0), 3: (0, 0.11, -0.01), 4: (0.11, -0.46, 0), 6: (0, 0.24, -0.01),
            7: (0.11, -0.87, -0.02), 9: (0, 0.30, 0), 10: (0.12, -0.92, 0.1), 12: (0, 0.50, 0), 13: (0.08, 0.41, 0),
            15: (0, 0.58, 0.04), 16: (0.18, 0.43, -0.01), 18: (0.44, 0.43, -0.02), 20: (0.69, 0.43, -0.02),
            22: (0.78, 0.43, -0.02),
        }  # fmt: skip
        joints = np.zeros((JOINT_COUNT, 3))
        for joint, place in half.items():
            joints[joint] = place
        for left in (1, 4, 7, 10, 13, 16, 18, 20, 22):
            joints[left + 1] = joints[left] * [-1, 1, 1]
        self.joint_template = joints
        self.joint_shapedirs = 0.02 * rng.normal(size=(JOINT_COUNT, 3, 10))
        self.template, self.faces, self.weights = _spindles(joints, self.parents)
        self.shapedirs = np.einsum("vj,jcb->vcb", self.weights, self.joint_shapedirs)
        self.landmark_weights = self._landmark_regressor()
        placed = np.einsum("kv,vj,vc->kjc", self.landmark_weights, self.weights, self.template)
        self.landmark_joint_weights = self.landmark_weights @ self.weights
        self.landmark_joint_template = placed
        self.landmark_joint_shapedirs = np.einsum(
            "kv,vj,vcb->kjcb", self.landmark_weights, self.weights, self.shapedirs
        )

    def _landmark_regressor(self) -> np.ndarray:
        """(33, V): each landmark is the mean of the four vertices nearest to its joint's place, offset a little."""
        joint_of = [15] * 11 + [16, 17, 18, 19, 20, 21] + [22, 23] * 3 + [1, 2, 4, 5, 7, 8, 7, 8, 10, 11]
        rows = np.zeros((LANDMARK_COUNT, len(self.template)))
        for landmark, joint in enumerate(joint_of):
            side = 1 if self.joint_template[joint, 0] > 0 else -1
            place = self.joint_template[joint] + [0.005 * side * (landmark % 5), 0.003 * (landmark % 7), 0.0]
            nearest = np.argsort(np.linalg.norm(self.template - place, axis=-1))[:4]
            rows[landmark, nearest] = 0.25
        return rows

    def _matrices(self, pose: np.ndarray, betas: np.ndarray) -> np.ndarray:
        """(24, 4, 4) that carry points of the rest pose, for one pose (24, 3)."""
        joints = self.joint_template + self.joint_shapedirs @ betas
        world: list[np.ndarray] = []
        for joint, parent in enumerate(self.parents):
            local = np.eye(4)
            local[:3, :3] = Rotation.from_rotvec(pose[joint]).as_matrix()
            local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
            world.append(world[parent] @ local if parent >= 0 else local)
        back = np.tile(np.eye(4), (JOINT_COUNT, 1, 1))
        back[:, :3, 3] = -joints
        return np.stack(world) @ back

    def vertices(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., V, 3)."""
        pose = np.asarray(pose, np.float64)
        lead = pose.shape[:-2]
        shifts = np.broadcast_to(translation, (*lead, 3))
        out = np.empty((*lead, *self.template.shape))
        rest = np.concatenate(
            [self.template + self.shapedirs @ betas, np.ones((len(self.template), 1))], axis=-1
        )
        for at in np.ndindex(*lead):
            matrices = self._matrices(pose[at], betas)
            blended = np.einsum("vj,jab->vab", self.weights, matrices)
            out[at] = (blended @ rest[..., None])[:, :3, 0] + shifts[at]
        return out

    def landmarks(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., 33, 3) means of posed vertices."""
        return self.landmark_weights @ self.vertices(pose, betas, translation)


def _spindles(joints: np.ndarray, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, outward faces and skinning weights of one closed double pyramid per bone, and a head."""
    ends = [(int(parents[joint]), joint) for joint in range(1, JOINT_COUNT)] + [(15, -1)]
    vertices: list[np.ndarray] = []
    faces: list[tuple[int, int, int]] = []
    weights: list[np.ndarray] = []
    for parent, child in ends:
        start = joints[parent]
        stop = joints[child] if child >= 0 else start + [0, 0.2, 0]
        along = (stop - start) / np.linalg.norm(stop - start)
        side = np.cross(along, [0.3, 0.2, 1.0])
        side /= np.linalg.norm(side)
        other = np.cross(along, side)
        radius, first = 0.25 * float(np.linalg.norm(stop - start)), len(vertices)
        middle = (start + stop) / 2
        ring = [
            middle + radius * (np.cos(a) * side + np.sin(a) * other) for a in 2 * np.pi * np.arange(6) / 6
        ]
        vertices += [start, *ring, stop]
        for k in range(6):
            a, b = first + 1 + k, first + 1 + (k + 1) % 6
            faces += [(first, b, a), (first + 7, a, b)]
        for share in (0.0, *[0.15] * 6, 0.5):
            row = np.zeros(JOINT_COUNT)
            row[parent] = 1 - share
            row[max(child, 0) if child >= 0 else parent] += share
            weights.append(row)
    return np.array(vertices), np.array(faces), np.array(weights)
