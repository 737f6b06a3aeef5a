"""`python -m tests.cluster.first_unit [ROWS]`: how soon the first unit of a long manifest is finished, and its driver.

Every row is the same tiny film under another id, and units are those of `tests/support/fast_units.py`: what is measured
is what stands before a unit. Run it twice: the first time may compile kernels.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.fast_units import fast_command, write_clips, write_rows

ROWS = 100_000
LIMIT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class FirstUnit:
    """What was seen when the first completion record stood."""

    rows: int
    seconds: float
    clips_cut: int
    driver_cpu_s: float
    driver_peak_mb: int


def measure(folder: Path, rows: int, workers: int = 2) -> FirstUnit:
    """Starts a run of so many clips and stops it once it has finished a unit."""
    write_clips(folder, ["film"])
    lines = [
        {"clip_id": f"clip-{at:06d}", "source_id": f"source-{at}", "uri": str(folder / "film.mp4")}
        for at in range(rows)
    ]
    manifest, out = write_rows(folder / "many.csv", lines), folder / "dataset"
    begin_s = time.monotonic()
    command = fast_command("run", manifest, "--out", out, "--workers", str(workers))
    with open(folder / "log", "w") as log:
        driver = subprocess.Popen(command, stderr=log)
    try:
        while not any(out.glob("meta/records/*.json")):
            assert driver.poll() is None, (folder / "log").read_text()
            assert time.monotonic() - begin_s < LIMIT_S, "no unit is finished"
            time.sleep(0.1)
        stat = Path(f"/proc/{driver.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{driver.pid}/status").read_text()
        return FirstUnit(
            rows=rows,
            seconds=time.monotonic() - begin_s,
            clips_cut=sum(1 for _ in out.glob("meta/cuts/*.json")),
            driver_cpu_s=(int(stat[11]) + int(stat[12])) / 100,
            driver_peak_mb=int(status.partition("VmHWM:")[2].split()[0]) // 1024,
        )
    finally:
        driver.terminate()
        driver.wait()


def main(arguments: list[str]) -> None:
    """Measures and prints a line for one clip a worker and one for the long manifest."""
    for rows in (2, int(arguments[0]) if arguments else ROWS):
        with tempfile.TemporaryDirectory(prefix="hd-first-") as folder:
            found = measure(Path(folder), rows)
        print(
            f"{found.rows} clips: the first unit after {found.seconds:.1f} s, when {found.clips_cut} were cut; "
            f"driver: {found.driver_cpu_s:.1f} s of CPU, {found.driver_peak_mb} MB",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
