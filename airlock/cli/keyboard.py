"""Single keys from the terminal: raw enough to read them, and put back on every way out."""

from __future__ import annotations

import codecs
import os
import re
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[5~": "pageup",
    "\x1b[6~": "pagedown",
    "\x1b[H": "home",
    "\x1b[1~": "home",
    "\x1b[F": "end",
    "\x1b[4~": "end",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1bOH": "home",
    "\x1bOF": "end",
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x02": "ctrl-b",
    "\x03": "ctrl-c",
    "\x04": "ctrl-d",
    "\x06": "ctrl-f",
    "\x15": "ctrl-u",
}

_KEY = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|\x1b|.", re.DOTALL)


def keys_of(text: str) -> list[str]:
    """The keys in what the terminal sent at once: names for special ones, the character for others."""
    found = (_NAMES.get(piece, piece) for piece in _KEY.findall(text))
    return [key for key in found if not key.startswith("\x1b")]


class Keyboard:
    """Reads what was typed; incomplete characters wait for their rest."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self) -> list[str]:
        """The keys that came at once; ctrl-c when the terminal is gone."""
        try:
            data = os.read(self._descriptor, 4096)
        except OSError:
            data = b""
        return keys_of(self._decoder.decode(data)) if data else ["ctrl-c"]


@contextmanager
def single_keys() -> Iterator[int]:
    """The terminal's descriptor, giving each key at once and unseen, until the context ends."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    raw = termios.tcgetattr(descriptor)
    raw[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
    control = list(raw[6])
    # Ctrl-Z would leave the shell with our screen: it is not a key here.
    control[termios.VSUSP] = os.fpathconf(descriptor, "PC_VDISABLE").to_bytes(1, "little")
    raw[6] = control
    termios.tcsetattr(descriptor, termios.TCSADRAIN, raw)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
