"""The user's state directory and the private files in it.

Folders are 0700, files 0600; files are written whole and renamed into place, and opened without
following links.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from airlock.errors import StoreError

_LARGEST: Final = 8 * 1024 * 1024


def state_path(env: Mapping[str, str] | None = None) -> Path:
    """Where the state directory is or would be; nothing is created."""
    env = os.environ if env is None else env
    if given := env.get("AIRLOCK_STATE_DIR"):
        return Path(os.path.abspath(from_home(given, env)))  # noqa: PTH100 (links stay links)
    base = env.get("XDG_STATE_HOME", "")
    folder = Path(base) if base.startswith("/") else home(env) / ".local" / "state"
    return folder / "airlock"


def state_dir(env: Mapping[str, str] | None = None) -> Path:
    """The state directory, made if need be; StoreError when it is not this user's own alone."""
    return private_folder(state_path(env))


def home(env: Mapping[str, str]) -> Path:
    """The user's home directory."""
    found = env.get("HOME", "")
    try:
        return Path(found) if found.startswith("/") else Path.home()
    except RuntimeError:
        raise StoreError("no home directory is known: set `HOME`, or `AIRLOCK_STATE_DIR`") from None


def from_home(text: str, env: Mapping[str, str]) -> Path:
    """A path in which a leading `~/` is the user's home."""
    return home(env) / text[2:] if text.startswith("~/") else Path(text)


def private_folder(path: Path) -> Path:
    """A folder in which nobody else can write; it is made 0700 if it is not there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise StoreError(f"state directory `{path}` cannot be used: {reason}") from None
    if found.st_uid != os.geteuid():
        raise StoreError(f"`{path}` belongs to another user: set `AIRLOCK_STATE_DIR` to a folder of yours")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreError(f"others can write in `{path}`: `chmod 700 {path}`, or set `AIRLOCK_STATE_DIR`")
    return path


def open_private(path: Path) -> int:
    """A descriptor of a plain file of this user; OSError for a link, a pipe or another user's file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(f"`{path}` is not a file of this user")
    return descriptor


def read_private(path: Path) -> str:
    """The text of such a file."""
    with os.fdopen(open_private(path), "rb") as stream:
        return stream.read(_LARGEST).decode("utf-8", "replace")


def write_private(path: Path, text: str) -> None:
    """Replace such a file as a whole; StoreError when that fails, and then nothing changed."""
    draft = path.with_name(f"{path.name}.{os.urandom(4).hex()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
        draft.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        reason = (error.strerror or "unknown reason").lower()
        raise StoreError(f"`{path}` cannot be written: {reason}") from None
