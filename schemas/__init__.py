"""The contract between the pipeline that writes a dataset and the trainer that reads it.

    from schemas import Dataset, Selection, selected_references
    dataset = Dataset.open("dataset")
    wide = selected_references(dataset, Selection(name="wide", pairs="mean_baseline_m >= 0.8"))

Every name below is imported when it is first used.
"""

from typing import TYPE_CHECKING

from schemas.exports import on_demand

if TYPE_CHECKING:
    from schemas.dataset import Dataset
    from schemas.errors import CheckpointError, DatasetError, HumandepthError, SettingsError
    from schemas.motion import decode_motion
    from schemas.prediction import Placement, Prediction
    from schemas.selections import Selection, selected_references
    from schemas.settings import with_overrides
    from schemas.shard import read_rows
    from schemas.tables import CLIPS, FAILURES, FRAMES, PAIRS, SAMPLES, TABLES
    from schemas.truth import Truth

__version__ = "0.1.0"
"""Of humandepth: the same as in pyproject.toml."""

__all__ = [
    "CLIPS",
    "FAILURES",
    "FRAMES",
    "PAIRS",
    "SAMPLES",
    "TABLES",
    "CheckpointError",
    "Dataset",
    "DatasetError",
    "HumandepthError",
    "Placement",
    "Prediction",
    "Selection",
    "SettingsError",
    "Truth",
    "__version__",
    "decode_motion",
    "read_rows",
    "selected_references",
    "with_overrides",
]

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "schemas.dataset": "Dataset",
        "schemas.errors": "CheckpointError DatasetError HumandepthError SettingsError",
        "schemas.motion": "decode_motion",
        "schemas.prediction": "Placement Prediction",
        "schemas.selections": "Selection selected_references",
        "schemas.settings": "with_overrides",
        "schemas.shard": "read_rows",
        "schemas.tables": "CLIPS FAILURES FRAMES PAIRS SAMPLES TABLES",
        "schemas.truth": "Truth",
    },
)
