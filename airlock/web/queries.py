"""One value out of the query of a URL."""

from __future__ import annotations

from starlette.datastructures import QueryParams

from airlock.errors import UsageError


def one(query: QueryParams, name: str) -> str:
    """The one value of a parameter, "" when it is absent; twice is an error, for which would count?"""
    values = query.getlist(name)
    if len(values) > 1:
        raise UsageError(f"`{name}` is given more than once")
    return values[0] if values else ""
