"""Ids and short codes. A code is a handle that a person types, not a secret."""

from __future__ import annotations

import os
import secrets
import time

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Letters and digits that nobody mistakes for one another: no 0/O, 1/I/L."""


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def make_id() -> str:
    """128 random bits as 32 hex digits."""
    return os.urandom(16).hex()


def make_code(length: int = 6) -> str:
    """A random code of that many characters."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
