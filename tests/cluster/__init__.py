"""The same dataset by every way of carrying a run out: `make cluster` prints the table (`tests/cluster/__main__.py`).

A way is a module with `run_dataset(clips, folder)`: it makes the dataset of those clip files, at the default settings,
somewhere below `folder`, and returns where. What keeps it from running here it says by raising `Unavailable`.
"""

from __future__ import annotations


class Unavailable(Exception):
    """A way cannot be gone on this machine: what is missing, and how to get it."""
