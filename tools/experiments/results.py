"""Results: scored in a process of their own, one JSON line each, written as soon as it is known."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from resident import Resident
from scoring import score
from torch import Tensor

from schemas.conventions import VALID_ALL
from trainer.evaluate import BASE, PLANE, REFINED


class Results:
    """Scores results in a process of their own and writes a line as soon as one is done."""

    def __init__(self, path: str, device: torch.device, begin_s: float) -> None:
        self._path, self._device, self._begin_s = path, _device_name(device), begin_s
        self._pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
        self._lock = threading.Lock()

    def add(self, facts: Mapping[str, Any], samples: Resident, positions: list[int], offsets: Tensor) -> None:
        """Offsets (len(positions), 1, 256, 256) of samples with truths."""
        base = samples.base_depth[positions].cpu().numpy()
        found = np.where(base > 0, base + offsets[:, 0].float().cpu().numpy(), 0)
        seen = (samples.validity[positions].amax(dim=1) == VALID_ALL).cpu().numpy()
        on_body = offsets[:, 0].float().cpu().numpy()[base > 0]
        facts = dict(facts) | {"offset_mean_mm": _mm(on_body.mean()), "offset_sd_mm": _mm(on_body.std())}
        entry = facts | {"at_s": round(time.monotonic() - self._begin_s, 1), "device": self._device}
        names = [samples.sample_ids[at] for at in positions]
        truths = [samples.truths[at] for at in positions]
        scored = self._pool.submit(score, names, truths, base, found, seen)
        scored.add_done_callback(lambda done: self._write(entry | done.result()))

    def _write(self, entry: dict[str, Any]) -> None:
        with self._lock, open(self._path, "a") as out:
            out.write(json.dumps(entry) + "\n")
            print(_line(entry), flush=True)

    def close(self) -> None:
        """Waits for what is still being scored."""
        self._pool.shutdown()


def _mm(metres: float) -> float:
    return round(1000 * float(metres), 2)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _line(entry: dict[str, Any]) -> str:
    found = entry["means"]
    return (
        f"{entry['at_s']:6.0f} s  {entry.get('training') or 'probe: ' + entry['probe']:34s} "
        f"{entry['steps']:5d} steps {entry['seconds']:6.1f} s  MAE mm: plane {found[PLANE]['mae_mm']:.1f} "
        f"base {found[BASE]['mae_mm']:.2f} refined {found[REFINED]['mae_mm']:.2f} "
        f"({100 * (1 - found[REFINED]['mae_mm'] / found[BASE]['mae_mm']):+.1f} %), "
        f"seen {entry['seen_base_mm']:.2f} -> {entry['seen_found_mm']:.2f} ({100 * entry['seen_recovered']:+.1f} %), "
        f"offset {entry['offset_mean_mm']:.0f} +- {entry['offset_sd_mm']:.0f}"
    )
