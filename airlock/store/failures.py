"""What SQLite complains of, as one line with its cure."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airlock.errors import StoreBusy, StoreError, why

_TOLD = {
    "SQLITE_READONLY": "is read-only: make the file and its folder writable",
    "SQLITE_CANTOPEN": "cannot be opened: check the folder and its permissions",
    "SQLITE_PERM": "may not be used: check its permissions",
    "SQLITE_AUTH": "may not be used: check its permissions",
    "SQLITE_FULL": "has no room: free disk space; writing then works again",
    "SQLITE_IOERR": "cannot be read or written: check disk space and the disk",
    "SQLITE_NOTADB": "is not a database: move it away, or set `database:` to another file",
    "SQLITE_CORRUPT": "is damaged: keep the file aside and restore a copy made by `airlock db backup`",
    "SQLITE_NOMEM": "cannot be used: out of memory",
}


def translated(path: Path, error: sqlite3.Error) -> StoreError:
    """The StoreError that says this to a person."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusy(f"the database `{path}` is locked by another program: close that program")
    for prefix, text in _TOLD.items():
        if name.startswith(prefix):
            return StoreError(f"the database `{path}` {text} ({name})")
    return StoreError(f"the database `{path}` failed: {error}" + (f" ({name})" if name else ""))


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system raise inside this block into StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(path, error) from error
    except (UnicodeEncodeError, OverflowError) as error:
        raise StoreError(f"a value cannot be kept in the database: {error}") from error
    except OSError as error:
        raise StoreError(f"the database `{path}` cannot be used: {why(error)}") from error


def busy(error: sqlite3.Error) -> bool:
    """True when another connection is in the way right now."""
    return (getattr(error, "sqlite_errorname", None) or "").startswith("SQLITE_BUSY")
