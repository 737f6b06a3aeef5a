"""Video clips in; bodies, motion fields, depth and validity maps out, as Parquet."""

from pipeline.host.process_start import (
    LOADING_BEGAN_S as LOADING_BEGAN_S,  # before anything else is loaded
)
from schemas import __version__ as __version__
