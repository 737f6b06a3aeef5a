"""What refinement does to real clips, whose truth nobody knows: do several frames, warped to one, agree?

    python tools/refinement_on_films.py CLIP... --out agreement.jpg

For some targets of every person the references are warped by the base depth, with bodies as tracked and as refined,
over the pixels that are valid in all of them both ways. Printed: mean colour difference from the target, the sharpness
of the references' average (its mean gradient over the target's), and the misalignment that `pairs` stores. The picture
shows target, average as tracked, average as refined.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.config import PairSettings, Settings
from pipeline.geometry.motion import motion_field
from pipeline.geometry.rings import Rings
from pipeline.geometry.visibility import PairMaps, pair_maps
from pipeline.method.pairs import candidate_references
from pipeline.method.refined_tracks import refined_by_crops
from pipeline.method.rendered_frames import RenderedFrames
from pipeline.method.resources import Resources
from pipeline.method.segment import track_segment
from pipeline.method.verdicts import drop_reason
from pipeline.records import RenderedFrame, Track
from pipeline.refine.misalignment import misalignment
from pipeline.video.crops import crop_image, encode_jpeg
from pipeline.video.decode import decode
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments, local_path
from schemas.conventions import IMAGE_PX, MAP_PX

MIN_PIXELS = 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Warped:
    """The references of one target, by one version of the bodies. N of them."""

    colours: np.ndarray
    """(N, 256, 256, 3) at the target's pixels."""
    valid: np.ndarray
    """(256, 256) bool: in all of them."""
    misalignment_px: float
    """Median over the pairs; NaN where none can be told."""


def main(argv: list[str]) -> int:
    """Prints a line for each person and writes the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--targets", type=int, default=8, help="of every track (default 8)")
    options = parser.parse_args(argv)
    settings = Settings()
    resources, pictures = Resources(settings), []
    for clip in clips_from_arguments(options.clips, None):
        for segment in segments_of(clip, settings.video):
            for track in track_segment(segment, resources).tracks:
                jpegs = crops_of(track, local_path(segment.clip.uri), settings)
                refined = refined_by_crops(track, jpegs, resources)
                rows, picture = compared((track, refined), jpegs, resources, settings.pairs, options.targets)
                if picture is not None:
                    show(track, rows)
                    pictures.append(picture)
    if not pictures:
        print("no track has a target with references", file=sys.stderr)
        return 1
    cv2.imwrite(str(options.out), np.vstack(pictures)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    print(f"wrote {options.out}")
    return 0


def crops_of(track: Track, path: str, settings: Settings) -> dict[int, bytes]:
    """JPEG crops of the kept frames, as the pipeline stores them."""
    place = {int(track.frame_index[at]): int(at) for at in np.flatnonzero(track.kept)}
    return {
        frame.index: encode_jpeg(
            crop_image(frame.image, track.crop_px[place[frame.index]], IMAGE_PX), settings.pairs.jpeg_quality
        )
        for frame in decode(path)
        if frame.index in place
    }


def compared(
    tracks: tuple[Track, Track],
    jpegs: dict[int, bytes],
    resources: Resources,
    pairs: PairSettings,
    count: int,
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Figures (2 versions, 3) of up to `count` targets, and a picture of the one in the middle."""
    versions = [RenderedFrames(track, jpegs, resources) for track in tracks]
    kept = np.flatnonzero(tracks[0].kept)
    rows, pictures = [], []
    for target in map(
        int, kept[np.linspace(0, len(kept) - 1, count + 2).astype(int)[1:-1]] if len(kept) else ()
    ):
        references = chosen_references(versions[0], target, resources.rings, pairs)
        if len(references) < 2:
            continue
        found = [warped_to(target, references, frames, resources.rings, pairs) for frames in versions]
        valid = found[0].valid & found[1].valid
        if valid.sum() >= MIN_PIXELS:
            image = versions[0][target].picture / np.float32(255)
            rows.append(np.array([figures(image, each, valid) for each in found]))
            averages = [each.colours.mean(axis=0) for each in found]
            pictures.append(np.hstack([np.where(valid[..., None], each, 1) for each in (image, *averages)]))
    return rows, (255 * pictures[len(pictures) // 2]).astype(np.uint8) if pictures else None


def chosen_references(frames: RenderedFrames, target: int, rings: Rings, pairs: PairSettings) -> list[int]:
    """Places in the track of the pairs that pass every gate, at most `max_references`, nearest in time first."""
    track = frames.track
    candidates = candidate_references(track.pts_s, track.kept, target, pairs.candidate_gaps_s)
    candidates.sort(key=lambda at: abs(track.pts_s[at] - track.pts_s[target]))
    kept = []
    for at in candidates:
        maps = _maps(frames[target], frames[at], rings, pairs)
        if not drop_reason(maps.statistics, pairs):
            kept.append(at)
    return kept[: pairs.max_references]


def warped_to(
    target: int, references: list[int], frames: RenderedFrames, rings: Rings, pairs: PairSettings
) -> Warped:
    """The references at the target's pixels, by the base depth and one version of the bodies."""
    colours, valid, misaligned = [], np.ones((MAP_PX, MAP_PX), bool), []
    frame = frames[target]
    for at in references:
        reference = frames[at]
        maps = _maps(frame, reference, rings, pairs)
        valid &= maps.valid
        source = np.nan_to_num(maps.warp_px).astype(np.float32) - np.float32(0.5)
        picture = reference.picture / np.float32(255)
        colours.append(cv2.remap(picture, source[..., 0], source[..., 1], cv2.INTER_LINEAR))
        found = misalignment(maps, target=frame, reference=reference).misalignment_px
        misaligned.append(np.nan if found is None else found)
    known = np.array(misaligned)[np.isfinite(misaligned)]
    return Warped(
        colours=np.array(colours),
        valid=valid,
        misalignment_px=float(np.median(known)) if len(known) else np.nan,
    )


def figures(target: np.ndarray, found: Warped, valid: np.ndarray) -> tuple[float, float, float]:
    """Mean colour difference, sharpness of the average over the target's, misalignment."""
    difference = np.abs(found.colours - target)[:, valid].mean()
    return (
        difference,
        _sharpness(found.colours.mean(axis=0), valid) / _sharpness(target, valid),
        found.misalignment_px,
    )


def show(track: Track, rows: list[np.ndarray]) -> None:
    """A line for each version."""
    means = np.nanmean(rows, axis=0)
    for name, (difference, sharpness, apart) in zip(("tracked", "refined"), means):
        print(
            f"{track.track_id} {name}: {len(rows)} targets, colour difference {difference:.4f}, "
            f"sharpness {sharpness:.2f}, misalignment {apart:.2f} px"
        )


def _maps(target: RenderedFrame, reference: RenderedFrame, rings: Rings, pairs: PairSettings) -> PairMaps:
    return pair_maps(
        motion_field(target=target.surface, reference=reference.surface, rings=rings),
        target=target.surface,
        reference=reference.surface,
        depth_tolerance_m=pairs.depth_tolerance_m,
        min_pixel_baseline_m=pairs.min_pixel_baseline_m,
    )


def _sharpness(image: np.ndarray, valid: np.ndarray) -> float:
    """Mean length of the grey picture's gradient over pixels whose neighbours are valid too."""
    inner = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    down, across = np.gradient(image.mean(axis=2))
    return float(np.hypot(down, across)[inner].mean())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
