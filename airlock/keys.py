"""The 32 secret bytes beside the database, of which fingerprints and the signed head are made."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from airlock.errors import StoreError, why

SIZE = 32


def key_path(database: Path) -> Path:
    """The key file of this database."""
    return database.with_name(database.name + ".key")


def load_key(path: Path) -> bytes:
    """The key in this file, made with mode 0600 where there is none; two processes at once get the same one.

    StoreError when it cannot be read or made, is damaged, or another user could have read or changed it.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(f"cannot open the key file `{path}`: {why(error)}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        _check_owner(fd, path)
        return _read(fd, path) or _make(fd, path)
    except OSError as error:
        raise StoreError(f"cannot use the key file `{path}`: {why(error)}") from error
    finally:
        os.close(fd)


def _check_owner(fd: int, path: Path) -> None:
    found = os.fstat(fd)
    folder = path.parent.stat()
    if found.st_size == 0 and os.geteuid() == 0 and found.st_uid != folder.st_uid:
        os.fchown(fd, folder.st_uid, folder.st_gid)  # root made it in a person's folder
    elif found.st_uid not in {os.geteuid(), folder.st_uid}:
        raise StoreError(
            f"the key file `{path}` belongs to another user: remove it, and open questions are asked anew"
        )
    if found.st_mode & 0o077:
        raise StoreError(
            f"the key file `{path}` is open to other users: `chmod 600` it if nobody read it, else remove it"
        )


def _read(fd: int, path: Path) -> bytes:
    key = os.pread(fd, SIZE + 1, 0)
    if len(key) not in {0, SIZE}:
        raise StoreError(f"the key file `{path}` is damaged: remove it, and open questions are asked anew")
    return key


def _make(fd: int, path: Path) -> bytes:
    key = secrets.token_bytes(SIZE)
    if os.pwrite(fd, key, 0) != SIZE:
        os.ftruncate(fd, 0)
        raise StoreError(f"cannot write the key file `{path}`: no room on the disk")
    os.fsync(fd)
    return key


def derive(key: bytes, purpose: str) -> bytes:
    """A key for one purpose, from which the others cannot be told."""
    return hmac.new(key, purpose.encode(), hashlib.sha256).digest()
