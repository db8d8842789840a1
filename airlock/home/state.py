"""What Airlock knows about this user's set-up: which config counts, what is trusted, what runs.

The parts live in `private`, `trustbook` and `processes`; this is the one door to them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from airlock.errors import UsageError
from airlock.home.private import from_home, home, read_private, state_dir, state_path, write_private
from airlock.home.processes import KnownDatabase, Registration, databases, registered, registered_process
from airlock.home.trustbook import difference, trust, trusted, trusted_text
from airlock.values import dataclass

__all__ = [
    "KnownDatabase",
    "Located",
    "Registration",
    "config_path",
    "databases",
    "difference",
    "locate",
    "passed",
    "registered",
    "registered_process",
    "remember_passed",
    "state_dir",
    "state_path",
    "trust",
    "trusted",
    "trusted_text",
]

CONFIG_NAME: Final = "airlock.yaml"
_REMEMBERED: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """The config that counts. `found` is True when it merely lay in the working directory: then it
    needs trust before it may start programs (decisions.md 7)."""

    path: Path
    found: bool


def config_path(env: Mapping[str, str] | None = None) -> Path:
    """Where the user's own config is or would be."""
    env = os.environ if env is None else env
    base = env.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if base.startswith("/") else home(env) / ".config"
    return folder / "airlock" / CONFIG_NAME


def locate(
    explicit: Path | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Located:
    """The config that counts: given, `$AIRLOCK_CONFIG`, `./airlock.yaml`, the user's; else UsageError."""
    env = os.environ if env is None else env
    folder = Path.cwd() if cwd is None else cwd
    if explicit is not None:
        return Located(path=folder / from_home(str(explicit), env), found=False)
    if named := env.get("AIRLOCK_CONFIG"):
        return Located(path=folder / from_home(named, env), found=False)
    here, own = folder / CONFIG_NAME, config_path(env)
    if here.is_file():
        return Located(path=here, found=os.path.realpath(here) != os.path.realpath(own))
    if own.is_file():
        return Located(path=own, found=False)
    raise UsageError(f"no config: neither `./{CONFIG_NAME}` nor `{own}` is there; `airlock init` writes one")


def passed(digest: str, version: str, env: Mapping[str, str] | None = None) -> bool:
    """True when the tests of this policy passed under this version before (decisions.md 19)."""
    try:
        return f"{version} {digest}" in read_private(state_dir(env) / "passed").splitlines()
    except OSError:
        return False


def remember_passed(digest: str, version: str, env: Mapping[str, str] | None = None) -> None:
    """Remember that the tests of this policy passed under this version."""
    path = state_dir(env) / "passed"
    line = f"{version} {digest}"
    try:
        lines = [one for one in read_private(path).splitlines() if one != line]
    except OSError:
        lines = []
    write_private(path, "\n".join([*lines[-_REMEMBERED + 1 :], line]) + "\n")
