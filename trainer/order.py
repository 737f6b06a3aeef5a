"""The order in which a run sees samples: a function of (seed, step), the same for any number of workers and processes.

Position p of the global order is filled in two steps: which dataset p belongs to (`Mix`), and which of its samples
comes next (a new permutation each epoch). Step s takes the positions [s n, (s + 1) n), n = samples a step; of these,
process r of R takes its share in order, so R processes see what one with R times the batch sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def epoch_order(count: int, seed: int, epoch: int, dataset: int = 0) -> NDArray[np.int64]:
    """(count,) the order in which an epoch visits the samples of a dataset."""
    return np.random.default_rng([seed, epoch, dataset]).permutation(count)


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Several datasets in fixed shares."""

    counts: tuple[int, ...]
    """Samples of each dataset."""
    weights: tuple[float, ...]
    """Share of each, any scale."""

    @classmethod
    def of(cls, counts: Sequence[int], weights: Sequence[float] = ()) -> Mix:
        """By weights, or by the numbers of samples where none are given."""
        return cls(counts=tuple(counts), weights=tuple(weights or map(float, counts)))

    def place(self, position: int) -> tuple[int, int]:
        """(dataset, how many of its samples came before) of a position: of any p, each dataset holds its share +-1.

        The first dataset owns p where floor((p + 1) w) > floor(p w), w its share; what is left over goes to the others
        in the same way. Positions are exact below 2^53 w.
        """
        left = float(sum(self.weights))
        for dataset, weight in enumerate(self.weights[:-1]):
            share = weight / left
            before = int(position * share)
            if int((position + 1) * share) > before:
                return dataset, before
            position, left = position - before, left - weight
        return len(self.weights) - 1, position


class BatchOrder:
    """Batches of (epoch, sample) pairs from any step on; what a DataLoader takes as `batch_sampler`.

    Samples are numbered through the datasets in their order. A step is `batches_per_step` batches for each of
    `processes` processes; this one is number `process`.
    """

    def __init__(
        self,
        mix: Mix,
        batch_size: int,
        seed: int,
        *,
        first_step: int,
        last_step: int,
        batches_per_step: int = 1,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self._mix, self._batch_size, self._seed = mix, batch_size, seed
        self._firsts = np.concatenate([[0], np.cumsum(mix.counts)])
        self._turns = range(first_step * batches_per_step, last_step * batches_per_step)
        self._process, self._processes = process, processes

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        orders: dict[int, tuple[int, NDArray[np.int64]]] = {}
        for turn in self._turns:
            first = (turn * self._processes + self._process) * self._batch_size
            batch = []
            for position in range(first, first + self._batch_size):
                dataset, before = self._mix.place(position)
                epoch, at = divmod(before, self._mix.counts[dataset])
                if orders.get(dataset, (-1,))[0] != epoch:
                    orders[dataset] = (
                        epoch,
                        epoch_order(self._mix.counts[dataset], self._seed, epoch, dataset),
                    )
                batch.append((epoch, int(self._firsts[dataset] + orders[dataset][1][at])))
            yield batch

    def __len__(self) -> int:
        return len(self._turns)
