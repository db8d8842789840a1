"""How a log line reads: whose it is, how bad, and for a server's line which server."""

from __future__ import annotations

import logging
from pathlib import Path

from airlock.errors import UsageError

_UPSTREAM = "airlock.upstream."


class Lines(logging.Formatter):
    """One line for people; what a server is about begins with its name in the config."""

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
        where = logging.FileHandler(file) if file is not None else logging.StreamHandler()
    except OSError as error:
        raise UsageError(f"cannot write the log file `{file}`: {(error.strerror or '').lower()}") from None
    stamp = "%(asctime)s " if file is not None else "airlock: "
    where.setFormatter(Lines(f"{stamp}%(levelname)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[where])
