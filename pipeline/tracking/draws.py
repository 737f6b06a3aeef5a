"""The random draws of a fit: those of torch's generator, bit for bit, without torch (2.5 s and 180 MB of a process)."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.array_types import Floats
from pipeline.tracking.articulated_body import ArticulatedBody

_WORDS = 624
_MULTIPLIER = 1812433253


class Draws:
    """A Mersenne twister with the seed of `torch.manual_seed`, read as torch reads it (32 bits at a time)."""

    def __init__(self, seed: int) -> None:
        key = [seed % 2**32]
        for at in range(1, _WORDS):
            key.append((_MULTIPLIER * (key[-1] ^ (key[-1] >> 30)) + at) % 2**32)
        self._bits = np.random.MT19937(0)
        self._bits.state = {
            "bit_generator": "MT19937",
            "state": {"key": np.array(key, np.uint32), "pos": _WORDS},
        }

    def permutation(self, count: int) -> np.ndarray:
        """The numbers below count in random order: `torch.randperm` (Fisher and Yates from the front)."""
        order = np.arange(count)
        steps = self._bits.random_raw(max(count - 1, 0)) % np.arange(count, 1, -1, dtype=np.uint64)
        for at, step in enumerate(steps.tolist()):
            order[at], order[at + step] = order[at + step], order[at]
        return order

    def without_replacement(self, chance: Floats, count: int) -> np.ndarray:
        """(count,) increasing places of chance (N,), each as likely as it says: `torch.multinomial`, sorted.

        The largest of chance over exponential numbers -log(1 - u), u the last 53 of 64 bits, the first word high.
        """
        words = self._bits.random_raw(2 * len(chance)).astype(np.uint64)
        long = (words[0::2] << np.uint64(32)) | words[1::2]
        uniform = (long & np.uint64(2**53 - 1)) * 2.0**-53
        with np.errstate(divide="ignore", invalid="ignore"):
            rank = np.asarray(chance / -np.log1p(-uniform))
        return np.sort(np.argsort(-rank, kind="stable")[:count])


def spread_vertices(body: ArticulatedBody, count: int, draws: Draws) -> np.ndarray:
    """Indices of vertices drawn without replacement, each with the surface area around it as its chance.

    Head and hands hold more than half of the vertices and a tenth of the skin.
    """
    corners = body.template[body.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    around = np.bincount(body.faces.ravel(), np.repeat(area, 3), minlength=len(body.template)).astype(
        np.float64
    )
    count = min(count, int((around > 0).sum()))
    return draws.without_replacement(around, count)
