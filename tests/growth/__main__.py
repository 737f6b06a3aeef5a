"""`python -m tests.growth [--units 100 1000 10000]`: what reading, checking and changing a dataset costs by its units.

Makes datasets of so many small units, once as a run leaves them (small files put together) and once with the files that
each unit wrote, does every operation in a process of its own, prints the table and writes build/growth.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.config import preset
from pipeline.dataset.card import publish_documents
from pipeline.dataset.run_packing import packing
from pipeline.dataset.settling import settle
from tests.growth.many_units import write_units
from tests.growth.operations import CHANGING, OPERATIONS

OUTPUT = Path(__file__).parents[2] / "build" / "growth.json"
STATES = ("packed", "loose")


def main() -> int:
    """Prints the table; 0 if nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.growth", description=__doc__)
    parser.add_argument("--units", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument(
        "--folder", type=Path, help="keep the datasets here, and use those that are here already"
    )
    parser.add_argument("--states", nargs="+", choices=STATES, default=STATES)
    parser.add_argument("--only", nargs="+", choices=list(OPERATIONS), default=list(OPERATIONS))
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="humandepth-growth-") as folder:
        for units in options.units:
            for state in options.states:
                root = made(options.folder or Path(folder), units, state)
                for name in options.only:
                    found.append({"units": units, "state": state} | measured(name, root))
                    print(line(found[-1]), flush=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def made(folder: Path, units: int, state: str) -> Path:
    """A dataset in a state; made unless it is there."""
    loose, root = folder / f"loose-{units}", folder / f"{state}-{units}"
    if not loose.exists():
        write_units(str(loose), range(units))
        publish_documents(str(loose))
    if not root.exists():  # as at the end of a run that finished all of them
        shutil.copytree(loose, root)
        with packing(str(root), preset("paper").run.pack_every_units):
            pass
        settle(str(root))
        publish_documents(str(root))
    return root


def measured(name: str, root: Path) -> dict[str, Any]:
    """One operation; where it changes the dataset, on a copy that shares its files: none is ever changed in place."""
    target = root
    if name in CHANGING:
        target = root.with_name("work")
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-al", str(root), str(target)], check=True)
    command = [sys.executable, "-m", "tests.growth.operations", name, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    values: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return values


def line(values: dict[str, Any]) -> str:
    """A row of the table."""
    return (
        f"{values['units']:7d} units {values['state']:7s} {values['name']:10s} {values['cpu_s']:8.2f} s CPU "
        f"{values['wall_s']:8.2f} s {values['peak_mb']:6.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
