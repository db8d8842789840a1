"""The PIN of the local user: a salted scrypt hash in a file of their own, and a lock after wrong guesses.

It keeps a program that runs as the same user from deciding by a command. It cannot keep such a program from
changing files of that user; a decider of their own user, or a key on another device, can.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airlock.errors import AirlockError, NotPermitted, UsageError
from airlock.state import state_dir

SHORTEST = 4
TRIES = 5
LOCK_SECONDS = 60
_COST = {"n": 2**15, "r": 8, "p": 1}
_MEMORY = 64 * 1024 * 1024


def place() -> Path:
    """The file of the PIN."""
    return state_dir() / "pin.json"


def is_set() -> bool:
    """True once a PIN was set for this user."""
    return os.path.lexists(place())


def set_pin(pin: str) -> None:
    """Set the PIN; UsageError when it is too short."""
    if len(pin) < SHORTEST:
        raise UsageError(f"a PIN has at least {SHORTEST} characters")
    salt = secrets.token_bytes(16)
    _write({"salt": salt.hex(), "hash": _hash(pin, salt).hex(), "wrong": 0, "locked_until": 0})


def clear() -> None:
    """Forget the PIN."""
    place().unlink(missing_ok=True)


def check(pin: str) -> None:
    """Return when the PIN is right; NotPermitted when it is wrong or locked after too many wrong ones."""
    with _locked():
        kept = _read()
        now = time.time()
        if now < kept["locked_until"]:
            left = int(kept["locked_until"] - now) + 1
            raise NotPermitted(f"the PIN is locked for {left}s after {TRIES} wrong ones")
        if hmac.compare_digest(_hash(pin, bytes.fromhex(kept["salt"])).hex(), kept["hash"]):
            if kept["wrong"]:
                _write({**kept, "wrong": 0})
            return
        wrong = kept["wrong"] + 1
        locked = now + LOCK_SECONDS if wrong % TRIES == 0 else 0
        _write({**kept, "wrong": wrong, "locked_until": locked})
    raise NotPermitted("the PIN is wrong")


def _hash(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.encode(), salt=salt, maxmem=_MEMORY, **_COST)


def _read() -> dict[str, Any]:
    try:
        kept = json.loads(place().read_text())
        bytes.fromhex(kept["salt"])
        return {**kept, "wrong": int(kept["wrong"]), "locked_until": float(kept["locked_until"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AirlockError(f"`{place()}` cannot be read: {error}") from None


def _write(kept: dict[str, Any]) -> None:
    fresh = place().with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        json.dump(kept, file)
    fresh.replace(place())


@contextmanager
def _locked() -> Iterator[None]:
    """One guess at a time, however many processes try: the count cannot be raced."""
    descriptor = os.open(place().with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
