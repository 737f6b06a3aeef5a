"""Short names for the arrays that compiled kernels take: NDArray[dtype] says the type, the docstring the shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reals = NDArray[np.floating[Any]]
"""Of a kernel that is compiled for float32 too."""
Singles = NDArray[np.float32]
Indices = NDArray[np.int32]
Integers = NDArray[np.int64]
Shorts = NDArray[np.int16]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Vector = tuple[float, float, float]
"""A point or ray in registers."""
