"""Results of `run.py` as the tables of docs/experiments-archive.md.

python tools/experiments/tables.py results.jsonl
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
METHODS = ("plane", "true body", "base", "refined")


def main(path: Path) -> int:
    """Prints every table for which there are results."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    probes = [entry for entry in entries if "probe" in entry]
    runs = [entry for entry in entries if "training" in entry]
    blocks = [probe_table(probes), clip_table(probes[0])] if probes else []
    if runs:
        blocks += [run_table(runs), spread_table(runs), standing_table(runs[0])]
        blocks += [
            by_table(runs[0], "mae_mm_by_part", "part"),
            by_table(runs[0], "mae_mm_by_pose", "movement"),
        ]
    print("\n\n".join(blocks))
    return 0


def probe_table(entries: Iterable[Entry]) -> str:
    """A line for each probe."""
    rows = [
        [
            entry["probe"],
            f"{entry['seen_base_mm']:.2f}",
            f"{entry['seen_found_mm']:.2f}",
            f"{100 * entry['seen_recovered']:+.0f} %",
            f"{entry['images']}",
            f"{entry['seconds']:.1f}",
        ]
        for entry in entries
    ]
    return _table(["probe", "base, seen", "optimised, seen", "recovered", "samples", "s"], rows)


def run_table(entries: Iterable[Entry]) -> str:
    """A line for each training run."""
    rows = []
    for entry in entries:
        base, refined = (entry["means"][name] for name in ("base", "refined"))
        name = entry["training"] + ("" if entry["is_whole"] else " (cut short)")
        rows.append(
            [
                name,
                f"{base['mae_mm']:.2f}",
                f"{refined['mae_mm']:.2f}",
                f"{100 * (1 - refined['mae_mm'] / base['mae_mm']):+.1f} %",
                f"{100 * entry['seen_recovered']:+.1f} %",
                f"{base['normals_deg']:.1f} -> {refined['normals_deg']:.1f}",
                f"{base['detail_mm']:.2f} -> {refined['detail_mm']:.2f}",
                f"{entry['steps']}",
                f"{entry['seconds']:.0f}",
            ]
        )
    names = "run|base|refined|recovered|recovered, seen|normals, degrees|detail, mm|steps|s"
    return _table(names.split("|"), rows)


def spread_table(entries: Iterable[Entry]) -> str:
    """Runs that differ by their seed alone: mean and standard deviation of what was recovered."""
    by_kind: dict[str, list[float]] = {}
    for entry in entries:
        kind, comma, _ = entry["training"].partition(", seed")
        if comma:
            share = 1 - entry["means"]["refined"]["mae_mm"] / entry["means"]["base"]["mae_mm"]
            by_kind.setdefault(kind, []).append(100 * share)
    rows = [
        [
            kind,
            f"{len(shares)}",
            f"{statistics.mean(shares):+.1f} %",
            f"{statistics.stdev(shares):.1f}" if len(shares) > 1 else "",
        ]
        for kind, shares in by_kind.items()
    ]
    return _table(["bodies", "seeds", "recovered, mean", "standard deviation"], rows)


def standing_table(entry: Entry) -> str:
    """All methods beside each other."""
    rows = [
        [
            name,
            f"{found['mae_mm'] / 10:.2f}",
            f"{found['rmse_mm'] / 10:.2f}",
            f"{found['normals_deg']:.1f}",
            f"{found['detail_mm']:.2f}",
            f"{100 * found['below_2cm']:.1f} %",
            f"{100 * found['below_5cm']:.1f} %",
        ]
        for name, found in entry["means"].items()
    ]
    return _table(
        [entry["training"], "MAE cm", "RMSE cm", "normals, degrees", "detail, mm", "< 2 cm", "< 5 cm"], rows
    )


def clip_table(entry: Entry) -> str:
    """Errors on seen pixels by film: some have clothes that move on their own."""
    by_clip: dict[str, list[tuple[float, float]]] = {}
    for name, (base, found) in entry["seen_by_image_mm"].items():
        if base == base:  # not NaN: a sample that no reference sees has no error
            by_clip.setdefault(name.partition("-s0")[0], []).append((base, found))
    rows = []
    for clip, found in sorted(by_clip.items()):
        base_mm, found_mm = (statistics.mean(values) for values in zip(*found))
        rows.append([clip, f"{base_mm:.2f}", f"{found_mm:.2f}", f"{100 * (1 - found_mm / base_mm):+.0f} %"])
    return _table([entry.get("training") or entry["probe"], "base, seen", "found, seen", "recovered"], rows)


def by_table(entry: Entry, key: str, what: str) -> str:
    """Mean absolute errors by part or by movement."""
    rows = [[name, *(f"{found[method]:.1f}" for method in METHODS)] for name, found in entry[key].items()]
    return _table([f"MAE mm by {what}", *METHODS], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
