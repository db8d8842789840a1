"""The only Console: tables and colours on a terminal, plain lines elsewhere, JSON when it is asked for.

Nothing is ever read as markup: text from agents cannot colour, link or move anything.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from airlock.cli.lines import Line, Tone, fold, line, text_of
from airlock.cli.tables import table
from airlock.visible import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES = {
    Tone.PLAIN: "",
    Tone.DIM: "dim",
    Tone.HEAD: "bold",
    Tone.CODE: "bold cyan",
    Tone.GOOD: "green",
    Tone.BAD: "bold red",
    Tone.WARN: "yellow",
    Tone.MARK: "reverse magenta",
    Tone.GUTTER: "dim cyan",
}


@cache
def console() -> Console:
    """Standard output as rich sees it."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False, soft_wrap=True)


def on_terminal() -> bool:
    """True when a person reads stdout directly."""
    return sys.stdout.isatty()


def as_text(pieces: Line) -> Text:
    """A line in rich's form; its text is data, never markup."""
    from rich.text import Text

    return Text.assemble(*((piece.text, STYLES[piece.tone]) for piece in pieces), no_wrap=True, end="")


def put_lines(lines: Iterable[Line]) -> None:
    """Print lines: folded and coloured on a terminal, whole and plain elsewhere."""
    if not on_terminal():
        for pieces in lines:
            put(text_of(pieces))
        return
    for pieces in fold(lines, console().width):
        console().print(as_text(pieces))


def put(text: str = "") -> None:
    """Print one line of our own words or of visible text."""
    sys.stdout.write(text + "\n")


def put_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def put_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal, elsewhere tab-separated lines below their names; every cell is made visible."""
    shown = [[visible(cell) for cell in row] for row in rows]
    if not on_terminal():
        for row in (columns, *shown):
            put("\t".join(row))
        return
    put_lines([line(""), *table(columns, shown, console().width), line("")])


def complain(text: str) -> None:
    """Say on stderr what went wrong, one line a problem."""
    for one in text.splitlines() or [""]:
        sys.stderr.write(f"airlock: {visible(one)}\n")


def ring() -> None:
    """The bell of the terminal."""
    if on_terminal():
        console().bell()
