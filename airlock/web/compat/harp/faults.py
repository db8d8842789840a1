"""HARP's error envelope, with the flat pair beside it that some clients read in its place."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from airlock.web import schemas
from airlock.web.compat.harp.words import TEXT
from airlock.web.errors import Fault, HttpError, JsonAnswer
from airlock.web.routes import Reply

CODES = {
    400: "validation_error",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    410: "expired",
    413: "payload_too_large",
    421: "misdirected_request",
    422: "unprocessable",
    429: "quota_exceeded",
    503: "unavailable",
}

ERROR = schemas.record(
    {
        "msgType": {"const": "error"},
        "requestId": TEXT,
        "error": TEXT,
        "message": TEXT,
        "body": schemas.record({"code": TEXT, "message": TEXT, "requestId": TEXT}),
    }
)


def refused(status: int, code: str, message: str, request_id: str = "", **more: Any) -> HttpError:
    """An error with one of HARP's codes."""
    return HttpError(status, message, details={"harp": code, "request": request_id}, **more)


def render(fault: Fault) -> Response:
    """An error as HARP's clients read it."""
    fault = fault.settled()
    details = fault.details if isinstance(fault.details, dict) else {}
    code = details.get("harp") or CODES.get(fault.status, "internal_error")
    request_id = details.get("request", "")
    body = {
        "msgType": "error",
        "requestId": request_id,
        "error": code,
        "message": fault.message,
        "body": {"code": code, "message": fault.message, "requestId": request_id},
    }
    return JsonAnswer(body, fault.status, fault.headers)


MALFORMED = Reply("the body or a parameter is malformed", ERROR)
NOT_FOUND = Reply("there is none with this id, or it is another's", ERROR)
CONFLICT = Reply("it is no longer in a state for this, or something else has this id", ERROR)
GONE = Reply("its time is over, or it was withdrawn", ERROR)
REFUSED = Reply("no approver, already expired, or it cannot be decrypted", ERROR)
