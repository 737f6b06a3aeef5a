"""What of the libraries' logs is shown: errors. Our own warnings are, as plain lines."""

from __future__ import annotations

import logging

from schemas.errors import StorageError
from schemas.escaping import shown


class _OneLine(logging.Formatter):
    """The message alone, with the names in it made harmless; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return shown(super().formatMessage(record))


def quieten_libraries() -> None:
    """Libraries' warnings are not shown (Beam has one at import that nobody can act on); ours are, as plain lines."""
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("apache_beam.runners.common").addFilter(is_news)
    ours = logging.getLogger("pipeline")
    if not ours.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_OneLine("%(message)s"))
        ours.addHandler(handler)
        ours.setLevel(logging.WARNING)
        ours.propagate = False


def only_errors_on_stderr() -> None:
    """Gives the root logger a handler for errors, before any library makes one that tells everything."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)
    handler.addFilter(is_news)
    logging.getLogger().addHandler(handler)


def is_news(record: logging.LogRecord) -> bool:
    """False for an error that the driver says in a line of its own: a disk that cannot be written."""
    error = record.exc_info[1] if record.exc_info else None
    while error is not None:
        if isinstance(error, StorageError):
            return False
        error = error.__cause__ or error.__context__
    return True
