"""Errors a user can act on. Everything else that goes wrong is a bug and keeps its traceback."""

from __future__ import annotations

from typing import Any

from schemas.escaping import shown


class HumandepthError(Exception):
    """An expected failure: what was wrong, with the value, and what to do about it.

    `reason` is a stable slug (it is stored in the `failures` table and counted), `retryable` says whether the same
    work can succeed when it is simply tried again, `exit_code` is what a command line ends with.
    """

    reason = "error"
    retryable = False
    exit_code = 1

    def __init__(self, message: str, *, remedy: str) -> None:
        # they quote names, and are stored and printed
        self.message, self.remedy = shown(message), shown(remedy)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"

    def __reduce__(self) -> tuple[Any, ...]:  # keeps the keyword when the error crosses a process boundary
        return (_rebuild, (type(self), self.message, self.remedy))


def _rebuild(kind: type[HumandepthError], message: str, remedy: str) -> HumandepthError:
    return kind(message, remedy=remedy)


class SettingsError(HumandepthError):
    """An unknown setting, a value of the wrong type, a combination that makes no sense."""

    reason = "bad-setting"
    exit_code = 2


class AssetError(HumandepthError):
    """A model, body file or clip that is missing, unreadable or not the file it should be."""

    reason = "bad-asset"


class SourceError(HumandepthError):
    """An input that cannot be reached: no such file, no permission, an id that is not allowed."""

    reason = "bad-source"


class DecodeError(HumandepthError):
    """A file that is there but is not a video we can decode: empty, truncated, no video stream."""

    reason = "undecodable"


class TimeLimitError(HumandepthError):
    """A unit that did not end within its time limit, for example because a decoder hangs."""

    reason = "timed-out"
    retryable = True


class CrashError(HumandepthError):
    """A unit whose process died: a native crash in a decoder or a driver, or the system was out of memory."""

    reason = "crashed"
    retryable = True


class NobodyFoundError(HumandepthError):
    """A clip that was read completely and in which no person could be tracked."""

    reason = "nobody-found"


class NothingKeptError(HumandepthError):
    """A clip, or a whole run, whose every frame or pair was filtered out."""

    reason = "nothing-kept"
    exit_code = 4


class DatasetError(HumandepthError):
    """A dataset folder that is missing, incomplete, of another version, or that fails its checks."""

    reason = "bad-dataset"


class EngineError(HumandepthError):
    """What should carry a run out is missing, cannot be reached, or failed as a whole."""

    reason = "engine"


class CheckpointError(HumandepthError):
    """A checkpoint that is missing, incomplete, or of another architecture."""

    reason = "bad-checkpoint"


class StorageError(Exception):
    """The place a dataset is written to is full, read-only or broken: no unit's fault, so it stops the whole run.

    Deliberately no HumandepthError: code that turns a unit's expected failures into rows must let it pass.
    """

    def __init__(self, message: str, *, remedy: str) -> None:
        self.message, self.remedy = shown(message), shown(remedy)
        super().__init__(f"{self.message} {self.remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_storage, (self.message, self.remedy))


def _rebuild_storage(message: str, remedy: str) -> StorageError:
    return StorageError(message, remedy=remedy)
