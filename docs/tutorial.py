"""A pair of frames by hand: open a dataset, draw a pair, warp it, compute the losses, and compare with the trainer.

    python docs/tutorial.py DATASET OUT        # default: build/demo/dataset build/tutorial, after `make demo`

Cells begin with `# %%`: editors run them one by one, and `jupytext --to ipynb docs/tutorial.py` makes a notebook.
"""

# %% [markdown]
# # Tutorial: one pair by hand
#
# Take one sample of a dataset, warp a reference picture onto its target and compute the three losses that train the
# network, in numpy. At the end they are compared with `trainer.losses`: they agree to 1e-6.
#
# This page is the script `docs/tutorial.py`. `python docs/tutorial.py DATASET OUT` runs it on your own dataset; without
# arguments it takes the one that `make demo` leaves.

# %% [markdown]
# ## Open a dataset
#
# `schemas` alone reads datasets. A row of `samples` is self-contained: a target frame, its base depth, and its kept
# references, each with the motion that carries the target's surface there.

# %%
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view

from schemas.conventions import MAP_PX, VALID_ALL
from schemas.dataset import Dataset
from trainer.config import LossSettings
from trainer.losses import photo_loss, reg_loss, smooth_loss
from trainer.warp import pixel_rays, project, reference_points, sample_at

root, out = (sys.argv[1:3] + ["build/demo/dataset", "build/tutorial"][len(sys.argv[1:3]) :])[:2]
sample = next(iter(Dataset.open(root).rows("samples")))
reference = max(sample["references"], key=lambda part: part["valid_fraction"])
print(f"{sample['sample_id']} with reference frame {reference['frame_index']}")
print(f"baseline {reference['mean_baseline_m']:.2f} m, rotation {reference['rotation_deg']:.0f} degrees")


# %% [markdown]
# ## Pictures, depth and cameras at map size
#
# Pictures are stored at 512 pixels, maps at 256. The losses compare pictures at 256. Pixel centres lie at +0.5, so
# intrinsics at another size are the same rows multiplied by the ratio: nothing is added.


# %%
def picture(data: bytes) -> np.ndarray:
    """(256, 256, 3) colours in [0, 1] of a stored crop."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)
    return pixels[..., ::-1] / 255.0


def intrinsics(K: np.ndarray) -> np.ndarray:
    """K of a crop of 512 pixels, at 256."""
    return K * np.array([[0.5], [0.5], [1.0]])


target_image, reference_image = picture(sample["image"]), picture(reference["image"])
target_K, reference_K = intrinsics(sample["K"]), intrinsics(reference["K"])
base_depth = sample["base_depth"].astype(np.float64)  # metres, 0 = background
mask = base_depth > 0
valid = reference["validity"] == VALID_ALL
motion = reference["motion"].astype(np.float64)
rotation_vector, displacement = motion[..., :3], motion[..., 3:]

# %% [markdown]
# ## The warp
#
# A target pixel with ray r = K⁻¹ (u, v, 1) and base depth D shows the surface point p = D r. Its motion carries that
# point to R p + t = p + d in the reference's camera: d is what the dataset stores. The network predicts an offset o of
# the depth; the refined point (D + o) r lies in the reference at
#
#     x = R (D + o) r + t = p + d + o R r
#
# Project x, and read the reference's colour there. Here the offset is a wave of 5 mm, so that every loss has a value.


# %%
def rotated(vector: np.ndarray, rotation_vector: np.ndarray) -> np.ndarray:
    """R v for rotation vectors (..., 3), by Rodrigues' formula."""
    angle = np.linalg.norm(rotation_vector, axis=-1, keepdims=True)
    axis = rotation_vector / np.maximum(angle, 1e-12)
    along = (axis * vector).sum(-1, keepdims=True) * axis
    return along + np.cos(angle) * (vector - along) + np.sin(angle) * np.cross(axis, vector)


def bilinear(image: np.ndarray, px: np.ndarray) -> np.ndarray:
    """Colours of an image at pixels (..., 2) = (u, v), between pixel centres at +0.5; the border goes on outside."""
    last = np.array(image.shape[1::-1]) - 1
    place = np.clip(px - 0.5, 0, last)
    column, row = np.moveaxis(np.minimum(np.floor(place), last - 1).astype(int), -1, 0)
    right, down = np.moveaxis(place - np.stack([column, row], -1), -1, 0)[..., None]
    upper = image[row, column] * (1 - right) + image[row, column + 1] * right
    lower = image[row + 1, column] * (1 - right) + image[row + 1, column + 1] * right
    return upper * (1 - down) + lower * down


v, u = np.mgrid[0:MAP_PX, 0:MAP_PX] + 0.5
rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(target_K).T
offset = 0.005 * np.sin(u / 9) * np.cos(v / 7)
points = base_depth[..., None] * rays + displacement + offset[..., None] * rotated(rays, rotation_vector)
z = np.where(points[..., 2] > 0.05, points[..., 2], 1.0)
px = (points @ reference_K.T)[..., :2] / z[..., None]
inside = (points[..., 2] > 0.05) & (px >= 0).all(-1) & (px <= MAP_PX).all(-1)
counted = valid & inside
warped = bilinear(reference_image, np.where(inside[..., None], px, 0.0))

# %% [markdown]
# ## The losses
#
# The photometric loss compares the warped reference with the target where the pair is valid: structure by the
# contrast and structure factors of SSIM in windows of 3 x 3 valid pixels, and the difference of colours.
#
#     L_photo  = mean over valid pixels of  alpha (1 - SSIM_cs) / 2 + (1 - alpha) |I_t - I_r|
#     SSIM_cs  = (2 s_tr + c) / (s_t² + s_r² + c)
#     L_smooth = mean over the mask of  |difference of the offset to the right| + |... downwards|
#     L_reg    = mean over the mask of  |offset|
#     L        = L_photo + gamma_smooth L_smooth + gamma_reg L_reg


# %%
def window_mean(values: np.ndarray) -> np.ndarray:
    """Means of (H, W, 3) over 3 x 3 windows, of valid pixels only."""

    def window_sum(of: np.ndarray) -> np.ndarray:
        return sliding_window_view(np.pad(of, ((1, 1), (1, 1), (0, 0))), (3, 3), axis=(0, 1)).sum((-1, -2))

    weight = counted[..., None].astype(float)
    return window_sum(values * weight) / np.maximum(window_sum(weight), 1)


alpha, c, gamma_smooth, gamma_reg = 0.85, 9e-4, 1.0, 0.1  # preset `paper`
mean_t, mean_r = window_mean(target_image), window_mean(warped)
variance_t = np.maximum(window_mean(target_image**2) - mean_t**2, 0)
variance_r = np.maximum(window_mean(warped**2) - mean_r**2, 0)
covariance = window_mean(target_image * warped) - mean_t * mean_r
ssim = (2 * covariance + c) / (variance_t + variance_r + c)
per_pixel = (alpha * (1 - ssim) / 2 + (1 - alpha) * np.abs(target_image - warped)).mean(-1)
photo = per_pixel[counted].mean()

across = np.abs(np.diff(offset, axis=1))[mask[:, 1:] & mask[:, :-1]].sum()
down = np.abs(np.diff(offset, axis=0))[mask[1:] & mask[:-1]].sum()
smooth = (across + down) / mask.sum()
reg = np.abs(offset)[mask].mean()
total = photo + gamma_smooth * smooth + gamma_reg * reg

# %% [markdown]
# ## The same by the trainer
#
# Tensors of the trainer have a batch and a reference axis, and colours before pixels: (B, N, 3, H, W). In double
# precision its warp and its losses give the same numbers.


# %%
def planes(image: np.ndarray) -> torch.Tensor:
    """(1, channels, H, W) of (H, W, channels)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]


offsets, depths, masks = (planes(values[..., None]) for values in (offset, base_depth, mask.astype(float)))
reference_px, in_front = project(
    reference_points(
        offsets, depths, pixel_rays(torch.from_numpy(target_K)[None], mask.shape), planes(motion)[None]
    ),
    torch.from_numpy(reference_K)[None, None],
)
colours, lands_inside = sample_at(planes(reference_image)[None], reference_px)
counts = planes(valid[..., None].astype(float))[None] * (in_front & lands_inside)[:, :, None]
settings = LossSettings(alpha=alpha, ssim_constant=c, gamma_smooth=gamma_smooth, gamma_reg=gamma_reg)
theirs = {
    "photo": float(photo_loss(planes(target_image), colours, counts, settings)),
    "smooth": float(smooth_loss(offsets, masks)),
    "reg": float(reg_loss(offsets, masks)),
}
theirs["total"] = theirs["photo"] + gamma_smooth * theirs["smooth"] + gamma_reg * theirs["reg"]
by_hand = {"photo": photo, "smooth": smooth, "reg": reg, "total": total}
for name, value in by_hand.items():
    print(f"{name:8s} by hand {value:.9f}  trainer {theirs[name]:.9f}")
    assert abs(value - theirs[name]) < 1e-6, name

# %% [markdown]
# ## The pair in pictures
#
# ![Target, reference, base depth, length of the motion, warped reference, difference](tutorial.jpg)
#
# Left to right: the target, the reference, the base depth, the baseline |t| of every pixel (how far an equally moved
# camera stands off), the reference warped onto the target where it is valid, and the difference of colours. What is
# left of the difference is what the network learns from, beside light, noise and misalignment of the bodies.

# %%
p = base_depth[..., None] * rays
baseline = np.linalg.norm(p + displacement - rotated(p, rotation_vector), axis=-1)
panels = {
    "target": target_image,
    "reference": reference_image,
    "base depth, m": np.where(mask, base_depth, np.nan),
    "baseline, m": np.where(mask, baseline, np.nan),
    "reference, warped": np.where(counted[..., None], warped, 1.0),
    "difference": np.where(counted, np.abs(target_image - warped).mean(-1), np.nan),
}
figure = Figure(figsize=(15, 2.9), layout="constrained")
axes = figure.subplots(1, len(panels))
for axis, (title, panel) in zip(axes, panels.items()):
    shown = axis.imshow(panel)
    axis.set_title(title)
    axis.set_axis_off()
    if panel.ndim == 2:
        figure.colorbar(shown, ax=axis, shrink=0.8)
Path(out).mkdir(parents=True, exist_ok=True)
figure.savefig(f"{out}/pair.jpg", dpi=110, pil_kwargs={"quality": 80})
print(f"wrote {out}/pair.jpg")
