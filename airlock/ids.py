"""Ids and short codes. A code is a handle that a person types, not a secret."""

from __future__ import annotations

import os
import secrets
import time

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Letters and digits that nobody mistakes for one another: no 0/O, 1/I/L."""

_ID_BYTES = 16
_IDS_AT_ONCE = 128
_ids: list[str] = []
os.register_at_fork(after_in_child=_ids.clear)  # else parent and child would give out the same ones


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def make_id() -> str:
    """128 random bits as 32 hex digits."""
    try:
        return _ids.pop()  # in one step, so that two threads never get the same one
    except IndexError:
        first, *rest = os.urandom(_ID_BYTES * _IDS_AT_ONCE).hex(" ", _ID_BYTES).split()
        _ids.extend(rest)
        return first


def make_code(length: int = 6) -> str:
    """A random code of that many characters."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
