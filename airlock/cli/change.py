"""What a call would change in a file, as a diff: from its own arguments, or against the file as it is now.

A diff helps reading; it never replaces an argument that it does not hold whole.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from airlock.values import dataclass

MAX_FILE = 256 * 1024
"""A larger file is not read for a diff."""

MAX_DIFF_LINES = 4000
"""A longer text is not compared: difflib is quadratic, and the arguments are shown whole anyway."""

_PATHS = ("file_path", "path", "filename", "file", "notebook_path")
_PAIRS = (("old_string", "new_string"), ("oldText", "newText"), ("old_str", "new_str"))
_CONTENTS = ("content", "contents", "file_text")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One diff: `rows` begin with a space, `+`, `-` or `@`; `note` says what it was compared with."""

    path: str
    rows: tuple[str, ...]
    note: str = ""


def changes(arguments: Mapping[str, Any], cwd: str) -> tuple[FileChange, ...]:
    """The edits that these arguments describe; empty when they do not look like an edit."""
    path = _first_text(arguments, _PATHS)
    pairs = tuple(_pairs(arguments))
    if pairs:
        return tuple(
            FileChange(path=path, rows=rows)
            for old, new in pairs
            if (rows := _diff(old, new, around=None)) is not None
        )
    content = _first_text(arguments, _CONTENTS)
    return _against_file(path, content, cwd) if path and content else ()


def _first_text(arguments: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((value for name in names if isinstance(value := arguments.get(name), str)), "")


def _pairs(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    edits = arguments.get("edits")
    for one in [arguments, *(edits if isinstance(edits, list) else [])]:
        if not isinstance(one, Mapping):
            continue
        for old, new in _PAIRS:
            before, after = one.get(old), one.get(new)
            if isinstance(before, str) and isinstance(after, str):
                yield before, after


def _against_file(path: str, content: str, cwd: str) -> tuple[FileChange, ...]:
    place = Path(cwd or ".") / path if cwd or Path(path).is_absolute() else None
    now = read_bounded(place) if place is not None else None
    if now is None:
        return ()
    rows = _diff(now, content, around=3)
    if rows is None:
        return ()
    note = "against the file as it is now" if rows else "the file has exactly this content now"
    return (FileChange(path=path, rows=rows, note=note),)


def read_bounded(path: Path) -> str | None:
    """The text of a plain file of at most MAX_FILE bytes, else None; never blocks on a pipe or device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
            return None
        return os.read(descriptor, MAX_FILE + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    finally:
        os.close(descriptor)


def _diff(old: str, new: str, *, around: int | None) -> tuple[str, ...] | None:
    """Rows of a unified diff; a row without a line end stands for a last line that has none."""
    if not old.endswith("\n") and not new.endswith("\n"):
        old, new = old + "\n", new + "\n"
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    if len(before) + len(after) > MAX_DIFF_LINES:
        return None
    context = len(before) + len(after) if around is None else around
    return tuple(difflib.unified_diff(before, after, lineterm="", n=context))[2:]
