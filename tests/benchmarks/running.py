"""What Beam, a second worker, and the sink cost or gain over the same units."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.dataset.unit_sink import UnitSink
from pipeline.method.segment import process_segment
from pipeline.runner.driver import resolve, run
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from tests.benchmarks.measuring import Benchmark, UnavailableError
from tests.support.fast_units import fast_resources, fast_settings, write_clips

FEW, MANY = 4, 100
UNITS = f"seconds (not ms) for {MANY - FEW} more small units, so without start-up"
ROWS = 400


def benchmarks() -> list[Benchmark]:
    """Entries of build/benchmarks.json."""
    return [
        Benchmark(
            name="run_vs_plain_loop",
            detail=f"{UNITS}; ours: the Beam graph with isolated units; peer: a plain loop over the same functions",
            measure=lambda: (_more_units(_isolated), _more_units(_plain)),
        ),
        Benchmark(
            name="two_workers_vs_one",
            detail=f"{UNITS}; ours: --workers 2; peer: --workers 1",
            measure=lambda: (_more_units(_two_workers), _more_units(_isolated)),
        ),
        Benchmark(
            name="peak_rss_vs_write_to_parquet",
            detail=f"MB (not ms) of peak memory beyond the imports for {ROWS} samples of a MB; peer: WriteToParquet",
            measure=lambda: (_peak("ours"), _peak("peer")),
        ),
    ]


def _more_units(call) -> float:
    """Seconds that MANY units take beyond what FEW take."""
    seconds = []
    for count in (FEW, MANY):
        with tempfile.TemporaryDirectory() as folder:
            manifest = write_clips(Path(folder) / "clips", [f"clip-{at:03d}" for at in range(count)])
            clips = clips_from_arguments([str(manifest)])
            begin = time.perf_counter()
            call(clips, Path(folder) / "out")
            seconds.append(time.perf_counter() - begin)
    if seconds[1] < 1.2 * seconds[0]:
        raise UnavailableError(
            f"{MANY} units took {seconds[1]:.1f} s and {FEW} took {seconds[0]:.1f} s: the machine is too busy to tell"
        )
    return seconds[1] - seconds[0]


def _isolated(clips, out: Path) -> None:
    run(clips, str(out), fast_settings(), make_resources=fast_resources, isolated=True)


def _two_workers(clips, out: Path) -> None:
    run(clips, str(out), fast_settings(), make_resources=fast_resources, isolated=True, workers=2)


def _plain(clips, out: Path) -> None:
    settings = resolve(fast_settings())
    resources = fast_resources(settings)
    for clip in clips:
        for segment in segments_of(clip, settings.video):
            with UnitSink(str(out), segment.unit_id, "fingerprint") as sink:
                process_segment(segment, resources, sink.emit)


def _peak(which: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.running", which, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _write_rows(which: str, folder: str) -> None:
    """Child process: the same rows through one sink or the other; prints the MB they took beyond the imports."""
    import apache_beam as beam
    import numpy as np

    from pipeline.host.memory import peak_mb
    from schemas.tables import SAMPLES
    from tests.support.sample_rows import sample_row

    row = sample_row(0, references=1)
    row["image"] = np.random.default_rng(0).bytes(900_000)
    cells = SAMPLES.encode_row(row)
    before = peak_mb()
    if which == "ours":
        with UnitSink(folder, "unit", "fingerprint") as sink:
            for _ in range(ROWS):
                sink.emit("samples", {**row, "image": bytes(bytearray(row["image"]))})
    else:
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            _ = (
                pipeline
                | beam.Create(range(ROWS))
                | beam.Map(lambda _: {**cells, "image": bytes(bytearray(cells["image"]))})
                | beam.io.WriteToParquet(f"{folder}/rows", SAMPLES.arrow_schema())
            )
    print(max(1, peak_mb() - before))


if __name__ == "__main__":
    _write_rows(sys.argv[1], sys.argv[2])
