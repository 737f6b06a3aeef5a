"""`python -m tests.accuracy.learn_lifter MOCAP --films DIR`: teaches the lifter and writes it.

First `--make N` films N movements into DIR (80 ms a frame), then training draws windows of posed bodies with these
films' errors, and films, for `--steps` steps. Only people are used of whom nothing is reported; `--without PERSON`
leaves some out, to choose weights of the fit with. Several processes (RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as
`torch.distributed` reads them) train together, each with its own seed.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed, nn

from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.tracking.blazepose import PoseModels
from pipeline.tracking.fit_start import HIPS
from pipeline.tracking.lifter import (
    DILATIONS,
    INPUTS,
    LOG_SIGMA,
    POINT_UNIT_M,
    network_input,
    smooth_size,
)
from schemas.conventions import LANDMARK_COUNT
from tests.accuracy.lifter_data import Batch, Posed, film_batch, posed_batch, seen_of
from tests.accuracy.lifter_films import Film, film, learning_takes, load, save

WIDTH = 160
SHARED_EVERY = 25
"""Steps after which processes take the mean of their weights."""
POSED, FILMED = 56, 24
"""Windows in a step."""
RATE, WARM_UP_STEPS, WEIGHT_DECAY = 1.5e-3, 100, 0.02
POSED_WINDOWS, RENEWED_EVERY = 2000, 800
"""Windows of movement that are posed at once, and steps until others are."""
DETECT_EVERY = 60


class LifterNetwork(nn.Module):
    """The network of `pipeline.tracking.lifter`, to be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Linear(INPUTS, WIDTH)
        for number in range(len(DILATIONS)):
            self.add_module(f"wide{number}", nn.Linear(3 * WIDTH, WIDTH))
            self.add_module(f"narrow{number}", nn.Linear(WIDTH, WIDTH))
        self.output = nn.Linear(WIDTH, 5 * LANDMARK_COUNT + 1)
        with torch.no_grad():
            self.output.weight.mul_(0.3)
            self.output.bias.zero_()

    def forward(self, given: Tensor) -> Tensor:
        """(B, T, 166) of (B, T, INPUTS)."""
        at, modules = torch.arange(given.shape[1]), dict(self.named_children())
        x = self.input(given)
        for number, dilation in enumerate(DILATIONS):
            hidden = _gelu(_normal(x))
            around = [hidden[:, (at + shift).clamp(0, len(at) - 1)] for shift in (-dilation, 0, dilation)]
            y = _gelu(modules[f"wide{number}"](torch.cat(around, -1)))
            x = x + modules[f"narrow{number}"](y)
        return self.output(_gelu(_normal(x)))

    def weights(self) -> dict[str, np.ndarray]:
        """As `Lifter` takes them: matrices from the right."""
        return {name: value.numpy().T for name, value in self.state_dict().items()}


def decoded(raw: Tensor, uv: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Points (B, T, 33, 3) and the logarithm of sigmas (B, T, 33, 2); see `pipeline.tracking.lifter.decoded`."""
    shape = (*raw.shape[:-1], LANDMARK_COUNT, -1)
    correction = POINT_UNIT_M * raw[..., : 3 * LANDMARK_COUNT].reshape(shape)
    distance = 1.6 * torch.exp(0.3 * raw[..., -1]) / size
    z = correction[..., 2]
    across = uv * (distance[..., None] + z).clamp(min=0.1)[..., None] + correction[..., :2]
    found = torch.cat([across, z[..., None]], -1)
    log_sigma = raw[..., 3 * LANDMARK_COUNT : 5 * LANDMARK_COUNT].reshape(shape).clamp(-3, 3) + LOG_SIGMA
    return found - found[..., HIPS, :].mean(-2, keepdim=True), log_sigma


def loss_of(network: LifterNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
    """The loss, and mean errors (B,) in metres of limbs.

    Per landmark |e_xy| / b_xy + 2 log b_xy + |e_z| / b_z + log b_z (Laplace), plus distances and their changes in time.
    """
    uv, visibility, world, points = batch
    given = torch.from_numpy(network_input(uv, visibility, world))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        raw = network(given).float()
    found, log_sigma = decoded(raw, _tensor(uv), _tensor(smooth_size(uv)))
    apart = found - _tensor(points)
    across, along = (apart[..., :2].square().sum(-1) + 1e-8).sqrt(), apart[..., 2].abs()
    likely = across * torch.exp(-log_sigma[..., 0]) + 2 * log_sigma[..., 0]
    likely = likely + along * torch.exp(-log_sigma[..., 1]) + log_sigma[..., 1]
    distance = (apart.square().sum(-1) + 1e-8).sqrt()
    change = (torch.diff(apart, dim=1).square().sum(-1) + 1e-8).sqrt()
    counts = landmark_counts()
    loss = (0.1 * likely * counts).mean() + 6 * (distance * counts).mean() + 6 * (change * counts).mean()
    return loss, distance[..., LIMBS].detach().mean(dim=(1, 2))


LIMBS = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]


def landmark_counts() -> Tensor:
    """(33,)."""
    counts = torch.ones(LANDMARK_COUNT)
    counts[1:7], counts[9:11], counts[17:23], counts[29:33] = 0.2, 0.2, 0.4, 0.7
    return counts


def learn(
    takes: Sequence,
    films: Sequence[Film],
    body: BodyModel,
    steps: int,
    first: LifterNetwork | None = None,
    rate: float = RATE,
    seed: int = 0,
) -> LifterNetwork:
    """The exponential mean of the weights after `steps` steps, from `first` where there is one."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    network = first or LifterNetwork()
    seen = [seen_of(each, body) for each in films]
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
    mean = {name: value.clone() for name, value in network.state_dict().items()}
    errors, started = [], time.perf_counter()
    for step in range(steps):
        if step % RENEWED_EVERY == 0:
            posed = Posed(takes, body, POSED_WINDOWS, rng)
        fallen = 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.01 + 0.99 * fallen)
        network.train()
        parts = posed_batch(posed, seen, POSED, rng), film_batch(seen, FILMED, rng)
        batch = tuple(np.concatenate(pair) for pair in zip(*parts, strict=True))
        loss, error = loss_of(network, batch)  # type: ignore[arg-type]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if distributed.is_initialized() and step % SHARED_EVERY == SHARED_EVERY - 1:
            share_weights(network)
        kept = min(0.998, (step + 1) / (step + 20))
        for name, value in network.state_dict().items():
            mean[name].lerp_(value, 1 - kept)
        errors.append((float(error[:POSED].mean()), float(error[POSED:].mean())))
        if step % 200 == 199:
            posed_mm, filmed_mm = 1000 * np.mean(errors[-200:], axis=0)
            print(
                f"step {step + 1}: posed {posed_mm:.1f} mm, films {filmed_mm:.1f} mm, "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )
    network.load_state_dict(mean)
    return network.eval()


def share_weights(network: LifterNetwork) -> None:
    """Puts the mean over all processes in place of the weights."""
    for value in network.parameters():
        distributed.all_reduce(value.data)
        value.data.div_(distributed.get_world_size())


def stored(paths: Sequence[Path]) -> LifterNetwork:
    """The mean of networks in files of weights."""
    network, files = LifterNetwork(), [np.load(path, allow_pickle=False) for path in paths]
    means = {
        name: np.mean([file[name].astype(np.float64) for file in files], axis=0) for name in files[0].files
    }
    network.load_state_dict({name: _tensor(each.T) for name, each in means.items()})
    return network.eval()


def main() -> int:
    """Films where asked, trains, writes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.accuracy.learn_lifter", description=__doc__)
    parser.add_argument("mocap", type=Path)
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--make", type=int, default=0, help="films to make first")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--without", action="append", default=[], help="a person to leave out")
    parser.add_argument("--first", type=Path, nargs="*", help="weights to go on from: their mean")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=RATE, help="of learning, at first")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
        options.seed += distributed.get_rank()
    body, takes = BodyModel.open_body(), learning_takes(options.mocap)
    if options.make:
        make_films(options.films, options.make, takes, body)
    films = [each for each in load(options.films) if each.person not in options.without]
    takes = [take for take in takes if take.person not in options.without]
    first = stored(options.first) if options.first else None
    network = learn(takes, films, body, options.steps, first, options.rate, options.seed)
    np.savez(options.out, **{name: each.astype(np.float16) for name, each in network.weights().items()})
    print(f"{len(films)} films, {len(takes)} takes: wrote {options.out}")
    return 0


def make_films(folder: Path, count: int, takes: Sequence, body: BodyModel) -> None:
    """Films 0 to count - 1 of `folder`; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    models, settings = PoseModels(), replace(Settings().tracking, detect_every=DETECT_EVERY)
    for number in range(count):
        path = folder / f"film-{number:05d}.npz"
        if not path.exists() and (made := film(number, takes, body, models, settings)) is not None:
            save(path, made)


def _normal(x: Tensor) -> Tensor:
    return nn.functional.layer_norm(x, x.shape[-1:])


def _gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


if __name__ == "__main__":
    sys.exit(main())
