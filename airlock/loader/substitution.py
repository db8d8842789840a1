"""`${VAR}`, `${VAR:-default}` and `${file:PATH}` in the strings of a config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from airlock.home.private import from_home

MARK: Final = "${"
_REFERENCE = re.compile(
    r"\$\$\{"
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-(?P<default>[^{}]*))?\}"
    r"|\$\{file:(?P<file>[^{}]+)\}"
    r"|\$\{"
)
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)\Z")
_LARGEST = 64 * 1024


class SubstitutionError(Exception):
    """A reference that has no value; the text names it and the cure, never a value."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


def refers(raw: str) -> bool:
    """True when a text has a reference in it, so that its value may be a secret."""
    return MARK in raw.replace("$${", "")


def expand(text: str, env: Mapping[str, str], base: Path, used: Callable[[Path], object]) -> str:
    """The text with every reference replaced; files are relative to `base` and told to `used`.

    What is put in is not looked at again, so a value cannot bring references of its own.
    """
    if MARK not in text:
        return text

    def value(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return MARK
        if found["name"] is not None:
            return _variable(found["name"], found["default"], env)
        if found["file"] is not None:
            return _content(base / from_home(found["file"].strip(), env), found["file"], used)
        raise SubstitutionError(
            f"`{text[found.start() : found.start() + 40]}` is not a reference",
            "write ${VAR}, ${VAR:-default} or ${file:PATH}; $${ stands for ${ itself",
        )

    return _REFERENCE.sub(value, text)


def _variable(name: str, default: str | None, env: Mapping[str, str]) -> str:
    if value := env.get(name, ""):
        return value
    if default is not None:
        return default
    state = "is set but empty" if name in env else "is not set"
    raise SubstitutionError(
        f"variable `{name}` {state}", f"set it, or write ${{{name}:-default}} if it may be missing"
    )


def _content(path: Path, shown: str, used: Callable[[Path], object]) -> str:
    used(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise SubstitutionError(f"file `{shown}` is larger than {_LARGEST // 1024} kB")
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise SubstitutionError(f"file `{shown}` cannot be read: {reason}") from None
    except ValueError:
        raise SubstitutionError(f"file `{shown}` is not UTF-8 text") from None


def assignments(text: str) -> tuple[dict[str, str], list[int]]:
    """The variables of an `env_file`, and the numbers of the lines that are none.

    `NAME=value`, with `export` in front and quotes around the value if one likes; `#` begins a comment
    line. Nothing is expanded.
    """
    found: dict[str, str] = {}
    wrong: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _ASSIGNMENT.match(stripped)
        if match is None:
            wrong.append(number)
        else:
            found[match[1]] = _unquoted(match[2])
    return found, wrong


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value.split(" #", 1)[0].rstrip()
