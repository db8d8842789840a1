"""The long texts that a line only carries: blanked for the parser, and held against what it then finds.

The parser's time grows with the square of what looks like syntax and worse, and a client whose hook takes too
long runs the tool. So what is parsed is short: quoted texts and bodies of here-documents are replaced by
letters of the same length, and what is left beside them is bounded. A text that was taken for quoted and is
not makes the line one that is not understood.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tree_sitter import Node

MAX_BARE = 1_500
"""Characters of a line beside its long texts; with more it is not parsed."""

_TEXT = re.compile(
    r"""'(?P<single>[^']{64,})'
      | "(?P<double>[^"$`\\]{64,})"
      | <<(?P<tabs>-?)[ \t]*(?:(?P<quote>['"])(?P<name>[\w.!-]+)(?P=quote)|(?P<bare>[\w.-]+))""",
    re.VERBOSE,
)
_MOST = 100
"""Texts that are looked for; a line with more of them is long for other reasons."""

_EXPANDS = re.compile(r"[$`\\]")
_SIGN = re.compile(r"[^\n]")


class Text(NamedTuple):
    """One blanked stretch: `kind` is `single`, `double` or `body`."""

    kind: str
    start: int
    end: int


def texts_of(source: str) -> list[Text]:
    """The long texts of a line in their order, apart, as far as that can be told without a grammar."""
    found: list[Text] = []
    place, skip = 0, (len(source), len(source))
    for _ in range(_MOST):
        match = _TEXT.search(source, place)
        if match is None:
            break
        if match.end() > skip[0]:  # inside the body that was found on the line before, or over its start
            place, skip = max(skip[1], place), (len(source), len(source))
            continue
        place = match.end()
        kind = "single" if match["single"] is not None else "double"
        if match[kind] is not None:
            found.append(Text(kind, *match.span(kind)))
        elif body := _body(source, match):
            skip = body.start, body.end
            found.append(body)
    return _apart(found)


def _apart(texts: list[Text]) -> list[Text]:
    """In order, without those that begin inside another one: what is not blanked is parsed."""
    kept: list[Text] = []
    for text in sorted(texts, key=lambda text: text.start):
        if not kept or text.start >= kept[-1].end:
            kept.append(text)
    return kept


def _body(source: str, match: re.Match[str]) -> Text | None:
    """The body that a here-document begins; None where it ends nowhere, is short, or expands something."""
    start = source.find("\n", match.end()) + 1
    name = re.escape(match["name"] or match["bare"])
    tabs = r"\t*" if match["tabs"] else ""
    ending = re.compile(rf"^{tabs}{name}$", re.MULTILINE)
    end = ending.search(source, start) if start else None
    if end is None or end.start() - start < 64:
        return None
    if match["name"] is None and _EXPANDS.search(source, start, end.start()):
        return None
    return Text("body", start, end.start())


def blanked(source: str, texts: list[Text]) -> str:
    """The line with its long texts replaced by letters; every character keeps its place."""
    pieces: list[str] = []
    place = 0
    for text in texts:
        inside = source[text.start : text.end]
        pieces += [
            source[place : text.start],
            _SIGN.sub("x", inside) if text.kind == "body" else "x" * len(inside),
        ]
        place = text.end
    return "".join([*pieces, source[place:]])


def bare(source: str, texts: list[Text]) -> int:
    """How many characters are left for the parser to understand."""
    return len(source) - sum(text.end - text.start for text in texts)


def carried(root: Node, texts: list[Text]) -> bool:
    """True when the parser took each of them for what it was taken for."""
    return all(_carried(root, text) for text in texts)


def _carried(root: Node, text: Text) -> bool:
    node = root.descendant_for_byte_range(text.start, text.end)
    while node is not None:
        if text.kind == "single" and node.type == "raw_string":
            return (node.start_byte, node.end_byte) == (text.start - 1, text.end + 1)
        if text.kind == "double" and node.type == "string":
            plain = all(child.type in {'"', "string_content"} for child in node.children)
            return plain and (node.start_byte, node.end_byte) == (text.start - 1, text.end + 1)
        if text.kind == "body" and node.type == "heredoc_body":
            return node.start_byte <= text.start and node.end_byte >= text.end
        node = node.parent
    return False
