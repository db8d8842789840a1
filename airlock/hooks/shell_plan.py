"""What one simple command comes to when it is taken apart."""

from __future__ import annotations

from airlock.hooks.shell_words import Word
from airlock.values import dataclass

Words = tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one command does: itself (`own`), the commands and shell texts inside it, files, doubts."""

    own: Words = ()
    inside: tuple[Words, ...] = ()
    lines: tuple[str, ...] = ()
    writes: Words = ()
    reads: Words = ()
    chdir: Word | None = None
    doubts: tuple[str, ...] = ()
