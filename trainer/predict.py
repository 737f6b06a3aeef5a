"""Base depth of people in photos and videos.

The only place where the trainer meets the pipeline: a photo's base depth comes from
`pipeline.method.picture_bodies`, imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schemas.errors import HumandepthError, NobodyFoundError, SourceError
from schemas.prediction import Placement, prediction_path
from schemas.recipe import Recipe
from trainer.photo_file import FOREIGN_SUFFIXES, PHOTO_SUFFIXES, foreign_photo, read_photo
from trainer.subject import Subject

if TYPE_CHECKING:
    from pipeline.method.picture_bodies import PhotoBody, PictureBodies

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
Warn = Callable[[str], None]


def unheard(line: str) -> None:
    """A `Warn` that says nothing."""


def picture_bodies(
    recipe: Recipe | None = None,
    *,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    allow_mismatch: bool = False,
    warn: Warn = unheard,
) -> PictureBodies:
    """What finds bodies in pictures, by the recipe of the dataset that a network was trained on.

    `preset` (of the pipeline) replaces the recipe, `overrides` change single settings; `warn` hears of every setting
    that is not as it was in training. Raises SettingsError where a body or network file is missing or another one.
    """
    from pipeline.method.picture_bodies import PictureBodies
    from pipeline.method.prediction_settings import prediction_settings

    return PictureBodies(
        prediction_settings(
            recipe, preset_name=preset, overrides=overrides, allow_mismatch=allow_mismatch, warn=warn
        )
    )


def subjects_of_files(
    paths: Sequence[str],
    bodies: PictureBodies,
    focal_px: float | None = None,
    *,
    every: int = 1,
    warn: Warn = unheard,
) -> Iterator[Subject]:
    """Every person in photos, in videos (every `every`-th usable frame), and in the photos and videos of folders.

    A single file that cannot be used raises SourceError, DecodeError or NobodyFoundError; of several, those that cannot
    are named to `warn`, and the first error is raised when none can.
    """
    files = list(dict.fromkeys(file for path in paths for file in _files_in(Path(path), warn)))
    names = _Names(files)
    errors: list[HumandepthError] = []
    for file in files:
        try:
            if file.suffix.lower() in VIDEO_SUFFIXES:
                found = _subjects_of_video(file, names, bodies, focal_px, every)
            else:
                found = _subjects_of_photo(file, names, bodies, focal_px)
            for subject in found:
                if subject.input_depth.any() and subject.base_depth.any():
                    yield subject
                else:
                    warn(f"left out: {file}: {subject.name}: the body lies outside of its crop.")
        except HumandepthError as error:
            errors.append(error)
            if len(files) > 1:
                warn(f"left out: {error}")
    if errors and len(errors) == len(files):
        raise errors[0]
    if errors:
        warn(f"{len(errors)} of {len(files)} files were left out")


class _Names:
    """Names of predictions that stay apart as files: of two photos of one name the second is called by its folder."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._stems = [file.stem for file in files]
        self._taken: set[Path] = set()

    def of_file(self, file: Path) -> str:
        return file.stem if self._stems.count(file.stem) == 1 else "-".join(file.parts[-2:])

    def unique(self, name: str) -> str:
        """The name, or with a number behind it where another already has it."""
        found, number = name, 1
        while prediction_path(Path(), found) in self._taken:
            number += 1
            found = f"{name}-{number}"
        self._taken.add(prediction_path(Path(), found))
        return found


def _files_in(path: Path, warn: Warn) -> list[Path]:
    if not path.is_dir():
        return [path]
    known = (*PHOTO_SUFFIXES, *VIDEO_SUFFIXES)
    found = sorted(file for file in path.rglob("*") if file.is_file())
    files = [file for file in found if file.suffix.lower() in known]
    for file in found:
        if file.suffix.lower() in FOREIGN_SUFFIXES:
            warn(f"left out: {foreign_photo(file)}")
    if not files:
        raise SourceError(f"{path} holds no photo and no video.", remedy=f"Known are {', '.join(known)}.")
    return files


def _subjects_of_photo(
    path: Path, names: _Names, finder: PictureBodies, focal_px: float | None
) -> Iterator[Subject]:
    picture = read_photo(path)
    try:
        bodies = finder.of_photo(picture, focal_px=focal_px, name=path.stem)
    except NobodyFoundError as error:
        raise NobodyFoundError(f"{path}: {error.message}", remedy=error.remedy) from error
    name = names.of_file(path)
    picture_name = names.unique(f"full/{name}")
    for number, body in enumerate(bodies):
        person = names.unique(name + (f"-{number}" if len(bodies) > 1 else ""))
        yield _subject(person, body, path.name, picture_name.removeprefix("full/"), picture)


def _subjects_of_video(
    path: Path, names: _Names, finder: PictureBodies, focal_px: float | None, every: int
) -> Iterator[Subject]:
    for place, body in finder.of_video(str(path), focal_px=focal_px, every=every):
        unit, person, frame = place.rsplit("/", 2)
        window = unit.partition("-s")[2]
        name = names.of_file(path)
        yield _subject(
            names.unique(f"{name}/{person}/{frame}"), body, path.name, f"{name}/{window}/{frame}", None
        )


def _subject(
    name: str, body: PhotoBody, file_name: str, picture_name: str, picture: NDArray[np.uint8] | None
) -> Subject:
    placement = Placement(
        picture=file_name,
        picture_hw=body.picture_hw,
        crop_px=body.crop_px,
        box_px=body.box_px,
        frame_index=body.frame_index,
        pts_s=body.pts_s,
    )
    return Subject(
        name=name,
        image=np.divide(body.image, 255, dtype=np.float32),
        K=body.K,
        input_depth=body.input_depth,
        base_depth=body.base_depth,
        placement=placement,
        picture_name=picture_name,
        picture=picture,
    )
