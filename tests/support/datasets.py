"""Small datasets on disk, written through the real sink."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.dataset.storage import publish_text
from pipeline.dataset.unit_sink import UnitSink
from schemas.dataset import INFO_PATH, dataset_info


def write_dataset(root: Path, rows: Iterable[Mapping[str, Any]], *, per_unit: int = 8) -> Path:
    """A dataset whose `samples` are these rows, `per_unit` to a shard."""
    publish_text(json.dumps(dataset_info(), indent=1) + "\n", str(root), INFO_PATH)
    kept = list(rows)
    for unit, first in enumerate(range(0, len(kept), per_unit)):
        with UnitSink(str(root), f"unit-{unit:03d}", "fingerprint") as sink:
            for row in kept[first : first + per_unit]:
                sink.emit("samples", row)
    return root
