"""JSON for `airlock hook`: the scanner of the standard library without its package.

To import `json`, and `re` with it, costs half as much as to start the interpreter.
"""

from __future__ import annotations

from _json import make_scanner

BLANKS = " \t\n\r"


def _constant(name: str) -> None:
    raise ValueError(f"`{name}` is not JSON")


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice: two readers would see two things")
    return found


class _Plain:
    """What the scanner asks a decoder for."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_members)
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_constant)


_scan = make_scanner(_Plain())  # type: ignore[arg-type]  # typeshed knows one context only


def loads(data: bytes) -> object:
    """The value of one JSON text in UTF-8; ValueError when it is anything else, or RecursionError."""
    text = data.decode("utf-8").strip(BLANKS)
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        raise ValueError("no JSON value") from None
    if end != len(text):
        raise ValueError("something stands behind the JSON value")
    return value
