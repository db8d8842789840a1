"""Two rows of bars as one SVG file, written by hand: what a call costs, and how many a second pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

BAR: Final = 20
GAP: Final = 8
LEFT: Final = 165
WIDE: Final = 400
STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#444}.h{font-weight:600}.b{fill:#9db4c0}.o{fill:#2a6f97}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.b{fill:#5c7480}.o{fill:#61a5c2}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """One row of bars: a title, a value for each name, and how a value is written."""

    title: str
    values: Mapping[str, float]
    form: str


def draw(rows: Sequence[Bars], ours: str) -> str:
    """The SVG text. Names that begin with `ours` stand out."""
    parts: list[str] = []
    y = 10
    for row in rows:
        y += 18
        parts.append(f'<text class="h" x="0" y="{y}">{escape(row.title)}</text>')
        y += 10
        most = max(row.values.values(), default=0.0) or 1.0
        for name, value in row.values.items():
            kind = "o" if name.startswith(ours) else "b"
            wide = max(1.0, value / most * WIDE)
            middle = y + BAR - 6
            parts += [
                f'<text x="0" y="{middle}">{escape(name)}</text>',
                f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{wide:.1f}" height="{BAR}" rx="2"/>',
                f'<text x="{LEFT + wide + 6:.1f}" y="{middle}">{row.form.format(value)}</text>',
            ]
            y += BAR + GAP
        y += 12
    size = f'width="{LEFT + WIDE + 90}" height="{y}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><style>{STYLE}</style>'
    return head + "".join(parts) + "</svg>\n"
