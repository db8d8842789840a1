"""Rows in columns for a terminal of any width: what does not fit beside goes below its row. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airlock.cli.lines import Line, Span, Tone, hang, line, span, width_of

GAP = 2
INDENT = "    "


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[Line]:
    """Names, a rule, and the rows. Only the leading columns stand beside each other when not all of them fit;
    the others follow below their row, each with its name."""
    widths = [max(map(width_of, column)) for column in zip(columns, *rows, strict=True)]
    beside = _fitting(widths, width)
    sizes = widths[:beside]
    yield _row(columns[:beside], sizes, Tone.HEAD)
    yield line(span("─" * min(width, sum(sizes) + GAP * (beside - 1)), Tone.DIM))
    for row in rows:
        yield _row(row[:beside], sizes, Tone.PLAIN)
        below = [(name, cell) for name, cell in zip(columns[beside:], row[beside:], strict=True) if cell]
        if below:
            yield line(INDENT, hang(), *_named(below))


def _fitting(widths: Sequence[int], width: int) -> int:
    """How many leading columns fit beside each other: at least the first."""
    used = -GAP
    for place, size in enumerate(widths):
        used += size + GAP
        if used > width:
            return max(1, place)
    return len(widths)


def _row(cells: Sequence[str], sizes: Sequence[int], tone: Tone) -> Line:
    padded = [cell + " " * (size - width_of(cell)) for cell, size in zip(cells, sizes, strict=True)]
    return line(span((" " * GAP).join(padded).rstrip(), tone))


def _named(below: Sequence[tuple[str, str]]) -> Iterator[Span]:
    for place, (name, cell) in enumerate(below):
        yield span(f"{'   ' if place else ''}{name} ", Tone.DIM)
        yield span(cell)
