"""The experiments of docs/experiments.md: probes and self-supervised training on studio films, one JSON line each.

    python -m pipeline studio film --out films/train --clips 40 --seed 1000 --set duration_s=2.5
    python -m pipeline studio film --out films/held --clips 10 --seed 2000 --set duration_s=2.5
    python -m pipeline studio film --out films/clean --clips 6 --seed 2000 --set duration_s=1.5 \\
        --set noise=0 --set drift=0 --set crf=6 --set loose_share=0            # the same people at their easiest
    python -m pipeline studio film --out films/sliding --clips 6 --seed 2000 --set duration_s=2.5 --set slide_m=0.004
    python -m pipeline run films/train/clips.csv --out films/tracked-train     # likewise held; for tracked bodies
    PYTHONPATH=. python tools/experiments/run.py films --out results.jsonl --minutes 9

The network never sees a truth: it is read to score people, clothes and movements that were not trained on. Every
training run takes equally many steps, as many as fit into the minutes; a run that is killed loses only what it was at.
Needs torch, numpy, OpenCV, numba, scipy and pyarrow; a GPU, or patience.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from configurations import CONFIGURATIONS, PROBES, Configuration, Probe
from laboratory import TRAIN_STRIDE, Laboratory
from resident import Resident
from results import Results
from torch import Tensor

from trainer.model import ReconNet, parameter_count
from trainer.probe import ProbeSettings, optimised_offset
from trainer.step import learning_rate_factor, train_step

EVALUATED_AT_ONCE = 16
PROBED_AT_ONCE = {"cpu": 2}
"""As many as are evaluated, but on a CPU, where fewer fit its caches."""
TIMED_STEPS = 10
PROBED_STRIDE = 4
"""Every so many held-out samples one is optimised."""


@torch.no_grad()
def predicted(model: ReconNet, samples: Resident, configuration: Configuration) -> Tensor:
    """The network's offsets of all samples."""
    model.eval()
    centre_by = configuration.settings.data.centre_by
    groups = torch.arange(len(samples)).split(EVALUATED_AT_ONCE)
    return torch.cat([model(samples.batch(group.tolist(), centre_by=centre_by).inputs) for group in groups])


def trained(
    laboratory: Laboratory, configuration: Configuration, steps: int, deadline_s: float
) -> tuple[ReconNet, dict[str, Any]]:
    """A network after so many steps of self-supervision, and how it went."""
    settings = configuration.settings
    settings = replace(settings, train=replace(settings.train, max_steps=steps))
    samples = laboratory.samples(configuration.variant, "train")
    torch.manual_seed(settings.train.seed)
    model = ReconNet(settings.model).to(laboratory.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.train.learning_rate)
    rng = np.random.default_rng(settings.train.seed)
    order: list[int] = []
    last, begin, step = {}, time.monotonic(), 0
    for step in range(steps):
        if time.monotonic() > deadline_s:
            break
        while len(order) < settings.train.batch_size:
            order += rng.permutation(len(samples)).tolist()
        chosen, order = order[: settings.train.batch_size], order[settings.train.batch_size :]
        batch = samples.batch(
            chosen,
            photo_px=settings.losses.photo_px,
            references=settings.data.max_references,
            centre_by=settings.data.centre_by,
            is_masked=configuration.is_masked,
        )
        for group in optimizer.param_groups:
            group["lr"] = settings.train.learning_rate * learning_rate_factor(step, 0.0, settings.train)
        seen = train_step(model, optimizer, [batch], settings)
        if seen is not None and step == steps - 1:
            last = seen[0][0].means()
    if laboratory.device.type == "cuda":
        torch.cuda.synchronize()
    facts = {
        "steps": step + 1 if steps else 0,
        "is_whole": step + 1 == steps,
        "seconds": round(time.monotonic() - begin, 2),
        "samples": len(samples),
        "last_losses": last,
    }
    return model, facts


def probe_held_out(samples: Resident, positions: list[int], probe: Probe, settings: ProbeSettings) -> Tensor:
    """Offsets of samples optimised directly."""
    at_once = PROBED_AT_ONCE.get(samples.K.device.type, EVALUATED_AT_ONCE)
    groups = [positions[first : first + at_once] for first in range(0, len(positions), at_once)]
    batches = (
        samples.batch(group, photo_px=probe.losses.photo_px, references=probe.references) for group in groups
    )
    return torch.cat([optimised_offset(batch, probe.losses, settings) for batch in batches])


def main(argv: list[str]) -> int:
    """Probes, then training runs, until all are done or the time is up."""
    options = _options(argv)
    begin = time.monotonic()
    deadline_s = begin + 60 * options.minutes
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    chosen = [each for each in CONFIGURATIONS if options.only is None or options.only in each.name]
    probes = [each for each in PROBES if options.only is None or options.only in each.name]
    chosen = [] if options.no_training else chosen
    scratch = Path(options.scratch or tempfile.mkdtemp(prefix="humandepth-experiments-"))
    scratch.mkdir(parents=True, exist_ok=True)
    laboratory = Laboratory(options, scratch)
    probes = [] if options.no_probes else [each for each in probes if laboratory.has(each.part)]
    probes.sort(key=_first_use)
    chosen = [each for each in chosen if laboratory.has(each.part)]
    results = Results(options.out, laboratory.device, begin)
    try:
        _order_all(laboratory, probes, chosen)
        _probe_all(laboratory, results, probes, options, deadline_s)
        _train_all(laboratory, results, chosen, options.steps, deadline_s)
    finally:
        results.close()
        laboratory.close()
        if not options.scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    return 0


def _order_all(laboratory: Laboratory, probes: list[Probe], chosen: list[Configuration]) -> None:
    """Everything is prepared in the order of its use: first what the first run trains on, while probes go on."""
    for configuration in chosen[:1]:
        laboratory.order(configuration.variant, configuration.part)
        laboratory.order(configuration.variant, "train")
    for probe in probes:
        laboratory.order(probe.variant, probe.part)
    for configuration in chosen:
        laboratory.order(configuration.variant, configuration.part)
    for variant in dict.fromkeys(each.variant for each in chosen):
        laboratory.order(variant, "train")


def _probe_all(
    laboratory: Laboratory,
    results: Results,
    probes: list[Probe],
    options: argparse.Namespace,
    deadline_s: float,
) -> None:
    for probe in probes:
        if time.monotonic() > deadline_s:
            return
        samples, start = laboratory.samples(probe.variant, probe.part), time.monotonic()
        positions = list(range(0, len(samples), options.probe_stride))
        settings = ProbeSettings(steps=options.probe_steps)
        offsets = probe_held_out(samples, positions, probe, settings).cpu()
        facts = {
            "probe": probe.name,
            "steps": options.probe_steps,
            "references": probe.references,
            "overrides": probe.overrides,
        }
        results.add(facts | {"seconds": round(time.monotonic() - start, 2)}, samples, positions, offsets)


def _train_all(
    laboratory: Laboratory,
    results: Results,
    chosen: list[Configuration],
    steps: int | None,
    deadline_s: float,
) -> None:
    steps = steps or _steps_that_fit(laboratory, chosen, deadline_s)
    for configuration in chosen:
        if time.monotonic() > deadline_s:
            return
        try:
            model, facts = trained(laboratory, configuration, steps * configuration.length, deadline_s)
        except torch.OutOfMemoryError as error:  # the others may still fit
            print(f"{configuration.name}: {error}", file=sys.stderr)
            continue
        held = laboratory.samples(configuration.variant, configuration.part)
        facts |= {
            "training": configuration.name,
            "seed": configuration.seed,
            "overrides": configuration.overrides,
            "is_masked": configuration.is_masked,
            "parameters": parameter_count(model),
        }
        results.add(facts, held, list(range(len(held))), predicted(model, held, configuration))


def _steps_that_fit(laboratory: Laboratory, chosen: list[Configuration], deadline_s: float) -> int:
    """Steps of each run, from the time of a few steps of the first and the known costs of the others."""
    if not chosen:
        return 0
    trained(laboratory, chosen[0], TIMED_STEPS, deadline_s)  # the first steps choose kernels
    _, facts = trained(laboratory, chosen[0], 3 * TIMED_STEPS, deadline_s)
    step_s = facts["seconds"] / (3 * TIMED_STEPS)
    overhead_s = 2.0 * len(chosen)  # loading a variant and predicting
    left_s = deadline_s - time.monotonic() - overhead_s
    steps = int(0.95 * left_s / (step_s * sum(each.cost * each.length for each in chosen)))
    print(f"{1000 * step_s:.1f} ms a step: {steps} steps for each of {len(chosen)} runs", flush=True)
    return max(steps, TIMED_STEPS)


def _first_use(probe: Probe) -> int:
    """Probes of one variant come together, so that it is loaded once."""
    return [(each.variant, each.part) for each in PROBES].index((probe.variant, probe.part))


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "films", help="folder with train, held and, for tracked bodies, tracked-train, tracked-held"
    )
    parser.add_argument("--out", required=True, help="JSON lines, appended to")
    parser.add_argument("--minutes", type=float, default=9.0, help="everything together (default 9)")
    parser.add_argument("--steps", type=int, help="of each training run, instead of as many as fit")
    parser.add_argument("--probe-steps", type=int, default=120)
    parser.add_argument(
        "--probe-stride", type=int, default=PROBED_STRIDE, help="every so many held-out samples one is probed"
    )
    parser.add_argument("--clips", type=int, help="at most so many films to train on")
    parser.add_argument(
        "--train-stride", type=int, default=TRAIN_STRIDE, help="every so many of their frames is a target"
    )
    parser.add_argument("--held-clips", type=int, help="at most so many held-out films")
    parser.add_argument("--only", metavar="TEXT", help="only probes and runs whose name holds this")
    parser.add_argument("--no-probes", action="store_true")
    parser.add_argument("--no-training", action="store_true")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU where there is one)")
    parser.add_argument("--scratch", help="keep prepared maps here for the next run: some gigabytes")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
