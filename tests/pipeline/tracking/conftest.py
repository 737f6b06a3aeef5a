"""One frame of the demo clip and the real networks, read once."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.assets import asset_path
from pipeline.tracking.blazepose import PoseModels
from pipeline.video.decode import decode


@pytest.fixture(scope="session")
def pose_models() -> PoseModels:
    """The networks out of the cache (`make test` fetches them)."""
    return PoseModels()


@pytest.fixture(scope="session")
def demo_frame() -> np.ndarray:
    """(994, 1768, 3) a man facing the camera at the upper left, a woman walking in profile at the right."""
    image = next(decode(asset_path("demo.mp4"), start_s=2.59)).image
    image.flags.writeable = False
    return image
