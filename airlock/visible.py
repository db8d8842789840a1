"""Text from agents and tool servers, made safe to show: what does not show, or moves other text, is named.

Every character that a terminal or a browser would act on, hide or reorder becomes `⟨U+XXXX⟩`. The brackets
themselves are named too, so that nothing an agent writes can pass for a mark of ours.
"""

from __future__ import annotations

import re
import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that never print as themselves: controls, formats (bidi, zero width), unassigned."""

_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5\u034f\u180b\u180c\u180d\u180f")
"""Letters, marks and symbols that print as nothing, though their category does not say so."""

_BRACKETS = frozenset("⟨⟩")

_PLAIN = re.compile(r"[\x20-\x7e]*\Z")
_STACK = 2
"""More combining marks than this on one letter reach into the lines above and below."""


def visible(text: str) -> str:
    """One line in which every character shows; tabs and line ends are named like other controls."""
    if _PLAIN.match(text):
        return text
    pieces: list[str] = []
    stacked = 0
    for char in text:
        category = unicodedata.category(char)
        stacked = stacked + 1 if category in {"Mn", "Me"} else 0
        hidden = category in HIDDEN or char in _BLANK or char in _BRACKETS or stacked > _STACK
        odd_space = category == "Zs" and char != " "
        selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
        pieces.append(f"⟨U+{ord(char):04X}⟩" if hidden or odd_space or selector else char)
    return "".join(pieces)


def visible_lines(text: str) -> list[str]:
    """The lines of a longer text, each made visible; only a line feed (or CR LF) ends a line."""
    return [_tabs(line) for line in text.replace("\r\n", "\n").split("\n")]


def _tabs(line: str) -> str:
    return "⇥   ".join(visible(piece) for piece in line.split("\t"))


def bounded(text: str, limit: int) -> str:
    """At most `limit` characters of one visible line; a cut says how much is missing."""
    shown = visible(text)
    if len(shown) <= limit:
        return shown
    tail = f" … ({len(shown) - limit} more characters)"
    return shown[: max(0, limit - len(tail))] + tail
