"""What one load of one file knows and has found wrong, and where a key stands.

Messages quote what stands in the file, never what a variable was replaced with.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path

from airlock.errors import Problem
from airlock.home.private import from_home
from airlock.loader.reader import Node
from airlock.loader.substitution import SubstitutionError, expand
from airlock.values import dataclass


def meant(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word which is nearest to a wrong one; "" when none is near."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else ""


@dataclass(slots=True, kw_only=True)
class Reading:
    """What one load of one file needs everywhere, and the problems it has found so far."""

    file: str
    base: Path
    env: Mapping[str, str]
    exposed: bool = False
    lenient: bool = False
    problems: list[Problem] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)

    def error(self, line: int, path: str, message: str, hint: str = "") -> None:
        """Note something that makes the config unusable."""
        self._note(line, path, message, hint, warning=False)

    def warn(self, line: int, path: str, message: str, hint: str = "") -> None:
        """Note something that is worth a look."""
        self._note(line, path, message, hint, warning=True)

    def _note(self, line: int, path: str, message: str, hint: str, *, warning: bool) -> None:
        from airlock.visible import visible  # a config somebody else wrote must not steer a terminal

        path, message, hint = visible(path), visible(message), visible(hint)
        self.problems.append(
            Problem(file=self.file, line=line, path=path, message=message, hint=hint, warning=warning)
        )

    def where(self, line: int) -> str:
        """file:line."""
        return f"{self.file}:{line}"

    def expand(self, text: str, line: int, path: str) -> str | None:
        """The text with its references replaced; None, and a problem noted, when one has no value."""
        try:
            return expand(text, self.env, self.base, self.sources.append)
        except SubstitutionError as error:
            if not self.lenient:
                self.error(line, path, str(error), error.hint)
            return None

    def resolved(self, text: str) -> Path:
        """A path of the config, absolute: relative to the config file, `~` being the user's home."""
        return Path(os.path.normpath(self.base / from_home(text, self.env)))


@dataclass(frozen=True, slots=True)
class Found:
    """A key that is there: the name it was written with, its value, its path."""

    name: str
    node: Node
    path: str

    @property
    def line(self) -> int:
        """Where to point."""
        return self.node.line

    @property
    def milliseconds(self) -> bool:
        """True for the spellings that take a plain number."""
        return self.name.endswith("_ms")


def shown(node: Node) -> str:
    """A value as messages quote it: as it stands in the file, cut short."""
    if node.keys is not None:
        return "a mapping"
    if node.is_list:
        return "a list"
    if node.raw == "":
        return "nothing"
    return f"`{node.raw[:40]}{'…' if len(node.raw) > 40 else ''}`"


def no_text(node: Node) -> tuple[str, str]:
    """What to say of a value that is no text, and its cure where quotes are one."""
    plain = node.keys is None and not node.is_list and node.raw != ""
    return f"must be text, not {shown(node)}", "quote it" if plain else ""
