"""Which processes of this user run Airlock, and which databases they have used."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

from airlock.config import Config
from airlock.home.private import open_private, private_folder, read_private, state_dir, write_private
from airlock.values import dataclass

_KEPT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One running process of this user: which config and database it uses, for which agent, how.

    `address` is the URL at which a gateway listens.
    """

    pid: int
    config: str
    database: str
    agent: str
    road: str
    started_at: int
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDatabase:
    """A database that some process used with some config, whether it still runs or not."""

    config: str
    database: str
    used_at: int


@contextlib.contextmanager
def registered_process(
    config: Config,
    *,
    road: str,
    agent: str = "",
    address: str = "",
    env: Mapping[str, str] | None = None,
) -> Iterator[Registration]:
    """Let people's commands find this process until the context ends, or the process does."""
    registration = Registration(
        pid=os.getpid(),
        config=str(config.file),
        database=config.database,
        agent=agent,
        road=road,
        started_at=time.time_ns() // 1_000_000,
        address=address,
    )
    folder = private_folder(state_dir(env) / "processes")
    path = folder / f"{registration.pid}-{os.urandom(4).hex()}.json"
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # The lock says that the process lives: it ends with it, whatever number the next one gets.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, json.dumps(asdict(registration)).encode())
        draft.rename(path)
        _remember(registration, env)
        yield registration
    finally:
        for name in (draft, path):
            with contextlib.suppress(OSError):
                name.unlink()
        os.close(descriptor)


def _remember(registration: Registration, env: Mapping[str, str] | None) -> None:
    known = KnownDatabase(
        config=registration.config, database=registration.database, used_at=registration.started_at
    )
    name = hashlib.sha256(f"{known.config}\0{known.database}".encode(errors="surrogateescape")).hexdigest()
    write_private(private_folder(state_dir(env) / "databases") / f"{name}.json", json.dumps(asdict(known)))


def databases(env: Mapping[str, str] | None = None) -> list[KnownDatabase]:
    """The databases that were used and may still be there, last used first; the oldest are forgotten."""
    folder = private_folder(state_dir(env) / "databases")
    found: list[tuple[KnownDatabase, Path]] = []
    for path in folder.glob("*.json"):
        try:
            found.append((KnownDatabase(**json.loads(read_private(path))), path))
        except (OSError, ValueError, TypeError):
            continue
    found.sort(key=lambda one: (-one[0].used_at, one[0].config))
    for _, path in found[_KEPT:]:
        path.unlink(missing_ok=True)
    return [one for one, _ in found[:_KEPT]]


def registered(env: Mapping[str, str] | None = None) -> list[Registration]:
    """The processes that live, oldest first; what dead ones left behind is tidied away."""
    folder = private_folder(state_dir(env) / "processes")
    found = [_living(path) for path in sorted(folder.iterdir()) if path.suffix == ".json"]
    return sorted((one for one in found if one is not None), key=lambda one: (one.started_at, one.pid))


def _living(path: Path) -> Registration | None:
    try:
        descriptor = open_private(path)
    except OSError:
        return None
    try:
        if _unlocked(descriptor):
            path.unlink(missing_ok=True)
            return None
        written = json.loads(os.read(descriptor, 65536))
        known = {one.name for one in fields(Registration)}  # a newer process may say more of itself
        return Registration(**{name: value for name, value in written.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    finally:
        os.close(descriptor)


def _unlocked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
