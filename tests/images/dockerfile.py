"""A Dockerfile as the few instructions that ours use."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

CONTINUED = re.compile(r"\\\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction: `RUN` and what follows it, in one line."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The text as a shell would split it."""
        return shlex.split(self.text)


def read_dockerfile(path: Path) -> list[Instruction]:
    """The instructions of a Dockerfile in their order, without comments."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found = []
    for line in CONTINUED.sub(" ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, text = line.strip().partition(" ")
            found.append(Instruction(name=name.upper(), text=" ".join(text.split())))
    return found


def commands(instruction: Instruction) -> list[str]:
    """The commands of a RUN, parted at `&&`."""
    return [part.strip() for part in instruction.text.split("&&")]
