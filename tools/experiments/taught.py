"""A network taught by the dressed shapes of tracks, scored on people it has not seen: docs/experiments.md.

    PYTHONPATH=. python tools/experiments/taught.py films/curve --out taught.jsonl --seed 1 2
    PYTHONPATH=. python tools/experiments/taught.py films/curve --out taught.jsonl --teacher truth --clothes

Some frames of the films in `train` teach: bodies exact or with errors of their own (`--jitter`), refined with
clothes expected outside the skin. Every ninth of `held` is scored from its exact skin, which is all that the network is
given beside the picture; `dressed` are the tracks' own shapes on the same pixels, with the people of `train` for
expectation. With `--clothes` the skin is moved out by what the people of `train` wear on the mean before it is
rendered, and the network learns the rest; `mean clothes` is that by itself. Intervals are the bootstrap's (95 %) over
people, always against the skin. `--teacher truth` learns from known depth instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from dressed import interval, track_of
from material import read_film
from torch import Tensor

from pipeline.config import Settings
from pipeline.dataset.dressed_depths import (
    DressedSettings,
    among_people,
    dressed_depth,
    evidence_of,
    people_offset,
    with_contrast,
)
from pipeline.geometry.camera import Camera
from pipeline.method.rendered_frames import body_from_vector
from pipeline.method.resources import Resources
from pipeline.records import Track, TrackSurface
from pipeline.refine.refinement import refined_track
from pipeline.rendering import render
from pipeline.rendering.base_mesh import BaseMesh
from pipeline.studio.clip import StudioClip
from pipeline.studio.truth import truth_at
from pipeline.video.crops import crop_image
from schemas.conventions import IMAGE_PX, MAP_PX
from schemas.settings import with_overrides
from trainer.batch import network_input
from trainer.config import DataSettings, preset
from trainer.config import Settings as TrainerSettings
from trainer.losses import dressed_loss, smooth_loss
from trainer.metrics import depth_errors
from trainer.model import ReconNet
from trainer.step import learning_rate_factor

OUTSIDE = ("refine.offset_mean_m=0.01", "refine.offset_sigma_m=0.01", "refine.offset_range_m=[0,0.08]")
HELD_STRIDE = 9
TAUGHT = ("losses.gamma_smooth=0.05", "train.max_steps=400")
"""Changes of `small`."""
KNOWN_SIGMA_M = 0.01
"""Known depth is as sure everywhere."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Person:
    """A film whose bodies are refined."""

    clip: StudioClip
    crops: dict[int, np.ndarray]
    """Of the frames that are shown, by their place in the track."""
    track: Track
    refined: Track
    evidence: TrackSurface


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """One frame, as a network sees it and what it should find. Maps at 256 px, metres."""

    image: np.ndarray
    input_depth: np.ndarray
    naked: np.ndarray
    base: np.ndarray
    """The same of the skin, and of what the network starts from: the skin or that in the mean clothes of people."""
    dressed: np.ndarray
    """(2, H, W) depth and standard deviation."""
    truth: np.ndarray
    K: np.ndarray


def person_of(film: Path, jitter: float, stride: int, settings: Settings, resources: Resources) -> Person:
    """Bodies that err by so many cm and degrees, and the same refined."""
    clip = StudioClip.load(film.with_suffix(".json"))
    frames = list(read_film(film, clip.settings.fps))
    track = track_of(film, clip, frames, jitter, settings)
    assert track is not None
    crops = [
        crop_image(frames[at].image, crop, IMAGE_PX) for at, crop in zip(track.frame_index, track.crop_px)
    ]
    gaps_s = settings.pairs.candidate_gaps_s
    refined = refined_track(
        track, crops.__getitem__, resources.body, resources.refining_rasterizer, settings.refine, gaps_s
    )
    assert refined.surface is not None, "a film of one frame"
    evidence = evidence_of(refined.surface, settings.refine)
    shown = {at: crops[at] for at in map(int, np.flatnonzero(track.kept)[::stride])}
    return Person(clip=clip, crops=shown, track=track, refined=refined, evidence=evidence)


def shown_by(
    person: Person,
    shape: TrackSurface,
    mesh: BaseMesh,
    resources: Resources,
    *,
    is_refined: bool,
) -> Iterator[Shown]:
    """Frames whose crops are there, from the refined bodies or from those before; `mesh` may dress them."""
    track, body, rasterizer = person.track, resources.body, resources.rasterizer
    vectors = (person.refined if is_refined else track).vector
    for at, image in person.crops.items():
        camera = Camera(track.K[at], (IMAGE_PX, IMAGE_PX))
        at_map = camera.resized((MAP_PX, MAP_PX))
        skin = body_from_vector(vectors[at], camera, body).vertices
        worn = mesh.vertices(skin)
        dressed = dressed_depth(vectors[at], track.K[at], shape, body, rasterizer)
        yield Shown(
            image=image,
            input_depth=render(rasterizer, worn, body.faces, camera).depth.astype(np.float32),
            naked=render(rasterizer, skin, body.faces, at_map).depth.astype(np.float32),
            base=render(rasterizer, worn, body.faces, at_map).depth.astype(np.float32),
            dressed=np.stack([dressed.depth_m, dressed.sigma_m]).astype(np.float32),
            truth=truth_at(person.clip, float(track.pts_s[at]), track.K[at], rasterizer).depth_m,
            K=dressed.K,
        )


def inputs_of(shown: Shown, data: DataSettings, colours: np.ndarray | None = None) -> Tensor:
    """(1, 4, 512, 512), each colour multiplied where a draw is given."""
    image = shown.image.astype(np.float32) / 255
    image = image if colours is None else np.clip(image * colours, 0, 1).astype(np.float32)
    return network_input(image.transpose(2, 0, 1), shown.input_depth, data)[None]


def taught(frames: list[Shown], settings: TrainerSettings, teacher: str, seed: int) -> ReconNet:
    """A network after its steps: mirrored and recoloured frames, what they say beyond a constant, smoothness."""
    train, rng, order = settings.train, np.random.default_rng(seed), []
    torch.manual_seed(seed)
    model = ReconNet(settings.model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=train.learning_rate)
    for step in range(train.max_steps):
        while len(order) < train.batch_size:
            order += rng.permutation(len(frames)).tolist()
        chosen, order = [frames[at] for at in order[: train.batch_size]], order[train.batch_size :]
        inputs = torch.cat([inputs_of(each, settings.data, rng.uniform(0.8, 1.2, 3)) for each in chosen])
        base = torch.from_numpy(np.stack([each.base for each in chosen]))[:, None]
        said = torch.from_numpy(np.stack([_teacher(each, teacher) for each in chosen])).float()
        if rng.uniform() < 0.5:
            inputs, base, said = inputs.flip(-1), base.flip(-1), said.flip(-1)
        for group in optimizer.param_groups:
            group["lr"] = train.learning_rate * learning_rate_factor(step, 0.0, train)
        with torch.autocast("cpu", torch.bfloat16, enabled=train.precision == "bfloat16"):
            offset = model(inputs)
        smooth = settings.losses.gamma_smooth * smooth_loss(offset, (base > 0).float())
        loss = dressed_loss(offset, base, said) + smooth
        optimizer.zero_grad()
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip_norm)
        optimizer.step()
    return model.eval()


def _teacher(shown: Shown, teacher: str) -> np.ndarray:
    known = np.stack([shown.truth, KNOWN_SIGMA_M * (shown.truth > 0)])
    return shown.dressed if teacher == "dressed" else known


@torch.no_grad()
def errors_of(model: ReconNet, frames: list[Shown], data: DataSettings) -> dict[str, float]:
    """Mean absolute errors in mm after one offset per image, means over a person's frames."""
    found: dict[str, list[float]] = {}
    for shown in frames:
        offset, on_body = model(inputs_of(shown, data))[0, 0].numpy(), shown.base > 0
        depths = {
            "base": shown.naked,
            "mean clothes": shown.base,
            "network": np.where(on_body, shown.base + offset, 0),
            "mean alone": np.where(on_body, shown.base + offset[on_body].mean(), 0),
            "dressed": np.where(on_body, shown.dressed[0], 0),
        }
        for name, depth in depths.items():
            found.setdefault(name, []).append(depth_errors(depth, shown.truth, shown.K).mae_mm)
    return {name: float(np.mean(values)) for name, values in found.items()}


def main(argv: list[str]) -> int:
    """A line for each seed."""
    options = _options(argv)
    settings = with_overrides(Settings(), [*OUTSIDE, "rendering.rasterizer=compiled", *options.set])
    resources, dressing = Resources(settings), DressedSettings(contrast=options.contrast)
    trained_by = with_overrides(preset("small"), [*TAUGHT, *options.train])

    def people(part: str, jitter: float, count: int | None, stride: int) -> list[Person]:
        films = sorted((options.films / part).glob("[!.]*.mp4"))[:count]
        return [person_of(film, jitter, stride, settings, resources) for film in films]

    def frames(person: Person, *, is_refined: bool) -> list[Shown]:
        shape = among_people(person.evidence, common_m, dressing)
        return list(shown_by(person, shape, mesh, resources, is_refined=is_refined))

    training = people("train", options.jitter, options.clips, options.stride)
    common_m = people_offset({each.clip.clip_id: each.evidence for each in training}, settings.refine)
    clothes_m = with_contrast(common_m, dressing) if options.clothes else None
    mesh = BaseMesh(resources.body.faces, resources.body.vertex_count, clothes_m=clothes_m)
    teaching = [shown for each in training for shown in frames(each, is_refined=True)]
    held = [
        frames(each, is_refined=False) for each in people(options.part, 0.0, options.held_clips, HELD_STRIDE)
    ]
    for seed in options.seed:
        model = taught(teaching, trained_by, options.teacher, seed)
        rows = [errors_of(model, each, trained_by.data) for each in held]
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        line = vars(options) | {"seed": seed, "people": len(training), "samples": len(teaching)} | means
        for name in list(means)[1:]:
            ends = interval([row["base"] for row in rows], [row[name] for row in rows])
            line[f"{name} recovered"] = [1 - means[name] / means["base"], *ends]
        print(line, flush=True)
        with options.out.open("a") as out:
            out.write(json.dumps(line, default=str) + "\n")
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("films", type=Path, help="folder with train and held")
    parser.add_argument("--out", required=True, type=Path, help="JSON lines, appended to")
    parser.add_argument("--part", default="held", help="folder of the films that are scored")
    parser.add_argument("--teacher", choices=("dressed", "truth"), default="dressed")
    parser.add_argument(
        "--jitter", type=float, default=0.0, help="cm and degrees of error of training bodies"
    )
    parser.add_argument("--clothes", action="store_true", help="start from the skin in people's mean clothes")
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--contrast", type=float, default=DressedSettings().contrast)
    parser.add_argument("--stride", type=int, default=5, help="every so many frames of the training films")
    for what, of in (("set", "pipeline's settings"), ("train", "trainer's preset `small`")):
        parser.add_argument(
            f"--{what}", metavar="KEY=VALUE", action="append", default=[], help=f"a change of the {of}"
        )
    parser.add_argument("--clips", type=int, help="at most so many films to train on")
    parser.add_argument("--held-clips", type=int)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
