"""Which samples are hard or harmful: mean losses and gradient norms by source, track and pair statistics.

`report.parquet` in the checkpoint folder: one row per group, of all samples seen since the run was last started.
A source whose gradients stay large while its photo loss does not fall pulls the network where nothing fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data import SampleRef
from trainer.objective import Losses

REPORT_NAME = "report.parquet"
_SUMS = ("photo", "smooth", "reg", "gradient_norm")
_BANDS = 4
"""Groups of a statistic: quarters of the samples."""


class Report:
    """Sums by sample."""

    def __init__(self, refs: Sequence[SampleRef]) -> None:
        self._refs = list(refs)
        self._by_id = {ref.sample_id: at for at, ref in enumerate(self._refs)}
        self.sums = torch.zeros(len(self._refs), 1 + len(_SUMS), dtype=torch.float64)

    def add(self, sample_ids: Sequence[str], losses: Losses, gradient_norm: Tensor) -> None:
        """One batch; `gradient_norm` (B,) is |d L_sample / d offset|."""
        columns = [losses.photo, losses.smooth, losses.reg, gradient_norm]
        values = torch.stack([column.double().cpu() for column in columns], dim=1)
        for sample_id, numbers in zip(sample_ids, values, strict=True):
            self.sums[self._by_id[sample_id], 0] += 1
            self.sums[self._by_id[sample_id], 1:] += numbers

    def table(self, sums: Tensor) -> pa.Table:
        """by, group, low, high, samples, seen, and the means: of sums (samples, 5) like `self.sums`."""
        counts = sums.numpy()
        rows = []
        for by in ("source_id", "track_id"):
            names = np.array([getattr(ref, by) for ref in self._refs])
            rows += [_row(by, str(name), None, counts[names == name]) for name in np.unique(names)]
        for by in ("mean_baseline_m", "valid_fraction"):
            values = np.array([getattr(ref, by) for ref in self._refs], float)
            edges = np.unique(np.quantile(values, np.linspace(0, 1, _BANDS + 1)))
            band = np.searchsorted(edges[1:-1], values, side="right")
            for number in np.unique(band):
                inside = band == number
                limits = (float(values[inside].min()), float(values[inside].max()))
                rows.append(_row(by, f"{limits[0]:.3f}-{limits[1]:.3f}", limits, counts[inside]))
        return pa.Table.from_pylist(rows)

    def write(self, folder: Path, sums: Tensor) -> None:
        """Replaces the folder's report."""
        temporary = folder / f".{REPORT_NAME}.tmp"
        pq.write_table(self.table(sums), temporary, write_page_checksum=True)
        temporary.replace(folder / REPORT_NAME)


def _row(
    by: str, group: str, limits: tuple[float, float] | None, counts: NDArray[np.floating]
) -> dict[str, object]:
    seen = counts[:, 0].sum()
    means = counts[:, 1:].sum(axis=0) / max(seen, 1)
    low, high = limits or (None, None)
    facts = {"by": by, "group": group, "low": low, "high": high, "samples": len(counts), "seen": int(seen)}
    return facts | dict(zip(_SUMS, means.tolist()))
