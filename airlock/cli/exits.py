"""Exit codes: one table from what went wrong to what the shell sees."""

from __future__ import annotations

from enum import IntEnum

from airlock.errors import (
    AirlockError,
    AlreadySettled,
    ConfigError,
    NoSuchRequest,
    NotPermitted,
    StoreError,
    UsageError,
)


class Exit(IntEnum):
    """What each exit code means."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    DENIED = 3
    NOT_PERMITTED = 4
    NO_SUCH_REQUEST = 5
    SETTLED = 6
    OUT_OF_REACH = 7
    FOUND_WRONG = 8
    INTERRUPTED = 130
    PIPE_CLOSED = 141


_TABLE: tuple[tuple[type[AirlockError], Exit], ...] = (
    (ConfigError, Exit.USAGE),
    (UsageError, Exit.USAGE),
    (NotPermitted, Exit.NOT_PERMITTED),
    (NoSuchRequest, Exit.NO_SUCH_REQUEST),
    (AlreadySettled, Exit.SETTLED),
    (StoreError, Exit.OUT_OF_REACH),
)


def exit_of(error: AirlockError) -> Exit:
    """The exit code for an error that Airlock raised on purpose."""
    return next((code for kind, code in _TABLE if isinstance(error, kind)), Exit.INTERNAL)
