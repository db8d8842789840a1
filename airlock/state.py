"""The user's state directory: where it is, which config counts, what is trusted, which processes run.

Everything here is private to the user: folders 0700, files 0600, written whole and renamed into place,
opened without following links.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from airlock.config import Config
from airlock.errors import ConfigError, StoreError, UsageError

CONFIG_NAME: Final = "airlock.yaml"
_LARGEST: Final = 8 * 1024 * 1024
_REMEMBERED: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """The config that counts. `found` is True when it merely lay in the working directory: then it
    needs trust before it may start programs (decisions.md 7)."""

    path: Path
    found: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One running process of this user: which config and database it uses, for which agent, how."""

    pid: int
    config: str
    database: str
    agent: str
    road: str
    started_at: int


def state_path(env: Mapping[str, str] | None = None) -> Path:
    """Where the state directory is or would be; nothing is created."""
    env = os.environ if env is None else env
    if given := env.get("AIRLOCK_STATE_DIR"):
        return Path(os.path.abspath(_from_home(given, env)))  # noqa: PTH100 (links stay links)
    base = env.get("XDG_STATE_HOME", "")
    folder = Path(base) if base.startswith("/") else _home(env) / ".local" / "state"
    return folder / "airlock"


def state_dir(env: Mapping[str, str] | None = None) -> Path:
    """The state directory, made if need be; StoreError when it is not this user's own alone."""
    return _private(state_path(env))


def config_path(env: Mapping[str, str] | None = None) -> Path:
    """Where the user's own config is or would be."""
    env = os.environ if env is None else env
    base = env.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if base.startswith("/") else _home(env) / ".config"
    return folder / "airlock" / CONFIG_NAME


def locate(
    explicit: Path | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Located:
    """The config that counts: given, `$AIRLOCK_CONFIG`, `./airlock.yaml`, the user's; else UsageError."""
    env = os.environ if env is None else env
    folder = Path.cwd() if cwd is None else cwd
    if explicit is not None:
        return Located(path=folder / _from_home(str(explicit), env), found=False)
    if named := env.get("AIRLOCK_CONFIG"):
        return Located(path=folder / _from_home(named, env), found=False)
    here, own = folder / CONFIG_NAME, config_path(env)
    if here.is_file():
        return Located(path=here, found=os.path.realpath(here) != os.path.realpath(own))
    if own.is_file():
        return Located(path=own, found=False)
    raise UsageError(f"no config: neither `./{CONFIG_NAME}` nor `{own}` is there; `airlock init` writes one")


def _home(env: Mapping[str, str]) -> Path:
    home = env.get("HOME", "")
    return Path(home) if home.startswith("/") else Path.home()


def _from_home(text: str, env: Mapping[str, str]) -> Path:
    return _home(env) / text[2:] if text.startswith("~/") else Path(text)


# Trust


def trusted(path: Path, digest: str = "", env: Mapping[str, str] | None = None) -> bool:
    """True when exactly this text, and that of its `env_file`, was trusted.

    With `digest` (of a loaded config) it must also be the text that was loaded, so that nothing can
    change between the loading and this question.
    """
    record = _record(path, env)
    if record is None or (digest and record.get("config") != digest):
        return False
    try:
        return record.get("seal") == _seal(path, path.read_bytes(), env)
    except OSError:
        return False


def trust(path: Path, env: Mapping[str, str] | None = None) -> None:
    """Remember this text as trusted; OSError when it cannot be read."""
    data = path.read_bytes()
    record = {
        "path": os.path.realpath(path),
        "config": hashlib.sha256(data).hexdigest(),
        "seal": _seal(path, data, env),
        "text": data.decode("utf-8", "replace"),
    }
    _write(_trust_file(path, env), json.dumps(record))


def trusted_text(path: Path, env: Mapping[str, str] | None = None) -> str | None:
    """The text that was trusted last under this path; None when none was."""
    record = _record(path, env)
    return None if record is None else str(record.get("text", ""))


def difference(path: Path, env: Mapping[str, str] | None = None) -> str:
    """What changed since it was trusted, as a unified diff; the whole text when it never was."""
    import difflib

    before = trusted_text(path, env) or ""
    after = path.read_bytes().decode("utf-8", "replace")
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "trusted", str(path), lineterm="", n=3
    )
    return "\n".join(lines)


def _record(path: Path, env: Mapping[str, str] | None) -> dict[str, Any] | None:
    try:
        text = _read(_trust_file(path, env))
        record = json.loads(text) if text else None
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("path") == os.path.realpath(path) else None


def _trust_file(path: Path, env: Mapping[str, str] | None) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()
    return _private(state_dir(env) / "trust") / f"{name}.json"


def _seal(path: Path, data: bytes, env: Mapping[str, str] | None) -> str:
    """A digest over the config and its `env_file`, which can name the programs that are started."""
    digest = hashlib.sha256(data)
    source = _env_file(path, data, env)
    if source is not None:
        try:
            content = source.read_bytes()
        except OSError:
            content = b""
        digest.update(b"\x00env_file\x00" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _env_file(path: Path, data: bytes, env: Mapping[str, str] | None) -> Path | None:
    from airlock.reader import read
    from airlock.substitution import SubstitutionError, expand

    base = Path(os.path.realpath(path)).parent
    try:
        root = read(data, str(path), words=frozenset({"reload"}))
        node = root.value.get("env_file") if root.keys is not None else None
        if node is None or not isinstance(node.value, str):
            return None
        known = os.environ if env is None else env
        return base / _from_home(expand(node.value, known, base, lambda _: None), known)
    except (ConfigError, SubstitutionError):
        return None  # such a config does not load either


# Processes


def register(
    config: Config, *, road: str, agent: str = "", env: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[Registration]:
    """Let people's commands find this process until the context ends, or the process does."""
    registration = Registration(
        pid=os.getpid(),
        config=str(config.file),
        database=config.database,
        agent=agent,
        road=road,
        started_at=time.time_ns() // 1_000_000,
    )
    return _registered(registration, env)


@contextlib.contextmanager
def _registered(registration: Registration, env: Mapping[str, str] | None) -> Iterator[Registration]:
    folder = _private(state_dir(env) / "processes")
    path = folder / f"{registration.pid}-{os.urandom(4).hex()}.json"
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # The lock says that the process lives: it ends with it, whatever number the next one gets.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, json.dumps(asdict(registration)).encode())
        draft.rename(path)
        yield registration
    finally:
        for name in (draft, path):
            with contextlib.suppress(OSError):
                name.unlink()
        os.close(descriptor)


def registered(env: Mapping[str, str] | None = None) -> list[Registration]:
    """The processes that live, oldest first; what dead ones left behind is tidied away."""
    folder = _private(state_dir(env) / "processes")
    found = [_living(path) for path in sorted(folder.iterdir()) if path.suffix == ".json"]
    return sorted((one for one in found if one is not None), key=lambda one: (one.started_at, one.pid))


def _living(path: Path) -> Registration | None:
    try:
        descriptor = _open(path)
    except OSError:
        return None
    try:
        if _unlocked(descriptor):
            path.unlink(missing_ok=True)
            return None
        return Registration(**json.loads(os.read(descriptor, 65536)))
    except (OSError, ValueError, TypeError):
        return None
    finally:
        os.close(descriptor)


def _unlocked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# Policy tests that passed


def passed_tests(digest: str, version: str, env: Mapping[str, str] | None = None) -> bool:
    """True when the tests of this policy passed under this version before (decisions.md 19)."""
    try:
        return f"{version} {digest}" in _read(state_dir(env) / "passed").splitlines()
    except OSError:
        return False


def remember_passed(digest: str, version: str, env: Mapping[str, str] | None = None) -> None:
    """Remember that the tests of this policy passed under this version."""
    path = state_dir(env) / "passed"
    line = f"{version} {digest}"
    try:
        lines = [one for one in _read(path).splitlines() if one != line]
    except OSError:
        lines = []
    _write(path, "\n".join([*lines[-_REMEMBERED + 1 :], line]) + "\n")


# Private files


def _private(path: Path) -> Path:
    """A folder of this user alone."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise StoreError(
                f"`{path}` belongs to another user: set `AIRLOCK_STATE_DIR` to a folder of yours"
            )
        if found.st_mode & stat.S_ISVTX:
            raise StoreError(f"`{path}` is a shared folder: set `AIRLOCK_STATE_DIR` to a folder of yours")
        if found.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise StoreError(f"state directory `{path}` cannot be used: {reason}") from None
    return path


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(f"`{path}` is not a file of this user")
    return descriptor


def _read(path: Path) -> str:
    with os.fdopen(_open(path), "rb") as stream:
        return stream.read(_LARGEST).decode("utf-8", "replace")


def _write(path: Path, text: str) -> None:
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
