"""AgentGate's errors: `{"error": {"code", "message"}}`."""

from __future__ import annotations

from starlette.responses import Response

from airlock.web import schemas
from airlock.web.errors import Fault, JsonAnswer

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "payload_too_large",
    421: "misdirected",
    429: "rate_limited",
}

SHAPE = schemas.record({"error": schemas.record({"code": schemas.TEXT, "message": schemas.TEXT})})


def render(fault: Fault) -> Response:
    """A fault as AgentGate writes it. What is over is a conflict too: its page knows no 410."""
    status = 409 if fault.status == 410 else fault.status
    code = CODES.get(status, "internal_error")
    return JsonAnswer({"error": {"code": code, "message": fault.message}}, status, fault.headers)
