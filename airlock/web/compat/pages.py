"""A page of a list as `data` and `pagination`, for the APIs that write it so."""

from __future__ import annotations

from collections.abc import Sequence

from airlock.model import JsonObject
from airlock.web import schemas
from airlock.web.compat.query import Page
from airlock.web.routes import Reply

_PAGINATION = schemas.record({"total": schemas.COUNT, "limit": schemas.COUNT, "offset": schemas.COUNT})


def page_shape(rows: Sequence[JsonObject], total: int, part: Page) -> JsonObject:
    """A page of a list: how many there are in all, and which part of them this is."""
    return {"data": rows, "pagination": {"total": total, "limit": part.limit, "offset": part.offset}}


def page_reply(row: schemas.Schema) -> Reply:
    """The same for OpenAPI."""
    return Reply("a page", schemas.record({"data": schemas.listed(row), "pagination": _PAGINATION}))
