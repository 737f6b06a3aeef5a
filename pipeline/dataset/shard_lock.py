"""Several runs on one dataset folder at a time, each of another shard of the clips."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Self

from pipeline.dataset.clip_shards import SHARDS_PATH, ClipShard
from pipeline.dataset.folder_lock import (
    LOCK_PATH,
    SHARED_LOCK_PATH,
    WAIT,
    HolderFile,
    RunLock,
    holder_of,
    locked,
    opened,
    refusal,
)
from schemas.errors import DatasetError

_LOOK_EVERY_S = 0.2
_PATIENCE_S = 1800.0
"""How long a shard waits for another one that writes the documents of their dataset."""


class ShardLock(RunLock):
    """Holds one shard of a folder while used as a context, beside runs of other shards of the same dataset.

    It begins alone where no other shard is at work: the folder can then be put in order. `share` lets the others in;
    `regain` has the folder for itself again, if no other shard is at work.
    """

    def __init__(self, root: str | Path, shard: ClipShard) -> None:
        super().__init__(root)
        self._holder = HolderFile(root, f"{SHARDS_PATH}/{shard.name}.lock")
        self.alone = False

    def __enter__(self) -> Self:
        self._holder.take()
        try:
            self._shared = opened(self._root / SHARED_LOCK_PATH, create=True)
            if not self.regain():
                self.share()
            self._refuse_whole_run()
        except BaseException:
            self.release()
            raise
        return self

    def share(self) -> None:
        """Waits until nobody has the folder for himself. Raises DatasetError for a whole run, or after a long time."""
        self.alone = False
        begin_s = time.monotonic()
        while not locked(self._shared, fcntl.LOCK_SH):
            self._refuse_whole_run()
            if time.monotonic() - begin_s > _PATIENCE_S:
                raise DatasetError(
                    f"{self._root} has been put in order by another shard for {_PATIENCE_S / 60:.0f} minutes.",
                    remedy="Run this shard again once that one is done.",
                )
            time.sleep(_LOOK_EVERY_S)

    def regain(self) -> bool:
        """Whether no other shard is at work: then none begins before `share` or the end."""
        self.alone = locked(self._shared, fcntl.LOCK_EX)
        return self.alone

    def _refuse_whole_run(self) -> None:
        descriptor = opened(self._root / LOCK_PATH, create=False)
        if descriptor < 0:
            return
        try:
            if not locked(descriptor, fcntl.LOCK_SH):
                raise refusal(self._root, holder_of(descriptor), WAIT)
        finally:
            os.close(descriptor)
