"""Video clips in; bodies, motion fields, depth and validity maps out, as Parquet."""

from pipeline.host.kernel_cache import (
    KERNELS_ARE_CACHED as KERNELS_ARE_CACHED,  # before anything imports numba
)
from schemas import __version__ as __version__
