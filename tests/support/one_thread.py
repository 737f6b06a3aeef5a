"""Imported before anything that loads numpy: one thread in every library, unless the environment says otherwise."""

from __future__ import annotations

import os

for _name, _count in {
    "OMP_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
    "NUMBA_NUM_THREADS": 1,
    "LP_NUM_THREADS": 0,  # Mesa draws in the calling thread
}.items():
    os.environ.setdefault(_name, str(_count))
