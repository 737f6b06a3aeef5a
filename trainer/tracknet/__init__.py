"""TrackNet: a body per picture, by a convolutional encoder and an iterative regressor (HMR, Kanazawa et al. 2018).

Every name below is imported when it is first used: most of them load torch.
"""

from typing import TYPE_CHECKING

from schemas.exports import on_demand

if TYPE_CHECKING:
    from trainer.tracknet.body import TorchBody
    from trainer.tracknet.checkpoint import TrackNetCheckpoint, load_tracknet
    from trainer.tracknet.config import TrackNetSettings, tracknet_preset
    from trainer.tracknet.model import Bodies, TrackNet
    from trainer.tracknet.train import fit_tracknet

__all__ = [
    "Bodies",
    "TorchBody",
    "TrackNet",
    "TrackNetCheckpoint",
    "TrackNetSettings",
    "fit_tracknet",
    "load_tracknet",
    "tracknet_preset",
]

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "trainer.tracknet.body": "TorchBody",
        "trainer.tracknet.checkpoint": "TrackNetCheckpoint load_tracknet",
        "trainer.tracknet.config": "TrackNetSettings tracknet_preset",
        "trainer.tracknet.model": "Bodies TrackNet",
        "trainer.tracknet.train": "fit_tracknet",
    },
)
