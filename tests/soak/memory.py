"""`python -m tests.soak.memory [--quick] [--only WORD]`: peak memory of a worker, by a film's size, rate and length.

Films are made from the demo clip, played to and fro; each is cut, tracked, refined and rendered into a dataset in a
process of its own, as a worker does it, with gates open so that every frame is kept. Fits, steps and targets are few:
they cost time and no memory. Writes build/memory.json; 0 only if no process took more than MAX_MB, and neither five
minutes of film took a tenth more than 20 seconds, nor many frames of an empty room a tenth more than few.

`--quick` leaves out what takes minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.assets import asset_path
from pipeline.config import Settings
from pipeline.host.memory import peak_mb
from pipeline.records import ClipRef
from pipeline.runner import units
from pipeline.video.decode import decode
from schemas.settings import with_overrides
from tests.support.clips import Paint, even_times, write_clip

OUTPUT = Path(__file__).parents[2] / "build" / "memory.json"
PROCESSES = 2
"""At a time: what one takes does not depend on the other."""
MAX_MB = 1000
MAX_GROWTH = 1.1
UNIT_S = 20.0
TWO_PEOPLE_S, ONE_PERSON_S = (1.6, 4.2), (0.8, 4.2)
"""Pieces of the demo clip in which they are in full view all the time."""
ONE_PERSON_PX = (490, 20, 760, 500)
"""Left, top, right, bottom of the man, as a phone held upright would show him."""
ENCODER = {"preset": "ultrafast", "crf": "20", "x264-params": "ref=4:bframes=2:mbtree=0"}
"""As many pictures in the decoder as phones and the defaults of encoders ask for."""
OPEN_GATES = (
    "gates.min_detector_score=0",
    "gates.max_reprojection_error=1e9",
    "gates.min_silhouette_iou=0",
    "gates.min_border_distance_px=-1e9",
    "gates.max_overlap=1",
)
FEW_STEPS = ("tracking.iterations=[10,20]", "refine.iterations=2", "pairs.target_stride=30")


@dataclass(frozen=True, kw_only=True)
class Film:
    """One kind of film."""

    name: str
    hw: tuple[int, int]
    fps: float
    seconds: float
    is_portrait: bool = False
    """One person who fills the picture; else two in a wide one."""
    rotation_deg: float | None = None
    """Stored lying, and turned upright by its metadata."""
    is_long: bool = False

    def write(self, path: Path) -> None:
        """Makes it."""
        window_s = ONE_PERSON_S if self.is_portrait else TWO_PEOPLE_S
        box = ONE_PERSON_PX if self.is_portrait else None
        paint = to_and_fro(self.hw, min(self.fps, 30.0), window_s, box)
        if self.rotation_deg is not None:
            upright = paint
            paint = lambda number: np.ascontiguousarray(np.rot90(upright(number), -1))  # noqa: E731
        times_s = even_times(round(self.seconds * self.fps), self.fps)
        write_clip(path, paint, times_s, key_every=60, rotation_deg=self.rotation_deg, options=ENCODER)


@dataclass(frozen=True, kw_only=True)
class EmptyRoom:
    """A camera that stands still, and nobody comes."""

    name: str
    frames: int
    is_long: bool = False

    def write(self, path: Path) -> None:
        """Makes it."""
        still = cv2.resize(np.random.default_rng(6666).integers(60, 190, (6, 8, 3), np.uint8), (64, 48))
        write_clip(path, lambda number: still, even_times(self.frames), key_every=250)


FILMS: tuple[Film | EmptyRoom, ...] = (
    Film(name="640x360, 10 fps, 20 s", hw=(360, 640), fps=10, seconds=UNIT_S),
    Film(name="640x360, 30 fps, 20 s", hw=(360, 640), fps=30, seconds=UNIT_S, is_long=True),
    Film(name="1920x1080, 30 fps, 10 s", hw=(1080, 1920), fps=30, seconds=UNIT_S / 2),
    Film(name="1080x1920, 30 fps, 10 s", hw=(1920, 1080), fps=30, seconds=UNIT_S / 2, is_portrait=True),
    Film(
        name="1080x1920 by rotation, 30 fps, 20 s",
        hw=(1920, 1080),
        fps=30,
        seconds=UNIT_S,
        is_portrait=True,
        rotation_deg=90,
        is_long=True,
    ),
    Film(
        name="1080x1920, 60 fps, 20 s",
        hw=(1920, 1080),
        fps=60,
        seconds=UNIT_S,
        is_portrait=True,
        is_long=True,
    ),
    Film(name="3840x2160, 30 fps, 3 s", hw=(2160, 3840), fps=30, seconds=3),
    Film(
        name="2160x3840 by rotation, 30 fps, 3 s",
        hw=(3840, 2160),
        fps=30,
        seconds=3,
        is_portrait=True,
        rotation_deg=90,
    ),
    Film(name="640x360, 10 fps, 5 minutes", hw=(360, 640), fps=10, seconds=300, is_long=True),
    EmptyRoom(name="1000 frames of an empty room", frames=1000),
    EmptyRoom(name="20000 frames of an empty room", frames=20_000, is_long=True),
)
GROWTHS = (
    ("640x360, 10 fps, 20 s", "640x360, 10 fps, 5 minutes"),
    ("1000 frames of an empty room", "20000 frames of an empty room"),
)


def main() -> int:
    """Measures every film; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.memory", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the long films")
    parser.add_argument("--only", default="", help="films with this word in their name")
    parser.add_argument(
        "--clip", type=Path, help="measure this film in this process (what the command itself calls)"
    )
    options = parser.parse_args()
    if options.clip is not None:
        print(json.dumps(processed(options.clip)))
        return 0
    found: dict[str, dict[str, float]] = {}
    films = [film for film in FILMS if options.only in film.name and not (options.quick and film.is_long)]
    if not films:
        parser.error(f"no film has {options.only!r} in its name: {', '.join(film.name for film in FILMS)}")
    with ThreadPoolExecutor(PROCESSES) as pool:
        for film, figures in zip(films, pool.map(measured, films), strict=True):
            found[film.name] = figures
            shown = (f"{key} {value:.0f}" for key, value in figures.items())
            print(film.name.ljust(36), *shown, flush=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(found, indent=1) + "\n")
    worst = max(found, key=lambda name: found[name]["peak_mb"])
    print(f"worst: {worst}, {found[worst]['peak_mb']:.0f} MB of {MAX_MB} MB")
    growths = [
        found[many]["peak_mb"] / found[few]["peak_mb"]
        for few, many in GROWTHS
        if few in found and many in found
    ]
    print("by length:", *(f"{growth:.2f}" for growth in growths))
    return 0 if found[worst]["peak_mb"] <= MAX_MB and max(growths, default=0) <= MAX_GROWTH else 1


def measured(film: Film | EmptyRoom) -> dict[str, float]:
    """`processed` in a fresh process."""
    with tempfile.TemporaryDirectory(prefix="humandepth-memory-") as folder:
        clip = Path(folder) / "clip.mp4"
        film.write(clip)
        command = [sys.executable, "-m", "tests.soak.memory", "--clip", str(clip)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def processed(path: Path) -> dict[str, float]:
    """Cuts a film and works on all its units: what one worker does with it."""
    begin_s = time.monotonic()
    settings = with_overrides(Settings(), [*OPEN_GATES, *FEW_STEPS, "rendering.rasterizer=compiled"])
    tracked_mb = samples = frames = people = 0
    with tempfile.TemporaryDirectory(prefix="humandepth-memory-") as root:
        work = units.UnitWork(settings=settings, root=root)
        cut = units.cut_clip(work, ClipRef(clip_id="clip", uri=str(path), source_id="clip"))
        for segment in cut.todo:
            tracked, spent = units.track_unit(work, segment)
            tracked_mb = tracked_mb or spent.peak_mb
            counts, _ = units.render_unit(work, tracked)
            frames, people, samples = (
                frames + tracked.frames_read, people + counts.tracks, samples + counts.samples
            )  # fmt: skip
    return {
        "peak_mb": peak_mb(),
        "tracked_mb": tracked_mb,
        "units": len(cut.todo),
        "frames": frames,
        "tracks": people,
        "samples": samples,
        "seconds": time.monotonic() - begin_s,
    }


def to_and_fro(
    hw: tuple[int, int], fps: float, window_s: tuple[float, float], box_px: tuple[int, int, int, int] | None
) -> Paint:
    """A piece of the demo clip forwards and backwards for ever, in another size: nobody ever jumps."""
    left, top, right, bottom = box_px or (0, 0, None, None)
    frames = decode(asset_path("demo.mp4"), start_s=window_s[0], end_s=window_s[1], sample_fps=fps)
    once = [frame.image[top:bottom, left:right].copy() for frame in frames]
    there_and_back = [*once, *once[-2:0:-1]]
    way = cv2.INTER_AREA if hw[0] < len(once[0]) else cv2.INTER_LINEAR
    return lambda number: cv2.resize(
        there_and_back[number % len(there_and_back)], (hw[1], hw[0]), interpolation=way
    )


if __name__ == "__main__":
    sys.exit(main())
