"""Text from agents and tool servers, made safe to show: what does not show, or moves other text, is named.

Every character that a terminal or a browser would act on, hide or reorder becomes `⟨U+XXXX⟩`, and so does a
letter of another script inside a word of ours. The brackets themselves are named too, so that nothing an
agent writes can pass for a mark of ours.
"""

from __future__ import annotations

import re
import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that never print as themselves: controls, formats (bidi, zero width), unassigned."""

_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5\u034f\u180b\u180c\u180d\u180f")
"""Letters, marks and symbols that print as nothing, though their category does not say so."""

_BRACKETS = frozenset("⟨⟩")

_ALIKE = re.compile(
    "[\u0391\u0392\u0395-\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"  # Greek capitals
    "\u03b1\u03b3\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03f2\u03f3"
    "\u0400-\u058f\u13a0-\u13ff\u1c80-\u1c8f\u2c80-\u2cff\ua640-\ua69f\ua4d0-\ua4ff\uab70-\uabbf"
    "\u0250-\u02af\u1d00-\u1dbf\U00010400-\U0001044f\U0001d400-\U0001d7ff]"
)
"""Letters of other scripts that look like ours: in one word with ours they are named."""

_SIGNS = frozenset("\u2044\u2215\u29f8\u2571\u2024\u037e\ua789\u01c3\u01c0\u2223")
"""Signs that look like `/`, `.`, `;`, `:`, `!` and `|`, and are none."""

_WORD = re.compile(r"[^\W\d_]+")
_OURS = re.compile("[A-Za-z]")
_PLAIN = re.compile(r"[\x20-\x7e]*\Z")
_STACK = 2
"""More combining marks than this on one letter reach into the lines above and below."""


def visible(text: str) -> str:
    """One line in which every character shows; tabs and line ends are named like other controls."""
    if _PLAIN.match(text):
        return text
    pieces: list[str] = []
    stacked, mixed = 0, _mixed(text)
    for place, char in enumerate(text):
        category = unicodedata.category(char)
        stacked = stacked + 1 if category in {"Mn", "Me"} else 0
        hidden = category in HIDDEN or char in _BLANK or char in _BRACKETS or stacked > _STACK
        odd_space = category == "Zs" and char != " "
        selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
        named = hidden or odd_space or selector or char in _SIGNS or place in mixed
        pieces.append(f"⟨U+{ord(char):04X}⟩" if named else char)
    return "".join(pieces)


def _mixed(text: str) -> set[int]:
    """The places of letters that only look like the others of their word (a Cyrillic `a` in `paypal`)."""
    if not _ALIKE.search(text):
        return set()
    return {
        word.start() + one.start()
        for word in _WORD.finditer(text)
        if _OURS.search(word[0])
        for one in _ALIKE.finditer(word[0])
    }


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
