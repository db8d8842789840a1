"""What a server says to the person at the client: its name stands in front, and nothing can wipe it out."""

from __future__ import annotations

import re

from airlock.visible import visible

_LIKE_L = str.maketrans({"i": "l", "1": "l", "|": "l", "!": "l", "0": "o"})
_BETWEEN = re.compile(r"[^a-z]+")
_OURS = "airlock".translate(_LIKE_L)


def named(provider: str, message: str) -> str:
    """The message with its server in front; what would hide or move text in it is named."""
    lines = message.replace("\r\n", "\n").split("\n")
    return f"[{provider}] " + "\n".join("\t".join(map(visible, line.split("\t"))) for line in lines)


def speaks_of_us(message: str) -> bool:
    """True where a person could read Airlock's name, also as `AirIock`, `air-lock`, or in other letters."""
    if not message.isascii():
        return True
    return _OURS in _BETWEEN.sub("", message.lower().translate(_LIKE_L))
