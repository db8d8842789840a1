"""SidClaw's error object: a code, a message, the status, and the id of the request."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from airlock.web import schemas
from airlock.web.errors import Fault, JsonAnswer
from airlock.web.routes import Reply

CODES = {
    400: "validation_error",
    401: "unauthorized",
    402: "plan_limit_reached",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "payload_too_large",
    421: "misdirected_request",
    429: "rate_limit_exceeded",
    503: "unavailable",
}

ERROR = schemas.record(
    {
        "error": {"type": "string", "enum": [*CODES.values(), "internal_error"]},
        "message": schemas.TEXT,
        "status": {"type": "integer"},
        "request_id": schemas.TEXT,
    },
    details={},
)


def render(fault: Fault) -> Response:
    """An error as SidClaw's clients read it: always an object; what is over is a conflict."""
    fault = fault.settled()
    body: dict[str, Any] = {
        "error": CODES.get(fault.status, "internal_error"),
        "message": fault.message,
        "status": fault.status,
        "request_id": fault.request_id,
    }
    if fault.details is not None:
        body["details"] = fault.details
    return JsonAnswer(body, fault.status, fault.headers)


MALFORMED = Reply("the body or a parameter is malformed", ERROR)
FORBIDDEN = Reply("the credential does not allow it", ERROR)
NOT_FOUND = Reply("there is none with this id, or it is another agent's", ERROR)
SETTLED = Reply("it is no longer in a state for this", ERROR)
