"""`under:`: whether a path lies inside a folder, however it is spelled.

Two spellings of one argument are looked at: as the kernel reads it (symlinks first, then `..`) and as
many tools do (`..` first). An allow rule needs both inside; one is enough for ask and deny.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache
from pathlib import Path
from posixpath import normpath

from airlock.matching.frame import UNRESOLVED, Frame, Holds
from airlock.values import dataclass

_UNCLEAR = re.compile(r"[\x00-\x1f\x7f\\]|^\s|\s$|^~|^[A-Za-z][A-Za-z0-9+.\-]*://|^file:")
_UNPLAIN = "is not a plain path"
_MAX_PATH = 4096
_FOLDS = sys.platform == "darwin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder of a rule: absolute and without `..`."""

    path: str


def folder(text: str, config_folder: Path) -> Folder:
    """The folder that a rule names: relative to the config file, `~` is the user's own."""
    named = Path(text).expanduser() if text.startswith("~") else Path(text)
    return Folder(path=_plain(str(config_folder / named)))


def _plain(path: str) -> str:
    plain = normpath(path)
    return plain[1:] if plain.startswith("//") else plain


def spellings(value: str, base: str) -> tuple[str, ...] | str:
    """The absolute paths that an argument may mean, the normalised one first; or why that is unclear."""
    return _spellings(value, base) if value and len(value) <= _MAX_PATH else _UNPLAIN


@lru_cache(maxsize=256)
def _spellings(value: str, base: str) -> tuple[str, ...] | str:
    """The same, kept: every rule about a path asks for them, before and while it is judged."""
    if _UNCLEAR.search(value):
        return _UNPLAIN
    if not value.startswith("/"):
        if not base:
            return "is relative, and the working directory is not known"
        value = f"{base.rstrip('/')}/{value}"
    plain = _plain(value)
    raw = re.sub(r"/{2,}", "/", value)
    return (plain,) if ".." not in raw.split("/") else (plain, raw)


def inside(path: str, root: str) -> bool:
    """True when `path` is `root` or below it, comparing text."""
    return root in {path, "/"} or path.startswith(root + "/")


def _folded(path: str) -> str:
    """For ask and deny on macOS, whose file system takes other spellings for the same name."""
    return unicodedata.normalize("NFC", path).casefold() if _FOLDS else path


def surely_under(value: str, roots: tuple[Folder, ...], frame: Frame) -> Holds:
    """For allow: True only when every spelling is inside one of the folders."""
    paths = spellings(value, frame.base)
    if isinstance(paths, str):
        return paths
    if not frame.local:
        return any(inside(paths[0], root.path) for root in roots)
    resolved = frame.facts.resolved
    real_roots = [resolved.get(root.path) for root in roots]
    reals = [resolved.get(path) for path in paths]
    if None in reals or None in real_roots:
        return UNRESOLVED
    return all(any(inside(real, root) for root in real_roots if root) for real in reals if real)


def maybe_under(value: str, roots: tuple[Folder, ...], frame: Frame) -> Holds:
    """For ask and deny: True when any spelling is inside one of the folders."""
    paths = spellings(value, frame.base)
    if isinstance(paths, str):
        return paths
    if any(inside(_folded(paths[0]), _folded(root.path)) for root in roots):
        return True
    if not frame.local:
        return False
    resolved = frame.facts.resolved
    real_roots = [resolved.get(root.path) for root in roots]
    reals = [resolved.get(path) for path in paths]
    known = [real for real in reals if real]
    if any(inside(_folded(real), _folded(root)) for real in known for root in real_roots if root):
        return True
    return UNRESOLVED if None in reals or None in real_roots else False
