"""A network for what people wear beyond the mean, taught by known depth for as long as it learns: docs/experiments.md.

    PYTHONPATH=. python tools/experiments/worn.py films/worn --out worn.jsonl --part tune --train train.max_steps=2000
    PYTHONPATH=. python tools/experiments/worn.py films/worn --out worn.jsonl --part held --seed 1 2 3

Bodies are exact. The mean clothes are those of the films in `mean` (full frame rate, refined, joints trusted); the
frames of `mean`, every fifth, and of `sparse`, all, teach; `tune` chooses, and every ninth frame of `held` is scored.
Base depth is the skin in mean clothes, recovered is counted from the naked skin. What is read from films is kept in
`cache` beside them. Intervals are the bootstrap's (95 %) over people; each line has the control, the network's mean
offset alone, and the mean clothes by themselves.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from dressed import interval, track_of
from material import read_film
from safetensors.torch import save_file
from taught import OUTSIDE, person_of
from torch import Tensor
from torch.nn.functional import pad

from pipeline.config import Settings
from pipeline.dataset.dressed_depths import DressedSettings, people_offset, with_contrast
from pipeline.geometry.camera import Camera
from pipeline.method.rendered_frames import body_from_vector
from pipeline.method.resources import Resources
from pipeline.rendering import render
from pipeline.rendering.base_mesh import BaseMesh
from pipeline.studio.clip import StudioClip
from pipeline.studio.truth import truth_at
from pipeline.video.crops import crop_image
from schemas.conventions import IMAGE_PX, MAP_PX
from schemas.settings import with_overrides
from trainer.batch import network_input
from trainer.config import Settings as TrainerSettings
from trainer.config import preset
from trainer.losses import smooth_loss, truth_loss
from trainer.metrics import depth_errors
from trainer.model import ReconNet
from trainer.step import learning_rate_factor

STRIDES = {"mean": 5, "sparse": 1, "tune": 1, "held": 9}
JOINTS_TRUSTED = ("refine.rotation_sigma_rad=0.02", "refine.translation_sigma_m=0.005")
CONTRAST = 1.25
TAUGHT = (
    "model.head_blocks=0",
    "model.stem_stride=4",
    "model.stem_width=32",
    "data.background=keep",
    "losses.gamma_smooth=0.01",
    "train.channels_last=true",
    "train.batch_size=4",
)
"""Changes of `small`."""
DEPTH_STEP_M = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Photos:
    """S frames of a folder's films, as a network sees them and what it should find."""

    image: np.ndarray
    """(S, 512, 512, 3) uint8."""
    input_depth: np.ndarray
    """(S, 512, 512) uint16 tenths of a millimetre beyond the nearest point, from 1; 0 = background."""
    naked: np.ndarray
    """(S, 256, 256) float32 metres like the next two: the skin; in mean clothes; the surface."""
    base: np.ndarray
    truth: np.ndarray
    K: np.ndarray
    """(S, 3, 3) at 256."""
    person: np.ndarray
    """(S,) number of the film."""

    @classmethod
    def load(cls, folder: Path) -> Photos:
        """Mapped, not read."""
        return cls(**{each.name: np.load(folder / f"{each.name}.npy", mmap_mode="r") for each in fields(cls)})

    def inputs(self, at: int, settings: TrainerSettings, colours: np.ndarray | None = None) -> Tensor:
        """(4, 512, 512), each colour multiplied where a draw is given."""
        image = self.image[at].astype(np.float32) / 255
        image = image if colours is None else np.minimum(image * colours.astype(np.float32), 1)
        return network_input(image, self.input_depth[at] * np.float32(DEPTH_STEP_M), settings.data)


def mean_clothes(films: Path, cache: Path, settings: Settings, resources: Resources) -> np.ndarray:
    """(V,) metres outwards, of every film in `mean`; kept in the cache."""
    path = cache / "clothes.npy"
    if not path.exists():
        evidence = {}
        for film in sorted((films / "mean").glob("[!.]*.mp4")):
            evidence[film.stem] = person_of(film, 0.0, 10**6, settings, resources).evidence
        common_m = people_offset(evidence, settings.refine)
        np.save(path, with_contrast(common_m, DressedSettings(contrast=CONTRAST)))
    return np.asarray(np.load(path))


def prepare(
    films: Path, part: str, cache: Path, mesh: BaseMesh, settings: Settings, resources: Resources
) -> Photos:
    """The photos of a folder; kept in the cache."""
    folder = cache / part
    if not (folder / "person.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows: dict[str, list[np.ndarray]] = {each.name: [] for each in fields(Photos)}
        for number, film in enumerate(sorted((films / part).glob("[!.]*.mp4"))):
            for shown in shown_in(film, STRIDES[part], mesh, settings, resources):
                for name, value in {**shown, "person": np.array(number)}.items():
                    rows[name].append(value)
        for name, values in rows.items():  # `person` last: what is there is whole
            np.save(folder / f"{name}.npy", np.stack(values))
    return Photos.load(folder)


def shown_in(
    film: Path, stride: int, mesh: BaseMesh, settings: Settings, resources: Resources
) -> Iterator[dict[str, np.ndarray]]:
    """Fields of `Photos`, of every so many frames of a film with its exact body."""
    clip, body, rasterizer = StudioClip.load(film.with_suffix(".json")), resources.body, resources.rasterizer
    frames = list(read_film(film, clip.settings.fps))
    track = track_of(film, clip, frames, 0.0, settings)
    assert track is not None
    for at in map(int, np.flatnonzero(track.kept)[::stride]):
        camera = Camera(track.K[at], (IMAGE_PX, IMAGE_PX))
        at_map = camera.resized((MAP_PX, MAP_PX))
        skin = body_from_vector(track.vector[at], camera, body).vertices
        worn = mesh.vertices(skin)
        finer = render(rasterizer, worn, body.faces, camera).depth
        nearest = finer[finer > 0].min()
        steps = np.where(finer > 0, np.round((finer - nearest) / DEPTH_STEP_M) + 1, 0)
        yield {
            "image": crop_image(frames[track.frame_index[at]].image, track.crop_px[at], IMAGE_PX),
            "input_depth": steps.astype(np.uint16),
            "naked": render(rasterizer, skin, body.faces, at_map).depth.astype(np.float32),
            "base": render(rasterizer, worn, body.faces, at_map).depth.astype(np.float32),
            "truth": truth_at(clip, float(track.pts_s[at]), track.K[at], rasterizer).depth_m,
            "K": at_map.K,
        }


def taught(
    teaching: list[tuple[Photos, int]], settings: TrainerSettings, seed: int
) -> Iterator[tuple[int, ReconNet, float]]:
    """The network after every `validate_every` steps and at the end, with the mean loss since: mirrored, recoloured."""
    train, rng = settings.train, np.random.default_rng(seed)
    torch.manual_seed(seed)
    order: torch.memory_format = torch.channels_last if train.channels_last else torch.contiguous_format
    model = ReconNet(settings.model).train().to(memory_format=order)  # type: ignore[call-overload]  # not annotated
    optimizer = torch.optim.Adam(model.parameters(), lr=train.learning_rate)
    left: list[int] = []
    losses: list[float] = []
    for step in range(train.max_steps):
        while len(left) < train.batch_size:
            left += rng.permutation(len(teaching)).tolist()
        chosen, left = [teaching[at] for at in left[: train.batch_size]], left[train.batch_size :]
        parts = [drawn(*each, settings, rng) for each in chosen]
        inputs, base, truth = (torch.stack(each) for each in zip(*parts, strict=True))
        for group in optimizer.param_groups:
            group["lr"] = train.learning_rate * learning_rate_factor(step, 0.0, train)
        with torch.autocast("cpu", torch.bfloat16, enabled=train.precision == "bfloat16"):
            offset = model(inputs.contiguous(memory_format=order))
        smooth = settings.losses.gamma_smooth * smooth_loss(offset, (base > 0).float())
        loss = (truth_loss(offset, base, truth) + smooth).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip_norm)
        optimizer.step()
        losses.append(float(loss))
        if (step + 1) % train.validate_every == 0 or step + 1 == train.max_steps:
            yield step + 1, model, float(np.mean(losses))
            losses.clear()
            model.train()


def drawn(photos: Photos, at: int, settings: TrainerSettings, rng: np.random.Generator) -> list[Tensor]:
    """Input, base depth and truth of a photo: colours multiplied, half of them mirrored, moved within the crop."""
    maps = [torch.from_numpy(np.array(each[at]))[None] for each in (photos.base, photos.truth)]
    maps = [
        photos.inputs(at, settings, rng.uniform(0.8, 1.2, 3) if settings.data.colour_jitter else None),
        *maps,
    ]
    if settings.data.flip and rng.uniform() < 0.5:
        maps = [each.flip(-1) for each in maps]
    limit = int(settings.data.crop_jitter * MAP_PX)
    down, right = rng.integers(-limit, limit + 1, 2).tolist() if limit else (0, 0)
    return [_moved(each, down * each.shape[-1] // MAP_PX, right * each.shape[-1] // MAP_PX) for each in maps]


def _moved(values: Tensor, down: int, right: int) -> Tensor:
    """Zeros come in."""
    return pad(values, (right, -right, down, -down)) if down or right else values


@torch.no_grad()
def errors_of(model: ReconNet, photos: Photos, settings: TrainerSettings) -> list[dict[str, float]]:
    """Mean absolute errors in mm after one offset per image, of every person: means over the photos."""
    model.eval()
    found: list[dict[str, float]] = []
    for at in range(len(photos.person)):
        base, naked = np.array(photos.base[at]), np.array(photos.naked[at])
        offset, on_body = model(photos.inputs(at, settings)[None])[0, 0].numpy(), base > 0
        depths = {
            "base": naked,
            "mean clothes": base,
            "network": np.where(on_body, base + offset, 0),
            "mean alone": np.where(on_body, base + offset[on_body].mean(), 0),
        }
        errors = {name: depth_errors(each, photos.truth[at], photos.K[at]) for name, each in depths.items()}
        found.append({name: each.mae_mm for name, each in errors.items()})
        found[-1] |= {
            f"{name}, normals": errors[name].normals_deg for name in ("base", "mean clothes", "network")
        }
    people = [
        [row for row, whose in zip(found, photos.person) if whose == each]
        for each in np.unique(photos.person)
    ]
    return [{name: float(np.mean([row[name] for row in rows])) for name in rows[0]} for rows in people]


def main(argv: list[str]) -> int:
    """A line for every look at a network."""
    options = _options(argv)
    films, cache = options.films, options.films / "cache"
    cache.mkdir(exist_ok=True)
    settings = with_overrides(Settings(), [*OUTSIDE, *JOINTS_TRUSTED, "rendering.rasterizer=compiled"])
    resources = Resources(settings)
    clothes_m = mean_clothes(films, cache, settings, resources)
    mesh = BaseMesh(resources.body.faces, resources.body.vertex_count, clothes_m=clothes_m)
    parts = {
        part: prepare(films, part, cache, mesh, settings, resources)
        for part in (*options.teach, options.part)
    }
    teaching = [(parts[part], at) for part in options.teach for at in range(len(parts[part].person))]
    people, whose = 0, []
    for part in options.teach:
        whose += (people + parts[part].person).tolist()
        people = max(whose) + 1
    teaching = [each for each, person in zip(teaching, whose) if person < options.people]
    trained_by = with_overrides(preset("small"), [*TAUGHT, *options.train])
    for seed in options.seed:
        begin = time.process_time()
        for step, model, loss in taught(teaching, trained_by, seed):
            minutes = (time.process_time() - begin) / 60
            rows = errors_of(model, parts[options.part], trained_by)
            means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
            line = {
                "part": options.part,
                "train": options.train,
                "seed": seed,
                "step": step,
                "minutes": minutes,
            }
            line |= {
                "loss_mm": 1000 * loss,
                "people": min(people, options.people),
                "samples": len(teaching),
            } | means
            for name in ("mean clothes", "network", "mean alone"):
                ends = interval([row["base"] for row in rows], [row[name] for row in rows])
                line[f"{name} recovered"] = [1 - means[name] / means["base"], *ends]
            ends = interval([row["mean clothes"] for row in rows], [row["network"] for row in rows])
            line["network over mean clothes"] = [1 - means["network"] / means["mean clothes"], *ends]
            print(json.dumps(line), flush=True)
            with options.out.open("a") as out:
                out.write(json.dumps(line) + "\n")
        save_file(model.state_dict(), cache / f"{options.out.stem}-{seed}.safetensors")
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("films", type=Path, help="folder with mean, sparse, tune and held")
    parser.add_argument("--out", required=True, type=Path, help="JSON lines, appended to")
    parser.add_argument("--part", choices=("tune", "held"), default="tune", help="whose photos are scored")
    parser.add_argument("--teach", nargs="+", default=["mean", "sparse"])
    parser.add_argument("--people", type=int, default=10**6, help="at most so many teach")
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument(
        "--train", metavar="KEY=VALUE", action="append", default=[], help="a change of the trainer's settings"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
