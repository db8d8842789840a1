"""One shell word from its text: what the shell will make of it, or that only the shell can know.

This reads the raw text by itself and does not believe the parser about quotes: where the two disagree on
what is one word, `Misread` is raised and the line counts as not understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from airlock.values import dataclass


class Misread(Exception):
    """The text is not exactly one word as this module reads the shell's rules."""


class WordKind(StrEnum):
    """How much of a word is known before the shell runs."""

    LITERAL = "literal"
    GLOB = "glob"
    NUMBER = "number"
    OPAQUE = "opaque"

    @property
    def weight(self) -> int:
        """The larger one wins when pieces are joined."""
        return _WEIGHTS[self]


_WEIGHTS = {WordKind.LITERAL: 0, WordKind.NUMBER: 1, WordKind.GLOB: 2, WordKind.OPAQUE: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """An expansion that the parser found, by its place in the line.

    `text` is its value where that is known, `named` is true for `$NAME` and `${NAME}`. `plain` marks these
    and `$(…)`: forms whose expansion itself does nothing beyond what is judged elsewhere.
    """

    start: int
    end: int
    kind: WordKind = WordKind.OPAQUE
    text: str = ""
    plain: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word. `text` is its value for LITERAL, else the text as written.

    `plain` is true when all that is unknown in it is a plain expansion; `quoted` when every expansion
    stands in double quotes, so that it stays one word.
    """

    raw: str
    text: str
    kind: WordKind = WordKind.LITERAL
    plain: bool = True
    quoted: bool = True

    @property
    def literal(self) -> bool:
        """True when the shell passes exactly `text`."""
        return self.kind is WordKind.LITERAL

    def opaque(self) -> Word:
        """The same word as one that nobody can know in advance."""
        return replace(self, kind=WordKind.OPAQUE, plain=False)


def literal(text: str) -> Word:
    """A word whose value is known."""
    return Word(raw=text, text=text)


_META = frozenset(" \t\n|&;()<>")
_EXPANDS = re.compile(r"[A-Za-z0-9_{(\[@*#?$!=~^+-]")  # zsh knows `$=x`, `$~x`, `$^x` and `$+x`
_ZSH_MORE = re.compile(r"\[|:[A-Za-z&]")
_BRACES = re.compile(r"\{.*?(?:,|\.\.).*\}", re.DOTALL)
_PLAIN_VALUE = re.compile(r"[\w./@+-]*", re.ASCII)
_ANSI = re.compile(
    r"\\(?:([abeEfnrtv\\'\"])|([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8}))"
)
_ANSI_LETTERS = {
    "a": 7, "b": 8, "e": 27, "E": 27, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11,
    "\\": 92, "'": 39, '"': 34,
}  # fmt: skip


class _Reader:
    """The state of reading one word, character by character."""

    __slots__ = ("end", "holes", "home", "kind", "out", "place", "plain", "quoted", "source", "start")

    def __init__(self, source: str, start: int, end: int, holes: Mapping[int, Hole], home: str) -> None:
        self.source = source
        self.start = self.place = start
        self.end = end
        self.holes = holes
        self.home = home
        self.out: list[str] = []
        self.kind = WordKind.LITERAL
        self.plain = True
        self.quoted = True

    def raise_to(self, kind: WordKind, *, plain: bool = False, quoted: bool = False) -> None:
        if kind.weight > self.kind.weight:
            self.kind = kind
        if kind is WordKind.OPAQUE:
            self.plain = self.plain and plain
            self.quoted = self.quoted and quoted

    def begins(self) -> bool:
        """True while there is nothing of the word but empty quotes: zsh expands `''~` and `""=ls`."""
        return not any(self.out) and self.kind is WordKind.LITERAL

    def find(self, sign: str) -> int:
        at = self.source.find(sign, self.place, self.end)
        if at < 0:
            raise Misread(f"no closing {sign}")
        return at

    def expansion(self, *, quoted: bool) -> bool:
        """Take an expansion that begins here; False when there is none."""
        hole = self.holes.get(self.place)
        if hole is not None and hole.end <= self.end:
            self.take(hole, quoted=quoted)
            return True
        sign = self.source[self.place]
        following = self.source[self.place + 1 : self.place + 2] if self.place + 1 < self.end else ""
        if sign == "`" or (sign == "$" and _EXPANDS.match(following)):
            raise Misread("an expansion that the parser did not see")
        return False

    def take(self, hole: Hole, *, quoted: bool) -> None:
        known = hole.kind is WordKind.LITERAL and (quoted or _PLAIN_VALUE.fullmatch(hole.text))
        if hole.named and _ZSH_MORE.match(self.source, hole.end, self.end):
            self.raise_to(WordKind.OPAQUE)  # `$x[1]` and `$x:h` mean more in zsh
        elif known:
            self.out.append(hole.text)
        else:
            kind = WordKind.OPAQUE if hole.kind is WordKind.LITERAL else hole.kind
            self.raise_to(kind, plain=hole.plain, quoted=quoted)
        self.place = hole.end

    def single(self) -> None:
        self.place += 1
        close = self.find("'")
        self.out.append(self.source[self.place : close])
        self.place = close + 1

    def double(self) -> None:
        self.place += 1
        while True:
            if self.place >= self.end:
                raise Misread('no closing "')
            if self.source[self.place] == '"':
                self.place += 1
                return
            self.inside_double('$`"\\')

    def inside_double(self, escapable: str) -> None:
        """One step where only `$`, backtick and backslash mean something."""
        sign = self.source[self.place]
        if sign == "\\" and self.place + 1 < self.end:
            following = self.source[self.place + 1]
            if following != "\n":
                self.out.append(following if following in escapable else "\\" + following)
            elif self.source[self.place - 1] == "$":
                raise Misread("a line ends inside an expansion")
            self.place += 2
        elif not self.expansion(quoted=True):
            self.out.append(sign)
            self.place += 1

    def ansi(self) -> None:
        """`$'…'`: only the escapes on which all shells agree."""
        self.place += 2
        data = bytearray()
        while True:
            if self.place >= self.end:
                raise Misread("no closing '")
            sign = self.source[self.place]
            if sign == "'":
                break
            if sign == "\\":
                self.escape(data)
            else:
                data += sign.encode()
                self.place += 1
        self.place += 1
        if b"\0" in data:
            self.raise_to(WordKind.OPAQUE)
        try:
            self.out.append(data.decode())
        except UnicodeDecodeError:
            self.raise_to(WordKind.OPAQUE)

    def escape(self, data: bytearray) -> None:
        found = _ANSI.match(self.source, self.place, self.end)
        if found is None:
            self.raise_to(WordKind.OPAQUE)
            self.place += 2
            return
        letter, octal, hexes, short, long = found.groups()
        self.place = found.end()
        if letter:
            data.append(_ANSI_LETTERS[letter])
        elif octal:
            data.append(int(octal, 8) & 0xFF)
        elif hexes:
            data.append(int(hexes, 16))
        else:
            self.code_point(int(short or long, 16), data)

    def code_point(self, number: int, data: bytearray) -> None:
        if number > 0x10FFFF or 0xD800 <= number < 0xE000 or number >= 0x80:
            self.raise_to(WordKind.OPAQUE)  # what these become depends on the locale
        else:
            data.append(number)

    def tilde(self) -> None:
        before = self.source[self.place - 1] if self.place > self.start else ""
        following = self.source[self.place + 1 : self.end][:1]
        if not before and following in {"", "/"} and self.home and _PLAIN_VALUE.fullmatch(self.home):
            self.out.append(self.home)
        elif not before or before in "=:" or self.begins():
            self.raise_to(WordKind.OPAQUE)
        else:
            self.out.append("~")
        self.place += 1

    def bare(self, sign: str) -> None:
        """A character outside quotes that is none of the quoting signs."""
        first = self.place == self.start
        if sign in _META or (sign == "#" and first):
            raise Misread("a word ends inside the word")
        if sign in "*?" or (sign == "[" and "]" in self.source[self.place + 2 : self.end]):
            self.raise_to(WordKind.GLOB)
        elif (sign == "{" and _BRACES.match(self.source, self.place, self.end)) or (
            sign == "="
            and self.begins()
            and not (first and self.source[self.place : self.end] in {"=", "==", "=~"})
        ):
            self.raise_to(WordKind.OPAQUE)  # braces make several words; `=name` is a path in zsh
        self.out.append(sign)
        self.place += 1

    def backslash(self) -> None:
        if self.place + 1 >= self.end:
            raise Misread("a backslash at the end")
        following = self.source[self.place + 1]
        if following == "\n":
            self.raise_to(WordKind.OPAQUE)  # it may join a `$`, a `~` or a `#` to what follows
        else:
            self.out.append(following)
        self.place += 2

    def dollar(self) -> None:
        following = self.source[self.place + 1 : self.end][:1]
        if following == "'":
            self.ansi()
        elif following == '"':
            self.raise_to(WordKind.OPAQUE)  # bash translates it, other shells keep the dollar
            self.place += 1
        elif not self.expansion(quoted=False):
            self.out.append("$")
            self.place += 1

    def step(self) -> None:
        sign = self.source[self.place]
        if sign == "'":
            self.single()
        elif sign == '"':
            self.double()
        elif sign == "\\":
            self.backslash()
        elif sign == "$":
            self.dollar()
        elif sign == "~":
            self.tilde()
        elif self.place in self.holes or sign == "`":
            self.expansion(quoted=False)
        else:
            self.bare(sign)

    def word(self) -> Word:
        raw = self.source[self.start : self.end]
        text = "".join(self.out) if self.kind is WordKind.LITERAL else raw
        return Word(raw=raw, text=text, kind=self.kind, plain=self.plain, quoted=self.quoted)


def read_word(source: str, start: int, end: int, holes: Sequence[Hole], home: str = "") -> Word:
    """The word at `source[start:end]`; Misread when that is not one word."""
    reader = _Reader(source, start, end, {hole.start: hole for hole in holes}, home)
    while reader.place < end:
        reader.step()
    if reader.place != end or start == end:
        raise Misread("an expansion passes the end of the word")
    return reader.word()


def read_body(source: str, start: int, end: int, holes: Sequence[Hole]) -> Word:
    """The body of a here-document whose delimiter is not quoted: like double quotes, `"` literal."""
    reader = _Reader(source, start, end, {hole.start: hole for hole in holes}, "")
    while reader.place < end:
        reader.inside_double("$`\\")
    return reader.word()
