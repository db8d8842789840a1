"""Lines of toned text: what `show`, `pending` and `watch` build, and how a narrow terminal folds them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import groupby
from typing import TypeAlias

from airlock.values import dataclass


class Tone(StrEnum):
    """How a piece of a line is meant; the renderer knows the colours."""

    PLAIN = "plain"
    DIM = "dim"
    HEAD = "head"
    CODE = "code"
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    MARK = "mark"
    GUTTER = "gutter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a line in one tone. Its text is already visible: no control is left in it."""

    text: str
    tone: Tone = Tone.PLAIN


Line: TypeAlias = tuple[Span, ...]

_MARKS = re.compile(r"(⟨[^⟨⟩]*⟩|⇥)")


def span(text: str, tone: Tone = Tone.PLAIN) -> Span:
    """A piece of our own words."""
    return Span(text=text, tone=tone)


def line(*pieces: Span | str) -> Line:
    """A line of pieces; bare strings are plain."""
    return tuple(span(piece) if isinstance(piece, str) else piece for piece in pieces)


def marked(text: str, tone: Tone = Tone.PLAIN) -> Line:
    """Visible text whose marks (`⟨U+202E⟩`) stand out."""
    pieces = _MARKS.split(text)
    return tuple(span(piece, Tone.MARK if place % 2 else tone) for place, piece in enumerate(pieces) if piece)


def text_of(pieces: Line) -> str:
    """The line without its tones."""
    return "".join(piece.text for piece in pieces)


def width_of(text: str) -> int:
    """How many terminal cells the text takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cell(char) for char in text)


def _cell(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def cut(pieces: Line, width: int) -> Line:
    """The line's first `width` cells: for rows of a list, never for what a person approves."""
    if width_of(text_of(pieces)) <= width:
        return pieces
    kept: list[Span] = []
    left = width
    for piece in pieces:
        end = 0
        for char in piece.text:
            left -= _cell(char)
            if left < 0:
                break
            end += 1
        kept.append(span(piece.text[:end], piece.tone))
        if left < 0:
            break
    return tuple(kept)


def hang() -> Span:
    """Stands where a line's label ends: what is folded goes on below the text, not below the label."""
    return Span(text="", tone=Tone.GUTTER)


def fold(lines: Iterable[Line], width: int) -> Iterator[Line]:
    """The same lines, none wider than `width`. Behind a gutter every character is kept and it goes on;
    other lines are parted between words."""
    for pieces in lines:
        if width_of(text_of(pieces)) <= width:
            yield pieces
        else:
            yield from _folded(pieces, max(8, width))


def _folded(pieces: Line, width: int) -> Iterator[Line]:
    lead = _lead(pieces)
    if not text_of(lead[-1:]).strip():
        yield from _parted(pieces[len(lead) :], lead, width)
        return
    room = max(4, width - width_of(text_of(lead)))
    row: list[Span] = []
    used = 0
    for piece in pieces[len(lead) :]:
        for chunk, cells in _chunks(piece, room, used):
            if used and used + cells > room:
                yield (*lead, *row)
                lead, row, used = _again(lead), [], 0
            row.append(chunk)
            used += cells
    yield (*lead, *row)


def _parted(pieces: Line, lead: Line, width: int) -> Iterator[Line]:
    """Rows that end between words; a word that is longer than a row is cut where the row ends."""
    cells = [(char, piece.tone) for piece in pieces for char in piece.text]
    while cells:
        room = max(4, width - width_of(text_of(lead)))
        end = _fitting(cells, room)
        rest = end
        if end < len(cells):
            text = "".join(char for char, _ in cells)
            blank = text.rfind(" ", 0, end + 1)
            if text[: max(0, blank)].strip() and len(text[blank + 1 :].partition(" ")[0]) <= room:
                end, rest = blank, blank + 1
        yield (*lead, *_spans(cells[:end]))
        cells, lead = cells[rest:], _again(lead)


def _fitting(cells: Sequence[tuple[str, Tone]], room: int) -> int:
    used = 0
    for place, (char, _) in enumerate(cells):
        used += _cell(char)
        if used > room:
            return max(1, place)
    return len(cells)


def _spans(cells: Iterable[tuple[str, Tone]]) -> Iterator[Span]:
    for tone, run in groupby(cells, key=lambda one: one[1]):
        yield span("".join(char for char, _ in run), tone)


def _lead(pieces: Line) -> Line:
    """The label and gutter in front, which stay in their column."""
    for place, piece in enumerate(pieces):
        if piece.tone is Tone.GUTTER:
            return pieces[: place + 1]
    return ()


def _again(lead: Line) -> Line:
    if not lead:
        return (span("    "),)
    gutter = lead[-1]
    blank = width_of(text_of(lead)) - width_of(gutter.text)
    return (span(" " * blank), span(gutter.text.replace("│", "┊"), Tone.GUTTER))


def _chunks(piece: Span, room: int, used: int) -> Iterator[tuple[Span, int]]:
    """Cut one span where a row is full; every character is kept."""
    start, cells, left = 0, 0, room - used if used < room else room
    for place, char in enumerate(piece.text):
        one = _cell(char)
        if cells + one > left and place > start:
            yield span(piece.text[start:place], piece.tone), cells
            start, cells, left = place, 0, room
        cells += one
    yield span(piece.text[start:], piece.tone), cells
