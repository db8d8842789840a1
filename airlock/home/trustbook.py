"""Which configs the user trusted: their text, and that of the `env_file` that goes with it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airlock.errors import ConfigError
from airlock.home.private import from_home, private_folder, read_private, state_dir, write_private


def trusted(path: Path, digest: str = "", env: Mapping[str, str] | None = None) -> bool:
    """True when exactly this text, and that of its `env_file`, was trusted.

    With `digest` (of a loaded config) it must also be the text that was loaded, so that nothing can
    change between the loading and this question.
    """
    record = _record(path, env)
    if record is None or (digest and record.get("config") != digest):
        return False
    try:
        data = path.read_bytes()
    except OSError:
        return False
    same = record.get("config") == hashlib.sha256(data).hexdigest()
    return same and record.get("seal") == _seal(path, data, env)


def trust(path: Path, env: Mapping[str, str] | None = None) -> None:
    """Remember this text as trusted; OSError when it cannot be read."""
    data = path.read_bytes()
    record = {
        "path": os.path.realpath(path),
        "config": hashlib.sha256(data).hexdigest(),
        "seal": _seal(path, data, env),
        "text": data.decode("utf-8", "replace"),
    }
    write_private(_trust_file(path, env), json.dumps(record))


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
        text = read_private(_trust_file(path, env))
        record = json.loads(text) if text else None
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("path") == os.path.realpath(path) else None


def _trust_file(path: Path, env: Mapping[str, str] | None) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()
    return private_folder(state_dir(env) / "trust") / f"{name}.json"


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
    from airlock.loader.reader import read
    from airlock.loader.substitution import SubstitutionError, expand

    base = Path(os.path.realpath(path)).parent
    try:
        root = read(data, str(path), words=frozenset({"reload"}))
        node = root.value.get("env_file") if root.keys is not None else None
        if node is None or not isinstance(node.value, str):
            return None
        known = os.environ if env is None else env
        return base / from_home(expand(node.value, known, base, lambda _: None), known)
    except (ConfigError, SubstitutionError):
        return None  # such a config does not load either
