"""The firewall's errors: `{"error": "VALIDATION_ERROR", "message", "details": {"field", "issue"}}`."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from airlock.web import schemas
from airlock.web.errors import Fault, JsonAnswer
from airlock.web.routes import Reply

CODES = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    421: "MISDIRECTED_REQUEST",
    429: "RATE_LIMITED",
    500: "INTERNAL_ERROR",
    503: "UNAVAILABLE",
}

ERROR = schemas.record(
    {"error": {"type": "string", "enum": list(CODES.values())}, "message": schemas.TEXT}, details={}
)

_NAMED = re.compile(r"`([^`]{1,200})`:? *(.+)", re.DOTALL)


def render(fault: Fault) -> Response:
    """A fault as this API writes it. What is over is a conflict too: its page knows no 410."""
    status = 409 if fault.status == 410 else fault.status
    body: dict[str, Any] = {"error": CODES.get(status, "INTERNAL_ERROR"), "message": fault.message}
    details = _field(fault.message) if status == 400 and fault.details is None else fault.details
    if details is not None:
        body["details"] = details
    return JsonAnswer(body, status, fault.headers)


def _field(message: str) -> dict[str, str]:
    """Which member of the body or query is wrong, and how: our messages begin with it."""
    found = _NAMED.match(message)
    return {"field": found[1], "issue": found[2]} if found else {"field": "body", "issue": message}


MALFORMED = Reply("the body or a parameter is malformed", ERROR)
FORBIDDEN = Reply("the credential does not allow it", ERROR)
NOT_FOUND = Reply("there is none with this id, or it is another agent's", ERROR)
CONFLICT = Reply("it is no longer in a state for this, or lost a race", ERROR)

DROPPED = {
    200: Reply("dropped", schemas.record({"success": {"const": True}, "id": schemas.TEXT})),
    404: NOT_FOUND,
    409: CONFLICT,
}
"""What a route answers that drops something."""
