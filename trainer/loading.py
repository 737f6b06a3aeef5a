"""Batches in order, loaded by processes of their own while the network computes.

A batch comes back in an anonymous file of memory (memfd) whose descriptor is passed on: nothing is copied, and nothing
lies in /dev/shm, which holds 64 MB in a container unless it is started with more. torch's DataLoader puts every batch
there; when there is no room its worker's error is lost in a thread, and the training process waits for ever.
"""

from __future__ import annotations

import mmap
import os
import signal
import tempfile
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from multiprocessing import Pipe, Process, get_context, get_start_method
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

import torch
from torch import Tensor

from schemas.errors import HumandepthError
from trainer.batch import Batch, collate
from trainer.data import Samples
from trainer.stopping import Stopping

AHEAD = 2
"""Batches that each process is asked for before the first is taken."""
_ALIGNED_BYTES = 64
_END_S = 2.0

Places = list[tuple[int, int]]
"""(epoch, position) of each sample of a batch."""


class LoadingError(HumandepthError):
    """A loading process that died, or gave nothing within `data.time_limit_s`."""

    reason = "loading-failed"
    retryable = True


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where the tensors of a batch lie in its file."""

    tensors: tuple[tuple[str, torch.dtype, tuple[int, ...], int], ...]
    """Name, type, shape, first byte."""
    others: dict[str, Any]
    bytes: int


class Loader:
    """The batches of an order, by `workers` processes; 0 loads in this one. Used as a context and an iterator.

    Batch k is loaded by process k mod `workers`, so the order is that of the places. `next` raises LoadingError where
    a process has died or nothing has come within `time_limit_s`, and leaves at once when SIGTERM interrupts it.
    """

    def __init__(
        self,
        samples: Samples,
        order: Iterable[Places],
        *,
        workers: int,
        time_limit_s: float,
        stopping: Stopping,
    ) -> None:
        self._samples, self._order, self._stopping = samples, iter(order), stopping
        self._time_limit_s = time_limit_s
        self._workers = [_Worker(samples) for _ in range(workers)]
        self._asked: deque[tuple[_Worker, Places]] = deque()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.end()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if not self._workers:
            places = next(self._order)
            with self._stopping.limited(self._time_limit_s, str(self._too_slow("this process", places))):
                return collate([self._samples[place] for place in places])
        if not self._asked:
            for worker in self._workers * AHEAD:
                self._ask(worker)
        if not self._asked:
            raise StopIteration
        worker, places = self._asked.popleft()
        batch = self._receive(worker, places)
        self._ask(worker)
        return batch

    def _ask(self, worker: _Worker) -> None:
        places = next(self._order, None)
        if places is not None:
            worker.ask(places)
            self._asked.append((worker, places))

    def _receive(self, worker: _Worker, places: Places) -> Batch:
        try:
            if not worker.is_ready(self._time_limit_s):
                raise self._too_slow(f"loading process {worker.pid}", places)
            answer = worker.receive()
            if not worker.is_ready(self._time_limit_s):
                raise self._too_slow(f"loading process {worker.pid}", places)
            return _mapped(answer, worker.receive_file())
        except (EOFError, OSError) as error:
            raise LoadingError(
                f"loading process {worker.pid} {worker.cause_of_death()} at {self._named(places)}.",
                remedy="Give the machine more memory, use fewer data.workers, or load in the training process: "
                "data.workers=0.",
            ) from error

    def _too_slow(self, who: str, places: Places) -> LoadingError:
        return LoadingError(
            f"{who} has not loaded {self._named(places)} within {self._time_limit_s:g} s.",
            remedy="Check that disk or network, or allow more with data.time_limit_s.",
        )

    def _named(self, places: Places) -> str:
        ref = self._samples.refs[places[0][1]]
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        return f"sample {ref.sample_id} of {ref.path}{more}"


class _Worker:
    """One loading process, seen from the training process."""

    def __init__(self, samples: Samples) -> None:
        self._connection, theirs = Pipe()
        # Clients of buckets hold threads and locks, which do not survive a fork.
        start = get_context("spawn").Process if samples.is_remote else Process
        is_fork = not samples.is_remote and get_start_method() == "fork"
        self._process: BaseProcess = start(
            target=_load, args=(theirs, samples, self._connection if is_fork else None), daemon=True
        )
        # Until the process has said that SIGTERM is not for it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def ask(self, places: Places) -> None:
        with suppress(OSError):  # it has died, which is noticed when its answer is wanted
            self._connection.send(places)

    def is_ready(self, limit_s: float) -> bool:
        """Whether it has said something, or died, within the limit."""
        return bool(wait([self._connection, self._process.sentinel], limit_s))

    def receive(self) -> _Layout:
        if not self._connection.poll():  # only the sentinel was ready
            raise EOFError
        answer = self._connection.recv()
        if isinstance(answer, _Layout):
            return answer
        raise RuntimeError(f"in loading process {self.pid}:\n{answer}")

    def receive_file(self) -> int:
        if not self._connection.poll():
            raise EOFError
        return recv_handle(self._connection)

    def cause_of_death(self) -> str:
        self._process.join(_END_S)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"ended (exit code {code})"
        why = ", as the system does when memory runs out," if -code == signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{why}"

    def end(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.join(_END_S)
        if self._process.exitcode is not None:
            self._process.close()


def _load(pipe: Connection, samples: Samples, theirs: Connection | None) -> None:
    """Of a loading process: answers places with batches until the training process closes the pipe or is gone.

    SIGTERM is not for it: torchrun and clusters send it to every process at once, and the training process could not
    write its checkpoint if the loader died. Ctrl-C likewise.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if theirs is not None:
        theirs.close()  # a copy that the fork made: with it open the pipe's end would never be seen
    torch.set_num_threads(1)
    try:
        while True:
            places = pipe.recv()
            try:
                layout, file = _packed(collate([samples[place] for place in places]))
            except Exception:  # a bug: it belongs in the training process, with its traceback
                pipe.send(traceback.format_exc())
                return
            pipe.send(layout)
            send_handle(pipe, file, os.getppid())
            os.close(file)
    except (EOFError, OSError):
        return


def _packed(batch: Batch) -> tuple[_Layout, int]:
    """A batch in a file of memory: its layout and the file's descriptor."""
    tensors, at, others = [], 0, {}
    file = _memory_file()
    with os.fdopen(os.dup(file), "wb") as out:
        for name in (field.name for field in fields(Batch)):
            value = getattr(batch, name)
            if not isinstance(value, Tensor):
                others[name] = value
                continue
            at += out.write(bytes(-at % _ALIGNED_BYTES))
            tensors.append((name, value.dtype, tuple(value.shape), at))
            at += out.write(value.contiguous().numpy().data)
    return _Layout(tensors=tuple(tensors), others=others, bytes=at), file


def _mapped(layout: _Layout, file: int) -> Batch:
    """The batch in a file of memory, without a copy; the memory is freed with the last of its tensors."""
    with os.fdopen(file) as opened:
        memory = mmap.mmap(opened.fileno(), layout.bytes)
    tensors: dict[str, Any] = {}
    for name, dtype, shape, at in layout.tensors:
        count = torch.Size(shape).numel()
        if not count:  # no references: torch makes no tensor of an empty buffer
            tensors[name] = torch.empty(shape, dtype=dtype)
            continue
        tensors[name] = torch.frombuffer(memory, dtype=dtype, count=count, offset=at).reshape(shape)
    return Batch(**tensors, **layout.others)


def _memory_file() -> int:
    """A file without a name: in memory on Linux, whatever /dev/shm holds; elsewhere in the folder for such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("humandepth-batch")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
