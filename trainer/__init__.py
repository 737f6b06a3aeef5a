"""Learns from a dataset alone how the real surface of people differs from a body model, and predicts their depth.

    from trainer import fit, preset
    fit("dataset", "checkpoint", preset("small"))

Every name below is imported when it is first used: most of them load torch.
"""

from typing import TYPE_CHECKING

from schemas import __version__
from schemas.exports import on_demand

if TYPE_CHECKING:
    from trainer.batch import Batch, collate
    from trainer.checkpoint import Checkpoint, load_checkpoint
    from trainer.config import Settings, preset
    from trainer.data import SampleRef, Samples, read_index, split
    from trainer.metrics import DepthErrors, depth_errors
    from trainer.model import ReconNet
    from trainer.objective import Losses, Validation, losses_of, validate, warped_references
    from trainer.predictor import Predictor
    from trainer.subject import Subject, subjects_of_dataset
    from trainer.train import fit

__all__ = [
    "Batch",
    "Checkpoint",
    "DepthErrors",
    "Losses",
    "Predictor",
    "ReconNet",
    "SampleRef",
    "Samples",
    "Settings",
    "Subject",
    "Validation",
    "__version__",
    "collate",
    "depth_errors",
    "fit",
    "load_checkpoint",
    "losses_of",
    "preset",
    "read_index",
    "split",
    "subjects_of_dataset",
    "validate",
    "warped_references",
]

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "trainer.batch": "Batch collate",
        "trainer.checkpoint": "Checkpoint load_checkpoint",
        "trainer.config": "Settings preset",
        "trainer.data": "SampleRef Samples read_index split",
        "trainer.metrics": "DepthErrors depth_errors",
        "trainer.model": "ReconNet",
        "trainer.objective": "Losses Validation losses_of validate warped_references",
        "trainer.predictor": "Predictor",
        "trainer.subject": "Subject subjects_of_dataset",
        "trainer.train": "fit",
    },
)
