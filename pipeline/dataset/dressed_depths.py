"""The depth of each track's dressed shape in its samples' crops, to teach a network; and what all wear on the mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.config import RefineSettings, Settings
from pipeline.dataset.stored_settings import settings_of
from pipeline.dataset.track_surfaces import surfaces_of
from pipeline.geometry.camera import Camera
from pipeline.method.named_files import body_digest
from pipeline.method.rendered_frames import body_from_vector
from pipeline.method.resources import Resources
from pipeline.records import TrackSurface
from pipeline.refine.dressed_shape import dressed
from pipeline.rendering import Rasterizer, render
from pipeline.rendering.clothes import Clothes
from schemas.conventions import IMAGE_PX, MAP_PX
from schemas.dataset import Dataset
from schemas.dressed import DressedDepth
from schemas.errors import DatasetError, SettingsError

LEAST_EVIDENCE = 0.05
"""Of the certainty: less is taken as this, so that what no picture shows stays finite, and counts next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DressedSettings:
    """What is made of the tracks' offsets before they are rendered."""

    spread_m: float = 0.007
    """Standard deviation of one person's offset about that of all people, at a vertex. Of the base depth's error of
    studio people (tuning half, exact bodies) the offsets recover 29 % without the others and 30 % with this."""
    contrast: float = 1.5
    """Times that an offset's distance from its mean over the body counts: refinement finds too little of it, with four
    times the steps as well. The same people: 26 % with 1, 30 % with 1.3 and 1.5, 29 % with 1.8, 24 % with 2.2."""

    def __post_init__(self) -> None:
        for name in ("spread_m", "contrast"):
            if not getattr(self, name) > 0:
                flag = f"--{name.replace('_', '-')}"
                raise SettingsError(
                    f"{flag} cannot be {getattr(self, name):g}.", remedy="Give a number above 0."
                )


def evidence_of(surface: TrackSurface, settings: RefineSettings) -> TrackSurface:
    """What the track's pictures alone say of its offset, with what was expected before (`refine.offset_*`) taken out.

    The stored N(o, s^2) is the product of N(m, s0^2), the expectation, and N(y, s_y^2): with k = 1 - s^2 / s0^2,
    y = m + (o - m) / k and s_y = s / sqrt k. Left in, the mean over many tracks would be drawn to m, however many.
    """
    mean, expected = settings.offset_mean_m, settings.offset_sigma_m
    share = np.clip(1 - (surface.sigma_m / expected) ** 2, LEAST_EVIDENCE, 1.0)
    return TrackSurface(
        offset_m=mean + (surface.offset_m - mean) / share, sigma_m=surface.sigma_m / np.sqrt(share)
    )


def people_offset(evidence: Mapping[str, TrackSurface], settings: RefineSettings) -> np.ndarray:
    """(V,) what all tracks together say of the offset at every vertex, metres: sum y / s^2 over sum 1 / s^2.

    The expectation of `settings` counts once among them: of a single track this is what was stored.
    """
    weight = np.full_like(next(iter(evidence.values())).sigma_m, settings.offset_sigma_m**-2.0)
    total = weight * settings.offset_mean_m
    for each in evidence.values():
        weight += each.sigma_m**-2.0
        total += each.offset_m * each.sigma_m**-2.0
    return np.asarray(total / weight)


def among_people(evidence: TrackSurface, people_m: np.ndarray, settings: DressedSettings) -> TrackSurface:
    """One track's offset, expected as that of all people, its contrast restored.

    N(o, s^2) is the product of N(y, s_y^2) and N(people, spread^2); then o becomes mean + contrast (o - mean).
    """
    precision = evidence.sigma_m**-2.0 + settings.spread_m**-2.0
    offset = (evidence.offset_m * evidence.sigma_m**-2.0 + people_m * settings.spread_m**-2.0) / precision
    return TrackSurface(offset_m=with_contrast(offset, settings), sigma_m=precision**-0.5)


def with_contrast(offset_m: np.ndarray, settings: DressedSettings) -> np.ndarray:
    """(V,) mean + contrast (o - mean): a field whose distance from its mean over the body counts so many times."""
    mean = offset_m.mean()
    return np.asarray(mean + settings.contrast * (offset_m - mean))


def mean_clothes(dataset: Dataset, dressing: DressedSettings | None = None) -> Clothes:
    """What the people of a dataset wear on the mean (`people_offset`, `with_contrast`), for `rendering.clothes`.

    Raises DatasetError where no track has a shape.
    """
    settings = settings_of(dataset)
    evidence = _evidence(dataset, settings)
    offset_m = with_contrast(people_offset(evidence, settings.refine), dressing or DressedSettings())
    return Clothes(offset_m=offset_m, body_sha256=body_digest(settings), tracks=len(evidence))


def dressed_depths(
    dataset: Dataset, dressing: DressedSettings | None = None
) -> Iterator[tuple[str, DressedDepth]]:
    """The id and the dressed depth of every sample of a refined track, in the dataset's order.

    All of it is in the tables: the body of `samples`, the offsets of `surfaces` (`evidence_of` each, `among_people`).
    Raises DatasetError where base depth is rendered from the dressed shape itself, which leaves nothing to learn, or
    where no track has a shape.
    """
    settings = settings_of(dataset)
    if settings.rendering.base_surface == "dressed":
        raise DatasetError(
            f"{dataset.name}: its base depth is that of the dressed shape already (rendering.base_surface).",
            remedy="Make the dataset with rendering.base_surface=body: then the difference can be learned.",
        )
    columns = ["sample_id", "track_id", "body_vector", "K"]
    evidence = _evidence(dataset, settings)
    people_m = people_offset(evidence, settings.refine)
    dressing, resources = dressing or DressedSettings(), Resources(settings)
    shapes = {track: among_people(each, people_m, dressing) for track, each in evidence.items()}
    for row in dataset.rows("samples", columns):
        shape = shapes.get(row["track_id"])
        if shape is not None:
            vector = row["body_vector"].astype(np.float64)
            depth = dressed_depth(vector, row["K"], shape, resources.body, resources.rasterizer)
            yield row["sample_id"], depth


def _evidence(dataset: Dataset, settings: Settings) -> dict[str, TrackSurface]:
    """What its pictures alone say of every track that has samples."""
    tracks = {row["track_id"] for row in dataset.rows("samples", ["track_id"])}
    surfaces = surfaces_of(dataset, tracks)
    if not surfaces:
        raise DatasetError(
            f"{dataset.name}: no track of a sample has a dressed shape.",
            remedy="Make the dataset with refine.mode=track, the default.",
        )
    return {track: evidence_of(surface, settings.refine) for track, surface in surfaces.items()}


def dressed_depth(
    vector: np.ndarray, K: np.ndarray, surface: TrackSurface, body: BodyModel, rasterizer: Rasterizer
) -> DressedDepth:
    """What a crop with intrinsics K (3, 3) at IMAGE_PX shows, at map size, of the body (85,) in a track's clothes.

    Depth is that of v + o n, o the offset and n the outward normal of the posed skin v; a pixel's standard deviation
    is sum w_i sigma_i over the corners of its face, w the barycentric weights.
    """
    camera = Camera(K, (IMAGE_PX, IMAGE_PX))
    skin = body_from_vector(vector, camera, body).vertices
    camera = camera.resized((MAP_PX, MAP_PX))
    raster = render(rasterizer, dressed(skin, surface.offset_m, body.faces), body.faces, camera)
    sigma = np.zeros(raster.hw)
    corners = body.faces[raster.face_id[raster.mask]]
    sigma[raster.mask] = (raster.barycentric[raster.mask] * surface.sigma_m[corners]).sum(axis=1)
    return DressedDepth(depth_m=raster.depth, sigma_m=sigma, K=camera.K)
