"""A network for what people wear beyond the mean, taught by known depth for as long as it learns: docs/experiments.md.

    PYTHONPATH=. python tools/experiments/worn.py films/worn --out worn.jsonl --train train.learning_rate=0.001
    PYTHONPATH=. python tools/experiments/worn.py films/worn --out worn.jsonl --score tune held --seed 1 2

Bodies are exact. The mean clothes are those of the films in `mean` (full frame rate, refined, joints trusted); the
frames of `mean`, every fifth, and of `sparse`, all, teach; `tune` chooses, and every ninth frame of `held` is scored.
`tracked` are the people of `held` with the bodies that a tracker found (dataset `tracked-held` beside the films).
Base depth is the skin in mean clothes, recovered is counted from the naked skin. Intervals are the bootstrap's (95 %)
over people; each line has the controls: the network's mean offset alone, and the mean clothes by themselves.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from dressed import interval
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import pad
from worn_photos import Photos, photos_of

from schemas.conventions import MAP_PX
from schemas.settings import with_overrides
from trainer.checkpoint import load_into
from trainer.config import DataSettings, preset
from trainer.config import Settings as TrainerSettings
from trainer.losses import smooth_loss, truth_loss
from trainer.metrics import depth_errors
from trainer.model import ReconNet, initialise
from trainer.step import learning_rate_factor


def taught(
    teaching: list[tuple[Photos, int]], settings: TrainerSettings, seed: int
) -> Iterator[tuple[int, ReconNet, float]]:
    """Step, network and mean loss since the last look: after every `train.validate_every` steps, and at the end."""
    train, rng = settings.train, np.random.default_rng(seed)
    torch.manual_seed(seed)
    order: torch.memory_format = torch.channels_last if train.channels_last else torch.contiguous_format
    model = ReconNet(settings.model).to(memory_format=order)  # type: ignore[call-overload]  # not annotated
    if train.initial == "he":
        initialise(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=train.learning_rate)
    left: list[int] = []
    losses: list[float] = []
    for step in range(train.max_steps):
        model.train()
        while len(left) < train.batch_size:
            left += rng.permutation(len(teaching)).tolist()
        chosen, left = [teaching[at] for at in left[: train.batch_size]], left[train.batch_size :]
        parts = [drawn(*each, settings.data, rng) for each in chosen]
        inputs, base, truth = (torch.stack(each) for each in zip(*parts, strict=True))
        for group in optimizer.param_groups:
            group["lr"] = train.learning_rate * learning_rate_factor(step, 0.0, train)
        with torch.autocast("cpu", torch.bfloat16, enabled=train.precision == "bfloat16"):
            offset = model(inputs.contiguous(memory_format=order))
        loss = loss_of(offset, base, truth, settings.losses.gamma_smooth)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip_norm)
        optimizer.step()
        losses.append(float(loss.detach()))
        if (step + 1) % train.validate_every == 0 or step + 1 == train.max_steps:
            yield step + 1, model, float(np.mean(losses))
            losses.clear()


def loss_of(offset: Tensor, base: Tensor, truth: Tensor, gamma_smooth: float) -> Tensor:
    """() the mean over a batch, in metres, computed where its bodies are."""
    shown = (base > 0).any(0)[0]
    at = [shown.any(along).nonzero() for along in (1, 0)]
    window = [slice(int(each[0]), int(each[-1]) + 1) for each in at]
    offset, base, truth = (each[..., *window] for each in (offset, base, truth))
    return (truth_loss(offset, base, truth) + gamma_smooth * smooth_loss(offset, (base > 0).float())).mean()


def drawn(photos: Photos, at: int, data: DataSettings, rng: np.random.Generator) -> list[Tensor]:
    """Input, base depth and truth of a photo: colours multiplied, mirrored, moved within the crop."""
    colours = rng.uniform(0.8, 1.2, 3) if data.colour_jitter else None
    maps = [torch.from_numpy(np.array(each[at]))[None] for each in (photos.base, photos.truth)]
    maps = [photos.inputs(at, data, colours), *maps]
    if data.flip and rng.uniform() < 0.5:
        maps = [each.flip(-1) for each in maps]
    limit = int(data.crop_jitter * MAP_PX)
    down, right = rng.integers(-limit, limit + 1, 2).tolist() if limit else (0, 0)
    return [_moved(each, down * each.shape[-1] // MAP_PX, right * each.shape[-1] // MAP_PX) for each in maps]


def _moved(values: Tensor, down: int, right: int) -> Tensor:
    """Zeros come in."""
    return pad(values, (right, -right, down, -down)) if down or right else values


@torch.no_grad()
def errors_of(model: ReconNet, photos: Photos, data: DataSettings) -> list[dict[str, float]]:
    """Mean absolute errors in mm after one offset per image, of every person: means over the photos."""
    model.eval()
    found: list[dict[str, float]] = []
    for at in range(len(photos.person)):
        base, naked = np.array(photos.base[at]), np.array(photos.naked[at])
        offset, on_body = model(photos.inputs(at, data)[None])[0, 0].numpy(), base > 0
        depths = {
            "base": naked,
            "mean clothes": base,
            "network": np.where(on_body, base + offset, 0),
            "mean alone": np.where(on_body, base + offset[on_body].mean(), 0),
        }
        errors = {name: depth_errors(each, photos.truth[at], photos.K[at]) for name, each in depths.items()}
        row = {name: each.mae_mm for name, each in errors.items()}
        found.append(row | {f"{name}, normals": each.normals_deg for name, each in errors.items()})
    people = [np.flatnonzero(photos.person == each) for each in np.unique(photos.person)]
    return [
        {name: float(np.mean([found[at][name] for at in whose])) for name in found[0]} for whose in people
    ]


def summary(rows: list[dict[str, float]]) -> dict[str, float | list[float]]:
    """Means over people, and shares of an error that are gone with the ends of their intervals."""
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    found: dict[str, float | list[float]] = dict(means)
    pairs = [("base", name) for name in ("mean clothes", "network", "mean alone")]
    for start, name in (*pairs, ("mean clothes", "network")):
        ends = interval([row[start] for row in rows], [row[name] for row in rows])
        found[f"{name} recovered of {start}"] = [1 - means[name] / means[start], *ends]
    return found


def main(argv: list[str]) -> int:
    """A line for every look at a network; the networks lie beside the lines."""
    options = _options(argv)
    settings = with_overrides(preset("supervised"), options.train)
    parts = photos_of(options.films, [*([] if options.weights else options.teach), *options.score])

    def score(model: ReconNet, names: list[str], facts: dict[str, object]) -> None:
        for name in names:
            line = {"part": name, "train": options.train} | facts
            line |= summary(errors_of(model, parts[name], settings.data))
            print(json.dumps(line), flush=True)
            with options.out.open("a") as out:
                out.write(json.dumps(line) + "\n")

    if options.weights:
        model = ReconNet(settings.model)
        load_into(model, options.weights)
        score(model, options.score, {"weights": str(options.weights)})
        return 0
    teaching, people = [], 0
    for photos in (parts[part] for part in options.teach):
        taken = photos.person < options.people - people
        teaching += [(photos, at) for at in np.flatnonzero(taken).tolist()]
        people += len(np.unique(photos.person[taken]))
    for seed in options.seed:
        minutes, begin = 0.0, time.process_time()
        for step, model, loss in taught(teaching, settings, seed):
            minutes += (time.process_time() - begin) / 60
            facts = {"seed": seed, "step": step, "minutes": minutes, "loss_mm": 1000 * loss}
            is_last = step == settings.train.max_steps
            facts |= {"people": people, "samples": len(teaching)}
            score(model, options.score if is_last else options.score[:1], facts)
            tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
            save_file(tensors, options.out.with_name(f"{options.out.stem}-{seed}.safetensors"))
            begin = time.process_time()
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("films", type=Path, help="folder with mean, sparse, tune and held")
    parser.add_argument("--out", required=True, type=Path, help="JSON lines, appended to")
    parser.add_argument("--teach", nargs="+", default=["mean", "sparse"], help="folders whose people teach")
    parser.add_argument(
        "--score", nargs="+", default=["tune"], help="who is scored: the first at every look, all at the end"
    )
    parser.add_argument(
        "--weights", type=Path, help="safetensors that an earlier run left: scored, nothing is trained"
    )
    parser.add_argument("--people", type=int, default=10**6, help="at most so many teach")
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--train", metavar="KEY=VALUE", action="append", default=[], help="a change of the trainer's settings"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
