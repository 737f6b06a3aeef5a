"""Another program's results to bodies in the neutral format: what `body convert` does with its arguments."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.foreign.film import Film, Results
from pipeline.foreign.formats import FORMATS, UNREADABLE, Format, known_formats
from pipeline.foreign.mapping import from_mapping
from pipeline.foreign.result_files import program_folder, read_result, single_file
from pipeline.foreign.rows import at_rate, without_betas
from pipeline.records import VideoFacts
from pipeline.video.decode import probe
from schemas.errors import SettingsError, SourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A file or folder of results, and what they do not say."""

    result: Path
    format: str
    film: Path | None = None
    image: str | None = None
    """WIDTHxHEIGHT, where there is no film."""
    focal_px: float | None = None
    fps: float | None = None
    mapping: Path | None = None
    drop_betas: bool = False

    def __post_init__(self) -> None:
        if self.format in UNREADABLE:
            why, remedy = UNREADABLE[self.format]
            raise SettingsError(why, remedy=remedy)
        if self.format not in known_formats():
            raise SettingsError(
                f"--format {self.format} is not known.", remedy=f"Give one of {', '.join(known_formats())}."
            )
        if self.format == "mapping" and self.mapping is None:
            raise SettingsError("--format mapping needs a mapping.", remedy="Give --mapping FILE.")
        if self.format != "mapping" and self.mapping is not None:
            raise SettingsError(
                f"--format {self.format} and --mapping {self.mapping} cannot be combined.",
                remedy="Leave --mapping out, or give --format mapping.",
            )
        for name, value in (("--focal-px", self.focal_px), ("--fps", self.fps)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SettingsError(f"{name} cannot be {value}.", remedy="Give a number above 0.")

    @property
    def size(self) -> tuple[int, int] | None:
        """(h, w) of `image`. Raises SettingsError."""
        if self.image is None:
            return None
        width, _, height = self.image.partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            raise SettingsError(
                f"--image cannot be {self.image!r}.", remedy="Write WIDTHxHEIGHT, for example 1920x1080."
            )
        return int(height), int(width)


def converted(conversion: Conversion) -> Results:
    """The bodies, and what a user should know of them. Raises SourceError, SettingsError, DecodeError."""
    size = conversion.size
    facts = probe(conversion.film) if conversion.film is not None else None
    if facts is not None:
        if size not in (None, (facts.height_px, facts.width_px)):
            raise SettingsError(
                f"--image is {conversion.image}, but {conversion.film} has {facts.width_px}x{facts.height_px} pixels.",
                remedy="Leave --image out.",
            )
        size = (facts.height_px, facts.width_px)
    film = Film(hw=size, focal_px=conversion.focal_px, name=conversion.result.name)
    results = _read(conversion, film)
    notes = list(results.notes)
    if facts is not None:
        notes += _count_notes(results, facts, conversion.fps)
    bodies = results.bodies
    if conversion.fps is not None:
        bodies = at_rate(bodies, conversion.fps)
    if conversion.drop_betas:
        bodies = without_betas(bodies)
    elif bodies.shape_space == "smplx":
        notes.append("these betas need an SMPL-X body as body.file; for any other add --drop-betas")
    return replace(results, bodies=bodies, notes=tuple(notes))


def _read(conversion: Conversion, film: Film) -> Results:
    known = FORMATS.get(conversion.format, Format(read=_unused))
    path = single_file(program_folder(conversion.result, known.inner), known.single)
    contents = read_result(path, known.unneeded, known.files)
    try:
        if conversion.mapping is not None:
            return from_mapping(contents, json.loads(conversion.mapping.read_text()), film)
        return known.read(contents, film)
    except (KeyError, ValueError, IndexError, TypeError, AttributeError, OSError) as error:
        said = error.args[0] if isinstance(error, KeyError | ValueError) and error.args else repr(error)
        raise SourceError(
            f"{conversion.result} is not laid out as {conversion.format} results are: {said}.",
            remedy="Check --format, or name the arrays in a --mapping.",
        ) from error


def _unused(contents: Any, film: Film) -> Results:
    raise AssertionError("a mapping is read with its own file")


def _count_notes(results: Results, facts: VideoFacts, fps: float | None) -> list[str]:
    """Whether the results' frames can be the film's."""
    index = results.bodies.frame_index
    if index is None:
        return []
    film_frames = round(facts.mean_fps * facts.duration_s)
    seen = int(index.max()) + 1
    frames = results.frame_count if results.frame_count is not None else seen
    film = f"the film {film_frames} at {facts.mean_fps:.2f} a second"
    if fps is not None:
        length = frames / fps
        is_longer = length > facts.duration_s + 1 / fps
        return [
            f"the results last {length:.2f} s at --fps {fps:g}, the film {facts.duration_s:.2f} s"
        ] * is_longer
    if frames == film_frames or (results.frame_count is None and frames < film_frames):
        return []
    likely = frames / facts.duration_s
    return [
        f"the results have {frames} frames, {film}: where they were made at another rate, add --fps (all of the "
        f"film's length would be --fps {likely:.2f})"
    ]
