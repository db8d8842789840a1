"""How a log line reads: whose it is, how bad, and for a server's line which server."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airlock.errors import UsageError, why

_UPSTREAM = "airlock.upstream."

LONGEST = 128 * 1024
"""Characters of one message, or of one traceback; what servers write on one line is shorter."""


def _shown(text: str) -> str:
    """What agents and servers wrote shows every character, begins no line of its own, and has an end."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} ({len(text) - LONGEST:,} characters more)"
    if text.isascii() and text.isprintable():
        return text
    from airlock.visible import visible

    return "\n  ".join(visible(line) for line in text.split("\n"))


class Seldom(logging.Filter):
    """Lets a few lines from each place in the code through in a while, and tells how many it held back.

    For what somebody may cause as often as they like.
    """

    def __init__(
        self, most: int = 5, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[tuple[str, int], tuple[float, int]] = {}
        """Since when, and how many, by place."""

    def filter(self, record: logging.LogRecord) -> bool:
        place, now = (record.pathname, record.lineno), self._clock()
        since, count = self._seen.get(place, (now, 0))
        if now - since >= self._seconds:
            if count > self._most:
                record.msg, record.args = f"{record.getMessage()} ({count - self._most:,} more before)", ()
            since, count = now, 0
        self._seen[place] = since, count + 1
        return count < self._most


class Lines(logging.Formatter):
    """One line for people; what a server is about begins with its name in the config."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = _shown(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "  " + _shown(super().formatException(ei))

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not record.name.startswith(_UPSTREAM):
            return text
        before, level, rest = text.partition(record.levelname)
        mark = ": " if rest.startswith(": ") else " "
        return f"{before}{level}{mark}`{record.name.removeprefix(_UPSTREAM)}`: {rest.removeprefix(mark)}"


def log_to(file: Path | None, level: int) -> None:
    """Log to stderr, or to this file with the time; UsageError when it cannot be written."""
    try:
        if file is not None:  # readable by its user alone
            os.close(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))
        where = logging.FileHandler(file) if file is not None else logging.StreamHandler()
    except OSError as error:
        raise UsageError(f"cannot write the log file `{file}`: {why(error)}") from None
    stamp = "%(asctime)s " if file is not None else "airlock: "
    where.setFormatter(Lines(f"{stamp}%(levelname)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[where])
