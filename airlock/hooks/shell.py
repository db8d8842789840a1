"""A shell command line, split into what it does: one part for each command and each file.

`split` never raises and always returns at least one part. The promise: where no part is `bash/_complex`,
the parts are all that the line does, and each `argv` is what the shell will pass, word for word, except
for the places listed in `expands`. What cannot be understood without running it is `bash/_complex`; the
strictest part decides, so nothing that is not understood passes by what is. docs/shell.md says more.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from typing import Any

from airlock.hooks.shell_parts import COMPLEX, EMPTY, Cwds, Parts
from airlock.hooks.shell_texts import MAX_BARE, bare, blanked, carried, texts_of
from airlock.hooks.shell_tree import Walker, parse
from airlock.model import Part

MAX_LENGTH = 65_536
"""Longer lines are not read."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SPACES_ONLY = re.compile(r"\s*")
_STRANGE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})


def split(command: Any, cwd: str, *, home: str = "") -> tuple[Part, ...]:
    """The parts of a command line that runs in `cwd`.

    `home` is what `~` and `$HOME` stand for; without it words that begin with them are not understood.
    """
    if not isinstance(command, str) or _SPACES_ONLY.fullmatch(command):
        return (Part(tool=EMPTY, arguments={"command": command if isinstance(command, str) else ""}),)
    reason = _unreadable(command)
    if reason:
        return (_complex(command, cwd, (reason,)),)
    parts = Parts(home, cwd)
    parts.inner = lambda text, cwds, depth: _read(text, cwds, parts, depth)
    _read(command, (cwd,), parts, 0)
    found = tuple(parts.found.values())
    if parts.reasons:
        return (*found, _complex(command, cwd, tuple(parts.reasons)))
    return found or (Part(tool=EMPTY, arguments={"command": command}),)


def split_words(words: list[Any], cwd: str, *, home: str = "") -> tuple[Part, ...]:
    """The parts of a command that a client gives as a list of words: nothing in it is expanded."""
    if not words or not all(isinstance(word, str) for word in words):
        return split(None, cwd)
    return split(" ".join(map(_quoted, words)), cwd, home=home)


def _quoted(word: str) -> str:
    quoted = shlex.quote(word)
    return f"'{word}'" if quoted.startswith("=") else quoted  # zsh makes a path of a bare `=name`


def _read(command: str, cwds: Cwds, parts: Parts, depth: int) -> None:
    if _SPACES_ONLY.fullmatch(command):
        parts.add(EMPTY, {"command": command})
        return
    reason = _unreadable(command)
    if reason:
        parts.doubt(reason)
        return
    texts = texts_of(command)
    if bare(command, texts) > MAX_BARE:
        parts.doubt(f"more than {MAX_BARE} characters beside its long texts")
        return
    try:
        root = parse(blanked(command, texts))
        if not carried(root, texts):
            parts.doubt("quotes that are not understood")
        if root.has_error:
            parts.doubt("syntax that is not understood")
        Walker(command, parts, depth).walk(root, cwds)
    except RecursionError:
        parts.doubt("nested too deep")


def _unreadable(command: str) -> str:
    """Why a line is not even parsed; "" when it is."""
    if len(command) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    if _UNPRINTABLE.search(command):
        return "control characters"
    if not command.isascii() and any(
        unicodedata.category(sign) in _STRANGE for sign in set(command) if sign not in " \t\n"
    ):
        return "characters that do not show"
    return ""


def _complex(command: str, cwd: str, because: tuple[str, ...]) -> Part:
    arguments = {"command": command[:MAX_LENGTH], "cwd": cwd, "because": list(because[:20])}
    return Part(tool=COMPLEX, arguments=arguments)
