"""What a server says to the person at the client: its name stands in front, and nothing can wipe it out."""

from __future__ import annotations

import re
import unicodedata

from airlock.visible import HIDDEN

_FOLDED = str.maketrans(
    "i1|!0"  # what passes for `l` and `o`
    "\u0430\u0456\u0457\u0433\u04cf\u043e\u0441\u043a"  # Cyrillic
    "\u03b1\u03b9\u03bf\u03f2\u03ba\u0585\u0131\u0142\u00f8",  # Greek, Armenian, and Latin with strokes
    "llllo" + "allrlock" + "alockollo",
)
"""Small letters and signs that pass for those of our name; `i` and `l` are one."""

_ODD = re.compile(
    "[\u0250-\u02af\u13a0-\u13ff\u1c80-\u1c8f\u1d00-\u1dbf\u2c80-\u2cff\ua4d0-\ua4ff\uab70-\uabbf"
    "\U00010400-\U0001044f\U0001f130-\U0001f189\U0001f1e6-\U0001f1ff]"
)
"""Letters in which hardly anybody writes, and whole words of which look like ours."""

_STAY = frozenset("\n\t\u200d")
"""Ends of lines, tabs, and what joins the parts of one emoji."""

_BETWEEN = re.compile(r"[\W\d_]+")
_OURS = "airlock".translate(_FOLDED)


def named(provider: str, message: str) -> str:
    """The message with its server in front; what would hide or move text in it is named."""
    return f"[{provider}] " + "".join(map(_settled, message.replace("\r\n", "\n")))


def _settled(char: str) -> str:
    stays = char in _STAY or unicodedata.category(char) not in HIDDEN
    return char if stays else f"⟨U+{ord(char):04X}⟩"


def speaks_of_us(message: str) -> bool:
    """True where a person could read Airlock's name, also as `AirIock`, `air-lock`, or in other letters."""
    if not message.isascii():
        if _ODD.search(message):
            return True
        message = "".join(filter(_shows, unicodedata.normalize("NFKD", message)))
    return _OURS in _BETWEEN.sub("", message.casefold().translate(_FOLDED))


def _shows(char: str) -> bool:
    """False for marks on letters, and for what prints as nothing."""
    return unicodedata.category(char) not in {"Mn", "Me", "Cf"}
