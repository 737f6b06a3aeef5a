"""Datasets of many small units: the rows of one real unit, under other ids, through the real sink.

`python -m tests.growth.many_units FOLDER --units 10000` makes one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.dataset.cuts import write_cuts
from pipeline.dataset.folder import prepare_folder
from pipeline.dataset.unit_sink import UnitSink
from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from schemas.tables import TABLES
from tests.support.fast_units import fast_resources, fast_settings, write_clips

MODEL = "model"
"""Id of the clip whose rows are copied; those of the others are as long, so that all units cost the same."""


@cache
def model_rows(samples: int) -> Mapping[str, list[dict[str, Any]]]:
    """The decoded rows of one real unit, by table: of its samples so many, and the pairs of these."""
    with tempfile.TemporaryDirectory(prefix="humandepth-model-") as folder:
        clips = clips_from_arguments([str(write_clips(Path(folder) / "clips", [MODEL]))])
        root = Path(folder) / "dataset"
        run(clips, str(root), fast_settings(), make_resources=fast_resources)
        dataset = Dataset.open(root)
        rows = {table: list(dataset.rows(table)) for table in TABLES if dataset.row_count(table)}
    rows["samples"] = rows["samples"][:samples]
    targets = {row["frame_index"] for row in rows["samples"]}
    rows["pairs"] = [row for row in rows["pairs"] if row["target_frame"] in targets]
    return rows


def write_units(root: str, numbers: Iterator[int] | range, *, samples: int = 1) -> None:
    """Finishes a unit for each number, as a run would: `samples` of the model's samples, and what belongs to them."""
    prepare_folder(root, fast_settings())
    for number in numbers:
        clip = f"c{number:06d}"
        write_cuts(root, clip, {"fingerprint": "fingerprint", "video": {}, "segments": []})
        with UnitSink(root, f"{clip}-s000-w000", "fingerprint") as sink:
            for table, rows in model_rows(samples).items():
                for row in rows:
                    sink.emit(table, renamed(row, clip))


def renamed(row: Mapping[str, Any], clip: str) -> dict[str, Any]:
    """A row of the model as a row of another clip, which is its own source."""
    return {
        name: value.replace(MODEL, clip) if isinstance(value, str) else value for name, value in row.items()
    }


def main() -> int:
    """Makes a dataset, or adds the units that it lacks."""
    parser = argparse.ArgumentParser(prog="python -m tests.growth.many_units", description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    write_units(options.folder, range(options.first, options.units))
    return 0


if __name__ == "__main__":
    sys.exit(main())
