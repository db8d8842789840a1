"""One error shape, `{"error": "…", "details": …}`, and the one table from exceptions to statuses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from typing import Any, Protocol, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from airlock.canonical import encode
from airlock.errors import (
    AirlockError,
    AlreadySettled,
    Conflict,
    Ending,
    NoSuchRequest,
    NotPermitted,
    StoreError,
    UsageError,
    WireError,
)
from airlock.model import Status
from airlock.values import dataclass

log = logging.getLogger(__name__)

STATUSES: Mapping[type[AirlockError], int] = {
    WireError: 400,
    UsageError: 400,
    NotPermitted: 403,
    NoSuchRequest: 404,
    AlreadySettled: 409,
    StoreError: 503,
    Ending: 503,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What went wrong with one request, before it is written in anybody's shape.

    `error` is what was raised, None for the router's own 404 and 405 and for a defect of ours.
    """

    status: int
    message: str
    details: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    error: AirlockError | None = None
    request_id: str = ""

    def settled(self) -> Fault:
        """The same for an API without a 410: what is over, or was lost to somebody faster, is a conflict."""
        if not isinstance(self.error, (AlreadySettled, Conflict)):
            return self
        return replace(self, status=409, message=str(self.error), headers={})


class Renderer(Protocol):
    """Whoever writes the errors below some paths in a shape of its own."""

    @property
    def claims(self) -> tuple[str, ...]:
        """The prefixes of those paths."""
        ...

    @property
    def render(self) -> Callable[[Fault], Response]:
        """From a fault to an answer."""
        ...


def rendered(fault: Fault, scope: Scope, faces: Iterable[Renderer]) -> Response:
    """A fault in the shape that belongs to its path."""
    face = claiming(str(scope.get("path", "")), faces)
    if face is None:
        return error_answer(fault.status, fault.message, details=fault.details, headers=fault.headers)
    return face.render(replace(fault, request_id=str(scope.get("airlock.request_id", ""))))


F = TypeVar("F", bound=Renderer)


def claiming(path: str, faces: Iterable[F]) -> F | None:
    """The face that a path belongs to: the one with the longest prefix of it."""
    found = [(len(prefix), face) for face in faces for prefix in face.claims if path.startswith(prefix)]
    return max(found, key=lambda one: one[0])[1] if found else None


def faces_of(request: Request) -> Iterable[Renderer]:
    """The faces of the gateway that a request came to."""
    services = getattr(request.app.state, "services", None)
    return services.faces if services is not None else ()


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


def fault_of(error: Exception) -> Fault:
    """An error of ours as its status and its text; what is ours to mend is logged and not told."""
    if isinstance(error, HttpError):
        return Fault(
            status=error.status, message=str(error), details=error.details, headers=error.headers, error=error
        )
    if isinstance(error, AlreadySettled):
        details = {"status": error.status}
        return Fault(status=status_of(error), message=str(error), details=details, error=error)
    if isinstance(error, StoreError):
        log.error("the database cannot be used: %s", error)
        return Fault(
            status=503, message="the database cannot be used", headers={"Retry-After": "1"}, error=error
        )
    if isinstance(error, AirlockError) and status_of(error) != 500:
        headers = {"Retry-After": "1"} if isinstance(error, Ending) else {}
        return Fault(status=status_of(error), message=str(error), headers=headers, error=error)
    log.error("a request failed: %s", error)
    return Fault(status=500, message="internal error")


def answer_airlock_error(request: Request, error: Exception) -> Response:
    """An error of ours in the shape of its path."""
    return rendered(fault_of(error), request.scope, faces_of(request))


def answer_http_exception(request: Request, error: Exception) -> Response:
    """The router's own 404 and 405 in the shape of their path."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "no such route", 405: "method not allowed here"}.get(status, "refused")
    headers = getattr(error, "headers", None) or {}
    return rendered(Fault(status=status, message=text, headers=headers), request.scope, faces_of(request))


def answer_unexpected(request: Request, __: Exception) -> Response:
    """A defect of ours: the caller learns nothing of it; the server's log has the whole of it."""
    return rendered(Fault(status=500, message="internal error"), request.scope, faces_of(request))
