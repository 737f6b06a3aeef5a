"""The whole chain on the demo clip: dataset, audit, training, prediction, page. What `make demo` runs.

python tools/demo.py build/demo          FIT_MINUTES=3 in the environment sets the training time
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from pipeline.assets import asset_path

CLIP_ID = "demo"


def main(folder: Path) -> int:
    """Runs every step, stops at the first that fails, and ends by saying what was made and how long it took."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset, checkpoint, predictions = folder / "dataset", folder / "checkpoint", folder / "predictions"
    page, report, figures = folder / "demo.html", folder / "audit.html", folder / "audit.json"
    shutil.rmtree(checkpoint, ignore_errors=True)
    shutil.rmtree(predictions, ignore_errors=True)
    minutes = float(os.environ.get("FIT_MINUTES", "3"))
    steps: list[tuple[str, list[str]]] = [
        ("dataset", ["pipeline", "run", str(write_manifest(folder)), "--out", str(dataset)]),
        ("audit", ["pipeline", "audit", str(dataset), "--out", str(report), "--json", str(figures)]),
        ("training", ["trainer", "fit", str(dataset), "--out", str(checkpoint), *fit_arguments(minutes)]),
        ("prediction", ["trainer", "predict", "--dataset", str(dataset), "--per-track", "3",
                        "--checkpoint", str(checkpoint), "--out", str(predictions)]),
        ("page", ["pipeline", "gallery", str(dataset), "--predictions", str(predictions), "--out", str(page)]),
    ]  # fmt: skip
    seconds: dict[str, float] = {}
    for name, command in steps:
        print(f"\n== {name}: python -m {' '.join(command)}", flush=True)
        start = time.monotonic()
        code = subprocess.run([sys.executable, "-m", *command]).returncode
        seconds[name] = time.monotonic() - start
        if code:
            print(f"error: the step {name!r} ended with exit code {code}.", file=sys.stderr)
            return code
    print("\nMade:")
    for what, path in (
        ("dataset", dataset),
        ("audit", report),
        ("audit figures", figures),
        ("checkpoint", checkpoint),
        ("predictions", predictions),
        ("page", page),
    ):
        print(f"  {what:14s} {path}")
    print("Took: " + ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items()))
    print(f"Open {page} in a browser.")
    return 0


def write_manifest(folder: Path) -> Path:
    """The demo's manifest: one clip with its source and licence."""
    path = folder / "clips.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip_id", "source_id", "uri", "licence"])
        writer.writerow([CLIP_ID, "sports2d-demo", asset_path("demo.mp4"), "BSD-3-Clause (Sports2D)"])
    return path


def fit_arguments(minutes: float) -> list[str]:
    """The small preset for a few minutes; one of the three tracks is held out."""
    return ["--preset", "small", "--set", f"train.max_minutes={minutes}", "--set", "data.split_by=track"]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo")))
