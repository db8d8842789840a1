"""The PIN of the local user: a salted scrypt hash in a file of their own, and a lock after wrong guesses.

It keeps a program that runs as the same user from deciding by a command. It cannot keep such a program from
changing files of that user; a decider of their own user, or a key on another device, can.

It lies in the home directory that the system's list of users names: no variable leads around it. Where
`AIRLOCK_STATE_DIR` is set it is set there, and asked for wherever that variable says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import pwd
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airlock.errors import AirlockError, NotPermitted, UsageError
from airlock.home.private import private_folder, state_path
from airlock.home.state import state_dir

SHORTEST = 4
TRIES = 5
LOCK_SECONDS = 60
LONGEST_LOCK = 3600
"""Each lock is twice as long as the one before, up to this."""

_COST = {"n": 2**15, "r": 8, "p": 1}
_MEMORY = 64 * 1024 * 1024


_FILE = "pin.json"


def _of_account() -> Path | None:
    """The state directory of this user as the system knows them; None for a user it does not know."""
    try:
        return state_path({"HOME": pwd.getpwuid(os.getuid()).pw_dir})
    except KeyError:
        return None


def place() -> Path:
    """The file of the PIN that counts: the account's own before one that a variable points to."""
    account = _of_account()
    if account is not None and os.path.lexists(account / _FILE):
        return account / _FILE
    if account is None or os.environ.get("AIRLOCK_STATE_DIR") or os.path.lexists(state_path() / _FILE):
        return state_dir() / _FILE
    return account / _FILE


def is_set() -> bool:
    """True once a PIN was set for this user."""
    return os.path.lexists(place())


def movable() -> bool:
    """True while the PIN lies where only a variable points: a program that unsets it is not asked."""
    account = _of_account()
    return account is not None and place().parent != account


def set_pin(pin: str) -> None:
    """Set the PIN; UsageError when it is too short."""
    if len(pin) < SHORTEST:
        raise UsageError(f"a PIN has at least {SHORTEST} characters")
    salt = secrets.token_bytes(16)
    _write({"salt": salt.hex(), "hash": _hash(pin, salt).hex(), "wrong": 0, "locked_until": 0})


def clear() -> None:
    """Forget the PIN, and one that it outdid."""
    while is_set():
        place().unlink()


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
        lasting = min(LONGEST_LOCK, LOCK_SECONDS * 2 ** (wrong // TRIES - 1)) if wrong >= TRIES else 0
        locked = now + lasting if wrong % TRIES == 0 else 0
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
    private_folder(place().parent)
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
