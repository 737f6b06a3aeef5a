"""A manifest shared by several runs: which clips fall to which of them, and what each left when it was done.

    meta/shards/0-of-3.json    what came of shard 0/3 of the clips; there only once it is finished

A clip falls to shard `first 8 bytes of SHA-256(clip_id), big-endian, modulo N`: the same for every order of the
manifest, every machine and every version.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.dataset.storage import publish_text
from pipeline.records import ClipRef
from schemas.documents import read_document
from schemas.errors import SettingsError

SHARDS_PATH = "meta/shards"
_NOTE = re.compile(r"(\d{1,9})-of-(\d{1,9})")
_PREFIX = "SLURM_ARRAY_TASK_"
_HOW = "Give --shard I/N with I from 0 to N - 1, for example --shard 0/3."


@dataclass(frozen=True, kw_only=True)
class ClipShard:
    """Shard `index` of `count` of the clips. Raises SettingsError where there is no such shard."""

    index: int
    """From 0."""
    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SettingsError(f"shard {self}: clips cannot be split into {self.count} shards.", remedy=_HOW)
        if not 0 <= self.index < self.count:
            raise SettingsError(
                f"shard {self}: {self.count} shards are numbered from 0 to {self.count - 1}.", remedy=_HOW
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def name(self) -> str:
        """As part of a file's name."""
        return f"{self.index}-of-{self.count}"

    def holds(self, clip_id: str) -> bool:
        """Whether a clip falls to this shard."""
        digest = hashlib.sha256(clip_id.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def clips(self, clips: Iterable[ClipRef]) -> list[ClipRef]:
        """Those of the clips that fall to this shard, in their order."""
        return [clip for clip in clips if self.holds(clip.clip_id)]


def shard_from_text(text: str) -> ClipShard:
    """The shard that `I/N` names. Raises SettingsError."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if found is None:
        raise SettingsError(f"--shard {text!r} is not of the form I/N.", remedy=_HOW)
    return ClipShard(index=int(found[1]), count=int(found[2]))


def shard_from_slurm(environment: Mapping[str, str]) -> ClipShard | None:
    """The shard of a task of a Slurm array, by its SLURM_ARRAY_TASK_* variables; None outside of an array.

    Raises SettingsError where the ids do not run from 0 in equal steps: such an array may be a part of a larger one,
    submitted again, whose shards are others.
    """
    if f"{_PREFIX}ID" not in environment:
        return None
    task, count, first, last, step = (
        _slurm_number(environment, name, default)
        for name, default in (("ID", None), ("COUNT", None), ("MIN", 0), ("MAX", None), ("STEP", 1))
    )
    whole = f"Submit --array=0-{count - 1}, or give --shard I/N."
    if first != 0:
        raise SettingsError(
            f"{_PREFIX}MIN is {first}: task ids must start at 0, because shard I/N counts from 0.",
            remedy=whole,
        )
    if step < 1 or last != (count - 1) * step or task % step or not 0 <= task <= last:
        raise SettingsError(
            f"{_PREFIX}ID {task} of {_PREFIX}COUNT {count}: task ids 0 to {last} in steps of {step} have gaps.",
            remedy=whole,
        )
    return ClipShard(index=task // step, count=count)


def _slurm_number(environment: Mapping[str, str], name: str, default: int | None) -> int:
    text = environment.get(_PREFIX + name, "" if default is None else str(default))
    if re.fullmatch(r"\d{1,9}", text, re.ASCII) is None:
        raise SettingsError(
            f"{_PREFIX}{name} is {text!r}, expected a whole number, since {_PREFIX}ID is set.",
            remedy="Give --shard I/N; 0/1 takes all clips.",
        )
    return int(text)


def forget_shard_notes(root: str, shard: ClipShard | None) -> None:
    """Removes what says that a shard is finished, as its run begins; of all shards where a run is of all clips."""
    pattern = "*.json" if shard is None else f"{shard.name}.json"
    for path in (Path(root) / SHARDS_PATH).glob(pattern):
        path.unlink(missing_ok=True)


def write_shard_note(root: str, shard: ClipShard, clips: int, summary: Mapping[str, Any]) -> None:
    """Says that a shard is finished: how many clips fell to it, and the facts of its run's summary."""
    facts = {"index": shard.index, "count": shard.count, "clips": clips, "summary": summary}
    publish_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", root, f"{SHARDS_PATH}/{shard.name}.json")


def finished_shards(root: str | Path) -> list[ClipShard]:
    """The shards whose runs into a local dataset are finished."""
    names = (_NOTE.fullmatch(path.stem) for path in sorted((Path(root) / SHARDS_PATH).glob("*.json")))
    return [ClipShard(index=int(name[1]), count=int(name[2])) for name in names if name is not None]


def shard_summaries(root: str, count: int) -> list[dict[str, Any]]:
    """The facts of the summaries of the finished shards of `count`. Raises DatasetError for a damaged note."""
    paths = sorted((Path(root) / SHARDS_PATH).glob(f"*-of-{count}.json"))
    notes = [
        read_document(path, remedy="Delete it and run that shard again: that writes it.") for path in paths
    ]
    return [dict(note.get("summary") or {}) for note in notes]


def missing_shards(finished: Sequence[ClipShard]) -> list[ClipShard]:
    """What is missing of a set of shards; nothing where none is known, or where the shards of one count are all there.

    Of several incomplete counts, the one with the fewest missing is meant.
    """
    missing = []
    for count in sorted({shard.count for shard in finished}):
        there = {shard.index for shard in finished if shard.count == count}
        missing.append([ClipShard(index=at, count=count) for at in range(count) if at not in there])
    return min(missing, key=len, default=[])
