"""Changing one value in somebody's JSON or TOML, and not one byte beside it.

JSON may have comments and trailing commas, as editors allow. Every result is read again and compared, so a
file that this does not understand is refused, never damaged.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from airlock.errors import UsageError

_NOISE = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_COMMA = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)
_SPACE = re.compile(r"\s*")


def plain_json(text: str) -> str:
    """The text with comments and trailing commas made blank; every character keeps its place."""
    return _COMMA.sub(_blanked, _NOISE.sub(_blanked, text))


def _blanked(found: re.Match[str]) -> str:
    piece = found[0]
    return piece if piece.startswith('"') else re.sub(r"[^\n]", " ", piece)


def read_json(text: str) -> dict[str, Any]:
    """The object in a JSON file with comments; UsageError when it is none."""
    try:
        value = json.loads(plain_json(text.removeprefix("\ufeff")) or "{}")
    except ValueError as error:
        raise UsageError(f"it is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageError("it is not a JSON object")
    return value


def replace_json(text: str, path: Sequence[str], value: Any) -> str:
    """The text with the value at `path` replaced; the path must be there."""
    plain = plain_json(text)
    start = _SPACE.match(plain, 1 if plain.startswith("\ufeff") else 0).end()  # type: ignore[union-attr]
    for key in path:
        start = _member(plain, start, key)
    _, end = json.JSONDecoder().raw_decode(plain, start)
    return text[:start] + _indented(value, text, start) + text[end:]


def put_json(text: str, path: Sequence[str], value: Any) -> str:
    """The text with the value at `path` replaced, or put there as the last member of its object.

    Objects on the way that are missing are made. An empty text is an empty object.
    """
    if not text.strip("\ufeff \t\r\n"):
        return json.dumps(_nested(path, value), ensure_ascii=False, indent=2) + "\n"
    known = read_json(text)
    for depth, key in enumerate(path):
        if not isinstance(known, dict):
            raise UsageError(f"`{'.'.join(path[:depth])}` is not an object")
        if key not in known:
            return _inserted(text, path[:depth], key, _nested(path[depth + 1 :], value))
        known = known[key]
    return replace_json(text, path, value)


def _nested(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _inserted(text: str, path: Sequence[str], key: str, value: Any) -> str:
    """The text with one more member at the end of the object at `path`."""
    blank = _NOISE.sub(_blanked, text)
    plain = _COMMA.sub(_blanked, blank)
    start = _SPACE.match(plain, 1 if plain.startswith("\ufeff") else 0).end()  # type: ignore[union-attr]
    for step in path:
        start = _member(plain, start, step)
    _, end = json.JSONDecoder().raw_decode(plain, start)
    last = len(plain[: end - 1].rstrip()) - 1
    comma = blank.find(",", last + 1, end - 1)
    margin, unit = _margin(text, start)
    written = json.dumps({key: value}, ensure_ascii=False, indent=unit)[1:-1].rstrip("\n")
    written = written.replace("\n", f"\n{margin}")
    if last == start:  # an empty object
        return f"{text[: start + 1]}{written}\n{margin}{text[end - 1 :]}"
    if comma >= 0:
        return f"{text[: comma + 1]}{written}{text[comma + 1 :]}"
    return f"{text[: last + 1]},{written}{text[last + 1 :]}"


def _member(plain: str, start: int, key: str) -> int:
    """Where the value of `key` begins, in the object that begins at `start`; the last one of twins counts."""
    if plain[start : start + 1] != "{":
        raise UsageError(f"`{key}` is not in an object")
    found = -1
    place = _skip(plain, start + 1)
    while plain[place] != "}":
        name, place = json.JSONDecoder().raw_decode(plain, place)
        place = _skip(plain, _skip(plain, place) + 1)
        if name == key:
            found = place
        _, place = json.JSONDecoder().raw_decode(plain, place)
        place = _skip(plain, place)
        if plain[place] == ",":
            place = _skip(plain, place + 1)
    if found < 0:
        raise UsageError(f"`{key}` is not there")
    return found


def _skip(plain: str, place: int) -> int:
    return _SPACE.match(plain, place).end()  # type: ignore[union-attr]


def _indented(value: Any, text: str, start: int) -> str:
    """The value as JSON, indented like the line on which it begins."""
    margin, unit = _margin(text, start)
    rows = json.dumps(value, ensure_ascii=False, indent=unit).split("\n")
    return f"\n{margin}".join(rows)


def _margin(text: str, start: int) -> tuple[str, str]:
    """The indent of the line that holds this place, and by how much it grows."""
    line = text[text.rfind("\n", 0, start) + 1 : start]
    margin = line[: len(line) - len(line.lstrip("\ufeff \t"))].lstrip("\ufeff")
    tabs = "\t" in margin or (not margin and "\n\t" in text)
    return margin, "\t" if tabs else "  "


_TABLE = re.compile(r"^\s*\[")


def replace_toml_tables(text: str, name: str, tables: Mapping[str, Any]) -> str:
    """The text with all `[name.…]` tables replaced by these; UsageError when it is written another way."""
    ours = re.compile(rf"^\s*\[\s*(?:{name}|\"{name}\")\s*(?:\.|\])")
    kept: list[str] = []
    dropping = False
    for row in text.splitlines(keepends=True):
        if _TABLE.match(row):
            dropping = ours.match(row) is not None
        if not dropping:
            kept.append(row)
    body = "".join(kept)
    if body and not body.endswith("\n"):
        body += "\n"
    whole = body + "".join(f"\n[{name}.{key}]\n{_toml(value)}" for key, value in tables.items())
    try:
        wanted = {**tomllib.loads(text), name: dict(tables)}
        same = tomllib.loads(whole) == wanted
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise UsageError(f"its `{name}` are not written as `[{name}.NAME]` tables: change it by hand")
    return whole


def add_toml_table(text: str, name: str, table: Mapping[str, Any]) -> str:
    """The text with one more table at its end; UsageError when it has one of that name."""
    before = text if not text or text.endswith("\n") else text + "\n"
    whole = before + ("\n" if text else "") + f"[{name}]\n{_toml(table)}"
    try:
        tomllib.loads(whole)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"`[{name}]` cannot be added: {error}") from None
    return whole


def _toml(table: Mapping[str, Any]) -> str:
    # A JSON string or list of strings is TOML as well, once DEL is escaped.
    rows = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())
    return "".join(rows).replace("\x7f", "\\u007f")
