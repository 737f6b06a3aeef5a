"""Photos of studio people in the skin that they wear on the mean, with their true depth: read from films once, kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from dressed import track_of
from material import read_film
from taught import OUTSIDE, person_of
from torch import Tensor

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
from trainer.config import DataSettings

STRIDES = {"mean": 5, "held": 9, "tracked": 9}
"""Every so many frames; all of the other folders."""
TRACKED = "tracked-held"
"""A dataset of `held`: the part `tracked` is its films with the bodies that the tracker found."""
JOINTS_TRUSTED = ("refine.rotation_sigma_rad=0.02", "refine.translation_sigma_m=0.005")
CONTRAST = 1.25
DEPTH_STEP_M = 1e-4


def photos_of(films: Path, folders: list[str]) -> dict[str, Photos]:
    """The photos of several folders of films; kept in `cache` beside them."""
    cache = films / "cache"
    cache.mkdir(exist_ok=True)
    settings = with_overrides(Settings(), [*OUTSIDE, *JOINTS_TRUSTED, "rendering.rasterizer=compiled"])
    resources = Resources(settings)
    clothes_m = mean_clothes(films, cache, settings, resources)
    mesh = BaseMesh(resources.body.faces, resources.body.vertex_count, clothes_m=clothes_m)
    return {part: prepare(films, part, cache, mesh, settings, resources) for part in dict.fromkeys(folders)}


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

    def inputs(self, at: int, data: DataSettings, colours: np.ndarray | None = None) -> Tensor:
        """(4, 512, 512), each colour multiplied where a draw is given."""
        factors = ((1.0 if colours is None else colours) * np.ones(3) / 255).astype(np.float32)
        image = np.multiply(self.image[at], factors, dtype=np.float32)
        return network_input(
            np.minimum(image, 1, out=image), self.input_depth[at] * np.float32(DEPTH_STEP_M), data
        )


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
        start = films / TRACKED if part == "tracked" else 0.0
        from_films = films / ("held" if part == "tracked" else part)
        for number, film in enumerate(sorted(from_films.glob("[!.]*.mp4"))):
            for shown in shown_in(film, start, STRIDES.get(part, 1), mesh, settings, resources):
                for name, value in {**shown, "person": np.array(number)}.items():
                    rows[name].append(value)
        for name, values in rows.items():  # `person` last: what is there is whole
            np.save(folder / f"{name}.npy", np.stack(values))
    return Photos.load(folder)


def shown_in(
    film: Path, start: float | Path, stride: int, mesh: BaseMesh, settings: Settings, resources: Resources
) -> Iterator[dict[str, np.ndarray]]:
    """Fields of `Photos`, of every so many frames of a film; bodies as `track_of` takes them."""
    clip, body, rasterizer = StudioClip.load(film.with_suffix(".json")), resources.body, resources.rasterizer
    frames = list(read_film(film, clip.settings.fps))
    track = track_of(film, clip, frames, start, settings)
    if track is None:
        return
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
