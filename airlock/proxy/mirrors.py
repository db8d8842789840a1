"""Arguments that a tool wants repeated in a header (`x-mcp-header`): what a request's headers must then say.

An intermediary may route by those headers, so one that differs from the body is refused (2026-07-28,
custom headers). The body is what is judged and sent.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from airlock.model import JsonObject

KEY: Final = "x-mcp-header"
PREFIX: Final = "mcp-param-"
MAX_DEPTH: Final = 32

NAMES: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""Which member of the params is repeated in `Mcp-Name`."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL: Final = re.compile(r"-?[0-9]+(\.0+)?")
_TYPES: Final = frozenset({"string", "integer", "boolean"})


def problem(schema: Any, arguments: Any, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The name of the first header that does not fit the arguments; "" when all do.

    A schema whose annotations are wrong asks for nothing: clients leave such a tool out.
    """
    wanted = list(_annotated(schema, ())) if isinstance(schema, dict) else []
    if not wanted or not _sound(wanted):
        return ""
    sent: dict[str, list[str]] = {}
    for key, value in headers:
        name = key.decode("latin-1").lower()
        if name.startswith(PREFIX):
            sent.setdefault(name, []).append(value.decode("latin-1").strip(" \t"))
    for path, kind, header in wanted:
        found = sent.get(PREFIX + header.lower(), [])
        if len(found) > 1 or not _fits(_at(arguments, path), kind, found[0] if found else None):
            return f"Mcp-Param-{header}"
    return ""


def _annotated(schema: JsonObject, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Every annotation that can be reached through `properties` alone: path, type, header."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or len(path) >= MAX_DEPTH:
        return
    for name, inner in properties.items():
        if isinstance(inner, dict):
            if KEY in inner:
                yield (*path, name), inner.get("type"), inner[KEY]
            yield from _annotated(inner, (*path, name))


def _sound(wanted: list[tuple[tuple[str, ...], Any, Any]]) -> bool:
    names = [
        header.lower() for _, _, header in wanted if isinstance(header, str) and _TOKEN.fullmatch(header)
    ]
    kinds = all(isinstance(kind, str) and kind in _TYPES for _, kind, _ in wanted)
    return kinds and len(names) == len(wanted) == len(set(names))


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, dict) else None
    return arguments


def _fits(value: Any, kind: str, sent: str | None) -> bool:
    """True when header and argument say the same, or are both absent."""
    words = _words(value)
    if words is None or sent is None:
        return words is None and sent is None
    meant = decoded(sent)
    if meant is None:
        return False
    if kind == "integer" and not isinstance(value, bool) and _DECIMAL.fullmatch(meant):
        return meant.partition(".")[0] == words.partition(".")[0] and float(value).is_integer()
    return meant == words


def _words(value: Any) -> str | None:
    """How a client writes the value; None when there is nothing to write."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else None


def encoded(value: str) -> str:
    """A value as a header can carry it: wrapped where a header would change it."""
    plain = value.isascii() and value.isprintable() and value == value.strip()
    if plain and not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decoded(value: str) -> str | None:
    """A header value as it was meant: `=?base64?…?=` is unwrapped; None when that is broken."""
    if not (value.startswith("=?base64?") and value.endswith("?=") and len(value) >= 11):
        return value
    payload = value[9:-2]
    try:
        data = base64.b64decode(payload, validate=True)
        return data.decode() if base64.b64encode(data).decode() == payload else None
    except (binascii.Error, UnicodeDecodeError):
        return None
