"""Axes, units, pixels and vectors: stated once, meant everywhere.

Camera axes
    x right, y down, z forward, in metres. Depth is z, never the length of the ray; 0 means background.
Pixels
    A pixel's centre lies at +0.5: pixel (row i, column j) covers [j, j+1) x [i, i+1) and (u, v) = (column, row).
    Resizing an image therefore multiplies K's first two rows by the ratio of sizes and adds nothing.
Intrinsics
    A K (3x3, zero skew) never travels without the image size (h, w) it belongs to.
Motion
    Always `reference_from_target`: x_reference = R x_target + t, each in its own frame's camera coordinates.
Baseline
    |t|, the distance from the camera to where an equally moved camera would stand, not how far a point moved.
"""

from __future__ import annotations

JOINT_COUNT = 24
"""Joints of the SMPL layout; joint 0 is the pelvis and carries the global rotation."""

BETA_COUNT = 10
"""Shape coefficients of the SMPL layout."""

LANDMARK_COUNT = 33
"""Landmarks of the BlazePose topology."""

VECTOR_SIZE = 3 + 3 * JOINT_COUNT + BETA_COUNT
"""A body in one frame: [s, tx, ty | 72 pose (24 axis-angles) | 10 betas] = 85 numbers."""

VECTOR_CAMERA = slice(0, 3)
VECTOR_POSE = slice(3, 75)
VECTOR_BETAS = slice(75, 85)

IMAGE_PX = 512
"""Side of the stored crops and of ReconNet's input."""

MAP_PX = 256
"""Side of the stored maps (base depth, motion, validity) and of ReconNet's output."""

VALID_ON_BODY = 1
"""The target pixel shows the body."""
VALID_IN_FRONT = 2
"""The moved surface point lies in front of the reference camera."""
VALID_INSIDE = 4
"""It projects into the reference image."""
VALID_VISIBLE = 8
"""Nothing of the reference body lies in front of it."""
VALID_BASELINE = 16
"""Its baseline |t| is above the pixel threshold."""
VALID_ALL = VALID_ON_BODY | VALID_IN_FRONT | VALID_INSIDE | VALID_VISIBLE | VALID_BASELINE
"""A pixel takes part in the photometric loss when all five bits are set."""
