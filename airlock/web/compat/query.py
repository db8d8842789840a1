"""What every face reads from a query or a body in the same way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.datastructures import QueryParams

from airlock.errors import UsageError
from airlock.web.queries import one
from airlock.web.routes import Parameter

_NUMBER = re.compile(r"[0-9]{1,9}\Z", re.ASCII)


def number(query: QueryParams, name: str, usual: int, *, least: int = 0, most: int = 10**9 - 1) -> int:
    """A whole number, `usual` when it is absent; UsageError outside its bounds."""
    text = one(query, name)
    if not text:
        return usual
    if not _NUMBER.match(text) or not least <= int(text) <= most:
        raise UsageError(f"`{name}` must be a whole number from {least} to {most}")
    return int(text)


class Page(NamedTuple):
    """Which part of a list is wanted."""

    limit: int
    offset: int

    def shape(self, total: int) -> dict[str, Any]:
        """`pagination` as most of these APIs write it."""
        return {
            "total": total,
            "limit": self.limit,
            "offset": self.offset,
            "hasMore": self.offset + self.limit < total,
        }


def page(query: QueryParams, *, usual: int, most: int) -> Page:
    """`limit` and `offset`."""
    return Page(number(query, "limit", usual, least=1, most=most), number(query, "offset", 0))


def page_parameters(usual: int, most: int) -> tuple[Parameter, ...]:
    """The same for OpenAPI."""
    text = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": most}, {"const": ""}]}
    return (
        Parameter(
            name="limit", place="query", schema=text, description=f"At most so many; {usual} unless given."
        ),
        Parameter(
            name="offset",
            place="query",
            schema={"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10**9 - 1}, {"const": ""}]},
            description="How many to leave out first.",
        ),
    )


def text(body: Mapping[str, Any], name: str, *, most: int = 2_000, required: bool = False) -> str:
    """A member that is text; "" when it is absent or null. UsageError names it."""
    value = body.get(name)
    if value is None and not required:
        return ""
    if name not in body:
        raise UsageError(f"`{name}` is missing")
    if not isinstance(value, str) or (required and not value.strip()) or len(value) > most:
        raise UsageError(f"`{name}` must be text of at most {most} characters")
    return value


def mapping(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object; an empty one when it is absent or null."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"`{name}` must be an object")
    return value


def flag(body: Mapping[str, Any], name: str, *, usual: bool) -> bool:
    """A member that is true or false."""
    value = body.get(name, usual)
    if not isinstance(value, bool):
        raise UsageError(f"`{name}` must be true or false")
    return value


def whole(body: Mapping[str, Any], name: str, usual: int | None, *, least: int, most: int) -> int | None:
    """A member that is a whole number; `usual` when it is absent or null."""
    value = body.get(name)
    if value is None:
        return usual
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UsageError(f"`{name}` must be a whole number from {least} to {most}")
    return value
