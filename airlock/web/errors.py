"""One error shape, `{"error": "…", "details": …}`, and the one table from exceptions to statuses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from airlock.canonical import encode
from airlock.errors import (
    AirlockError,
    AlreadySettled,
    NoSuchRequest,
    NotPermitted,
    StoreError,
    UsageError,
    WireError,
)
from airlock.model import Status

log = logging.getLogger(__name__)

STATUSES: Mapping[type[AirlockError], int] = {
    WireError: 400,
    UsageError: 400,
    NotPermitted: 403,
    NoSuchRequest: 404,
    AlreadySettled: 409,
    StoreError: 503,
}
"""What each error of ours is on the wire; a subclass takes the entry of its nearest ancestor."""

GONE = frozenset({Status.EXPIRED, Status.CANCELLED})
"""An answer that comes after these is 410: nobody decided, the question is over."""

SECURITY_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class HttpError(AirlockError):
    """A request is refused with this status; the text is what the caller reads."""

    def __init__(
        self, status: int, message: str, *, details: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.details = details
        self.headers = dict(headers or {})
        super().__init__(message)


class JsonAnswer(Response):
    """A JSON body in our own encoding: exact integers, no escaping of what is not ASCII."""

    media_type = "application/json"

    def __init__(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(encode(value), status, {**SECURITY_HEADERS, **(headers or {})})


def error_answer(
    status: int, message: str, *, details: Any = None, headers: Mapping[str, str] | None = None
) -> JsonAnswer:
    """The one error shape."""
    return JsonAnswer({"error": message, "details": details}, status, headers)


def status_of(error: AirlockError) -> int:
    """The status for an error of ours; 500 for one that has no place in the table."""
    if isinstance(error, HttpError):
        return error.status
    if isinstance(error, AlreadySettled) and error.status in GONE:
        return 410
    for kind in type(error).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    return 500


def answer_airlock_error(_: Request, error: Exception) -> Response:
    """An error of ours as its status and its text; what is ours to mend is logged and not told."""
    if isinstance(error, HttpError):
        return error_answer(error.status, str(error), details=error.details, headers=error.headers)
    if isinstance(error, AlreadySettled):
        return error_answer(status_of(error), str(error), details={"status": error.status})
    if isinstance(error, StoreError):
        log.error("the database cannot be used: %s", error)
        return error_answer(503, "the database cannot be used", headers={"Retry-After": "1"})
    if isinstance(error, AirlockError) and status_of(error) != 500:
        return error_answer(status_of(error), str(error))
    log.error("a request failed: %s", error)
    return error_answer(500, "internal error")


def answer_http_exception(_: Request, error: Exception) -> Response:
    """The router's own 404 and 405 in our shape."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "no such route", 405: "method not allowed here"}.get(status, "refused")
    headers = getattr(error, "headers", None)
    return error_answer(status, text, headers=headers)


def answer_unexpected(_: Request, __: Exception) -> Response:
    """A defect of ours: the caller learns nothing of it; the server's log has the whole of it."""
    return error_answer(500, "internal error")
