"""What this machine's accelerator does with the trainer: speed, memory, and whether its numbers can be trusted.

python -m tools.gpu_check --out gpu.json               a GPU where there is one; some minutes
python -m tools.gpu_check --out cpu.json --quick       the small network alone: a check of the check

Run from a checkout; nothing but torch, numpy, pyarrow, opencv and safetensors need be installed. Everything is made up
on the spot (a textured sphere that turns): no dataset is needed. One JSON comes out; the exit code is 1 when a number
is not what it has to be.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from schemas.conventions import IMAGE_PX, MAP_PX
from schemas.settings import with_overrides
from trainer.batch import Batch, collate
from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.config import Settings, preset
from trainer.corrections import CorrectionTable
from trainer.data import SampleRef
from trainer.model import ReconNet, parameter_count
from trainer.objective import losses_of
from trainer.predictor import Predictor
from trainer.processes import Processes, determinism
from trainer.step import train_step
from trainer.subject import Subject

PRECISIONS = {
    "float32": ["train.precision=float32", "train.channels_last=false"],
    "bfloat16": ["train.precision=bfloat16", "train.channels_last=false"],
    "bfloat16+channels_last": ["train.precision=bfloat16", "train.channels_last=true"],
}
RADIUS_M, BASE_RADIUS_M, DISTANCE_M = 0.6, 0.57, 4.5
PREDICT_TOLERANCE_M = 1e-4
CPU_TOLERANCE = 5e-3
"""Largest difference of a loss from the CPU's, as a share, with both in full float32."""
LOSS_TOLERANCE = 0.02
"""Largest difference of a loss in bfloat16, as a share of that in float32."""


def main() -> int:
    """Runs every check, prints as it goes, writes the JSON."""
    options = _options()
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    found: dict[str, Any] = {"machine": machine_facts(device)}
    print(json.dumps(found["machine"]), flush=True)
    presets = ["small"] if options.quick else ["small", "paper"]
    for name in presets:
        sizes = options.batch_sizes or ([2] if device.type == "cpu" else [4, 16])
        for precision, overrides in PRECISIONS.items():
            for size in sizes:
                settings = with_overrides(preset(name), [*overrides, f"train.batch_size={size}"])
                key = f"{name}, {precision}, {size} samples"
                _note(found, "speed", key, _or_error(lambda s=settings: speed(s, device, options.seconds)))
        _note(found, "agreement", name, _or_error(lambda n=name: agreement(preset(n), device, options.steps)))
    small = with_overrides(preset("small"), ["train.batch_size=2"])
    _note(found, "repeatable", "two runs", _or_error(lambda: repeated(small, device, options.steps)))
    _note(found, "repeatable", "resumed", _or_error(lambda: resumed(small, device, options.steps)))
    _note(found, "predict", "against the CPU", _or_error(lambda: prediction_agreement(small, device)))
    _note(found, "training", "against the CPU", _or_error(lambda: training_agreement(small, device)))
    found["failures"] = failures(found)
    Path(options.out).write_text(json.dumps(found, indent=1) + "\n")
    print(f"wrote {options.out}; {len(found['failures'])} failure(s)", *found["failures"], sep="\n  ")
    return 1 if found["failures"] else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, help="JSON")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", help="samples a step (default: 4 and 16; 2 on a CPU)"
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="time of each speed measurement")
    parser.add_argument("--steps", type=int, default=6, help="steps of each run that is compared")
    parser.add_argument("--quick", action="store_true", help="only the small network")
    return parser.parse_args()


def _note(found: dict[str, Any], group: str, key: str, value: Any) -> None:
    found.setdefault(group, {})[key] = value
    print(f"{group}: {key}: {json.dumps(value)}", flush=True)


def _or_error(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a check found. Out of memory is a finding about one batch size, not the end of the others."""
    try:
        return check()
    except torch.cuda.OutOfMemoryError as error:
        found = {"out_of_memory": str(error).splitlines()[0]}
    except RuntimeError as error:  # a kernel that is missing on this device: the other checks still count
        found = {"error": str(error).splitlines()[0]}
    torch.cuda.empty_cache()  # only here, where the error no longer holds the tensors
    return found


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Names and versions."""
    is_cuda = device.type == "cuda"
    return {
        "device": str(device),
        "name": torch.cuda.get_device_name(device) if is_cuda else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if is_cuda else None,
        "python": platform.python_version(),
        "tf32_convolutions": bool(torch.backends.cudnn.allow_tf32) if is_cuda else None,
    }


def speed(settings: Settings, device: torch.device, seconds: float) -> dict[str, Any]:
    """Samples a second of whole steps, the share of it that warp and losses take, and the most memory held."""
    model, optimizer = started(settings, device)
    batch = made_batch(settings.train.batch_size, settings.data.max_references, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    step_s = timed(lambda: train_step(model, optimizer, [batch], settings), device, seconds)
    window = batch.body_window

    def losing() -> None:
        offset = torch.zeros_like(batch.base_depth, requires_grad=True)
        losses_of(batch.windowed(window), offset[..., *window], settings.losses).total.backward()

    loss_s = timed(losing, device, seconds / 4)
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    return {
        "parameters": parameter_count(model),
        "step_ms": round(1000 * step_s, 2),
        "samples_per_s": round(settings.train.batch_size / step_s, 2),
        "warp_and_losses_ms": round(1000 * loss_s, 2),
        "warp_and_losses_share": round(loss_s / step_s, 4),
        "peak_memory_gib": peak and round(peak, 2),
    }


def timed(call: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Median seconds of a call after three that do not count (kernels are chosen then)."""
    taken: list[float] = []
    begin = time.perf_counter()
    while len(taken) < 4 or (time.perf_counter() - begin < seconds and len(taken) < 200):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[3:]))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def agreement(settings: Settings, device: torch.device, steps: int) -> dict[str, Any]:
    """Losses of the same steps in bfloat16 and in float32: the largest difference as a share."""
    totals = {}
    for precision, overrides in PRECISIONS.items():
        changed = with_overrides(settings, [*overrides, "train.batch_size=2"])
        totals[precision] = trained(changed, device, steps)[1]
    plain = np.array(totals["float32"])
    shares = [np.abs(np.array(each) - plain) / np.abs(plain) for each in totals.values()]
    return {"losses": totals, "largest_share": float(np.max(shares))}


def repeated(settings: Settings, device: torch.device, steps: int) -> dict[str, Any]:
    """Whether two runs in deterministic mode give the same bits, and two in the usual mode."""
    same = {}
    for name, is_on in (("deterministic", True), ("usual", False)):
        with determinism(is_on):
            first, second = (trained(settings, device, steps)[0] for _ in range(2))
        same[f"{name}_identical"] = _are_identical(first, second)
    return same


def resumed(settings: Settings, device: torch.device, steps: int) -> dict[str, Any]:
    """Whether a run that was stopped half-way and taken up from its checkpoint gives the same bits."""
    with determinism(True), tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        whole, _ = trained(settings, device, steps)
        model, optimizer = started(settings, device)
        half = steps // 2
        _train(model, optimizer, settings, device, 0, half)
        save_checkpoint(Path(folder), model, optimizer, settings, half, {})
        checkpoint = load_checkpoint(folder)
        model, optimizer = started(settings, device)
        model.load_state_dict(checkpoint.trained_model().state_dict())
        checkpoint.restore_optimizer(optimizer)
        _train(model, optimizer, settings, device, half, steps)
    return {"identical": _are_identical(whole, model)}


def prediction_agreement(settings: Settings, device: torch.device) -> dict[str, Any]:
    """The largest difference of predicted depth between this device and the CPU, metres, in float32."""
    model, _ = trained(settings, device, 2)
    torch.nn.init.normal_(model.last.weight, std=0.3)
    depth, fine = sphere_depth(MAP_PX, BASE_RADIUS_M), sphere_depth(IMAGE_PX, BASE_RADIUS_M)
    subject = Subject(
        name="sphere",
        image=picture(np.eye(3), 1, IMAGE_PX).astype(np.float32),
        K=intrinsics(IMAGE_PX),
        input_depth=fine.astype(np.float32),
        base_depth=depth.astype(np.float32),
    )
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        optimizer = torch.optim.Adam(model.parameters())
        save_checkpoint(Path(folder), model, optimizer, settings, 2, {})
        checkpoint = load_checkpoint(folder)
        here, cpu = (Predictor(checkpoint, str(each)).predict(subject).depth_m for each in (device, "cpu"))
    spread = float(np.ptp((cpu - depth)[depth > 0]))
    return {"largest_m": float(np.abs(here - cpu).max()), "spread_of_offsets_m": spread}


def training_agreement(settings: Settings, device: torch.device) -> dict[str, Any]:
    """Losses of four steps here and on the CPU, over two levels and with motion corrected along, in full float32."""
    changed = with_overrides(settings, ["corrections.learn=true", "losses.pyramid_levels=2"])
    usual, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        here, cpu = (np.array(trained(changed, each, 4)[1]) for each in (device, torch.device("cpu")))
    finally:
        torch.backends.cudnn.allow_tf32 = usual
    share = float(np.max(np.abs(here - cpu) / np.abs(cpu)))
    return {"losses": here.tolist(), "on_cpu": cpu.tolist(), "largest_share": share}


def failures(found: dict[str, Any]) -> list[str]:
    """What is not as it has to be, in words."""
    wrong = [
        f"{group}: {key}: {value['error']}"
        for group in ("speed", "agreement", "repeatable", "predict", "training")
        for key, value in found.get(group, {}).items()
        if "error" in value
    ]
    for name, value in found["agreement"].items():
        if value.get("largest_share", 0) > LOSS_TOLERANCE:
            wrong.append(f"{name}: bfloat16 losses differ by {100 * value['largest_share']:.1f} %")
    if found["repeatable"]["two runs"].get("deterministic_identical") is False:
        wrong.append("two deterministic runs differ")
    if found["repeatable"]["resumed"].get("identical") is False:
        wrong.append("a resumed run differs from one that was not stopped")
    largest_m = found["predict"]["against the CPU"].get("largest_m", 0)
    if largest_m > PREDICT_TOLERANCE_M:
        wrong.append(f"predicted depth differs from the CPU's by {1000 * largest_m:.3f} mm")
    share = found["training"]["against the CPU"].get("largest_share", 0)
    if share > CPU_TOLERANCE:
        wrong.append(f"losses differ from the CPU's by {100 * share:.2f} %")
    return wrong


def started(settings: Settings, device: torch.device) -> tuple[ReconNet, torch.optim.Optimizer]:
    """A network and its optimiser as `fit` makes them; the head's last layer drawn, so that every part is used."""
    torch.manual_seed(settings.train.seed)
    model = ReconNet(settings.model)
    torch.nn.init.normal_(model.last.weight, std=0.01)  # on the CPU: every device draws numbers of its own
    model.to(device)
    if settings.train.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, torch.optim.Adam(model.parameters(), lr=settings.train.learning_rate)


def trained(settings: Settings, device: torch.device, steps: int) -> tuple[ReconNet, list[float]]:
    """A network after so many steps, and the loss of each."""
    model, optimizer = started(settings, device)
    return model, _train(model, optimizer, settings, device, 0, steps)


def _train(
    model: ReconNet,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    device: torch.device,
    first: int,
    last: int,
) -> list[float]:
    size, references = settings.train.batch_size, settings.data.max_references
    table = _corrections(settings, size, references) if settings.corrections.learn else None
    totals = []
    for step in range(first, last):
        batch = made_batch(size, references, device, seed=step % 2)
        seen = train_step(model, optimizer, [batch], settings, Processes(device=device), table)
        if seen is None:
            raise RuntimeError(f"the loss of step {step} is not finite")
        totals.append(float(seen[0][0].total.detach()))
    return totals


def _corrections(settings: Settings, size: int, references: int) -> CorrectionTable:
    names = {
        name for seed in (0, 1) for name in made_batch(size, references, torch.device("cpu"), seed).sample_ids
    }
    place = {"source_id": "", "track_id": "", "path": "", "row_group": 0, "row": 0}
    refs = [SampleRef(sample_id=name, reference_count=references, **place) for name in sorted(names)]  # type: ignore[arg-type]
    return CorrectionTable(refs, settings.corrections)


def _are_identical(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def made_batch(samples: int, references: int, device: torch.device, seed: int = 0) -> Batch:
    """Spheres of a person's size; the base depth is that of a smaller one. Three are drawn, then they repeat."""
    drawn = [sphere_sample(seed + number, references) for number in range(min(samples, 3))]
    return collate([drawn[number % len(drawn)] for number in range(samples)]).to(device)


@lru_cache(maxsize=8)
def sphere_sample(seed: int, references: int) -> Batch:
    """A target and its references, turned by 6 to 18 degrees about nearly vertical axes, as a batch of one."""
    rng = np.random.default_rng(seed)
    depth, fine = sphere_depth(MAP_PX, BASE_RADIUS_M), sphere_depth(IMAGE_PX, BASE_RADIUS_M)
    mask, point = depth > 0, rays(MAP_PX) * depth[..., None]
    centre = np.array([0, 0, DISTANCE_M])
    motions, valids, pictures = [], [], []
    for number in range(references):
        axis = rng.standard_normal(3) * [0.3, 1, 0.3]
        rotvec = np.radians((6 + 2 * number) * (-1) ** number) * axis / np.linalg.norm(axis)
        turn = rotation(rotvec)
        moved = (point - centre) @ turn.T + centre
        motion = np.concatenate([np.broadcast_to(rotvec, point.shape), moved - point], -1) * mask[..., None]
        motions.append(motion.transpose(2, 0, 1))
        valids.append((mask & (((moved - centre) * moved).sum(-1) < 0))[None])
        pictures.append(picture(turn, seed, MAP_PX).transpose(2, 0, 1))
    image = picture(np.eye(3), seed, IMAGE_PX)
    centred = np.where(fine > 0, fine - np.median(fine[fine > 0]), 0)
    inputs = np.concatenate([(image * (fine > 0)[..., None]).transpose(2, 0, 1), centred[None]])
    K = _tensor(intrinsics(MAP_PX))
    return Batch(
        inputs=_tensor(inputs),
        target=_tensor(picture(np.eye(3), seed, MAP_PX).transpose(2, 0, 1)),
        photo_depth=_tensor(depth[None]),
        base_depth=_tensor(depth[None]),
        K=K,
        references=_tensor(np.stack(pictures)),
        reference_K=K[:, None].expand(-1, references, -1, -1),
        motion=_tensor(np.stack(motions)),
        valid=_tensor(np.stack(valids)),
        reference_numbers=torch.arange(references)[None],
        sample_ids=(f"sphere/{seed}",),
    )


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))[None]


def intrinsics(side_px: int) -> np.ndarray:
    """The medium lens: 500 px for a crop of 224."""
    focal_px = 500 / 224 * side_px
    return np.array([[focal_px, 0, side_px / 2], [0, focal_px, side_px / 2], [0, 0, 1.0]])


def rays(side_px: int) -> np.ndarray:
    """(side, side, 3) K^-1 (u, v, 1) at pixel centres."""
    K = intrinsics(side_px)
    v, u = np.mgrid[0:side_px, 0:side_px] + 0.5
    return np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1)


def sphere_depth(side_px: int, radius_m: float) -> np.ndarray:
    """(side, side) z of the nearer intersection with the sphere around (0, 0, DISTANCE_M); 0 where there is none."""
    ray = rays(side_px)
    a, b = (ray**2).sum(-1), ray[..., 2] * DISTANCE_M
    inside = b**2 - a * (DISTANCE_M**2 - radius_m**2)
    return np.where(inside > 0, (b - np.sqrt(np.maximum(inside, 0))) / a, 0.0)


def rotation(rotvec: np.ndarray) -> np.ndarray:
    """(3, 3) by Rodrigues' formula."""
    angle = np.linalg.norm(rotvec)
    x, y, z = rotvec / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def picture(turn: np.ndarray, seed: int, side_px: int) -> np.ndarray:
    """(side, side, 3) in [0, 1]: the sphere of RADIUS_M turned about its centre, with waves for a texture."""
    rng = np.random.default_rng(seed)
    depth = sphere_depth(side_px, RADIUS_M)
    direction = ((rays(side_px) * depth[..., None] - [0, 0, DISTANCE_M]) / RADIUS_M) @ turn
    colour = sum(
        np.sin(direction @ (9 * rng.standard_normal((3, 3))) + rng.uniform(0, 6, 3)) for _ in range(12)
    )
    return np.where(depth[..., None] > 0, 0.5 + 0.5 * np.tanh(colour / 3), 0.0)


if __name__ == "__main__":
    sys.exit(main())
