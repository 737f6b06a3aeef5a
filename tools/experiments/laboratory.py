"""Prepares variants of the bodies in other processes and keeps what is in use on the device."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import torch
from material import ClipWork, Variant, prepare
from resident import Pictures, Resident

FILMS = "[!.]*.mp4"
"""Those whose names begin with a dot are not finished."""
TRAIN_STRIDE, HELD_STRIDE = 3, 9
"""Every so many frames one is a target."""


class Laboratory:
    """The samples of every part of every variant."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ.setdefault(name, "1")  # read by the processes that are started here
        self._films, self._scratch = Path(options.films), scratch
        self._limits = {
            "train": options.clips,
            "held": options.held_clips,
            "clean": options.held_clips,
            "sliding": options.held_clips,
            "tune": None,
        }
        self._train_stride = options.train_stride
        self.device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._pool = ProcessPoolExecutor(options.processes, mp_context=multiprocessing.get_context("spawn"))
        self._pending: dict[tuple[Variant, str], list[tuple[ClipWork, Future[int]]]] = {}
        self._pictures: dict[tuple[str, str], tuple[list[Path], Pictures]] = {}
        self._resident: dict[tuple[Variant, str], Resident] = {}

    def has(self, part: str) -> bool:
        """Whether there are films of a part."""
        return any((self._films / part).glob(FILMS))

    def order(self, variant: Variant, part: str) -> None:
        """Begins to prepare one part, `train`, `held`, `clean` or `sliding`, of a variant."""
        if (variant, part) in self._pending:
            return
        tracked = self._films / f"tracked-{part}"
        films = sorted((self._films / part).glob(FILMS))[: self._limits[part]]
        if variant.jitter is None:
            known = {path.name.partition("-s0")[0] for path in (tracked / "frames").glob("*.parquet")}
            films = [film for film in films if film.stem in known]
        works = [
            ClipWork(
                film=film,
                tracked=tracked if variant.jitter is None else None,
                variant=variant,
                target_stride=self._train_stride if part == "train" else HELD_STRIDE,
                with_truth=part != "train",
                out=self._scratch,
            )
            for film in films
        ]
        self._pending[variant, part] = [(work, self._pool.submit(prepare, work)) for work in works]

    def samples(self, variant: Variant, part: str) -> Resident:
        """The samples of a part of a variant, on the device; of each part one variant at a time is kept."""
        if (variant, part) not in self._resident:
            self.order(variant, part)
            for other in [key for key in self._resident if key[1] == part]:
                del self._resident[other]
            works = [work for work, done in self._pending[variant, part] if done.result()]
            pictures = self._pictures_of(works, variant, part)
            self._resident[variant, part] = Resident.load(
                works, pictures, self.device, variant.max_references
            )
        return self._resident[variant, part]

    def _pictures_of(self, works: list[ClipWork], variant: Variant, part: str) -> Pictures:
        key, paths = (variant.crops, part), [work.images_path for work in works]
        if key not in self._pictures or self._pictures[key][0] != paths:
            self._pictures[key] = (paths, Pictures.load(works, self.device))
        return self._pictures[key][1]

    def close(self) -> None:
        """Ends the processes."""
        self._pool.shutdown(cancel_futures=True)
