"""What is told about a request: bounded text and plain facts, with no control character left in them.

The code is in it, because it goes to people; the arguments are in it cut, because a message is not the place
to judge them: `airlock show CODE` is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from airlock.model import ApprovalRequest, JsonObject
from airlock.views import iso
from airlock.visible import bounded

What: TypeAlias = Literal["opened", "settled"]

MAX_FIELD = 400
MAX_ARGUMENTS = 2000


def headline(what: What, request: ApprovalRequest) -> str:
    """One sentence for a screen, a phone or a log."""
    agent, tool = bounded(request.agent, 80), bounded(request.tool, 160)
    if what == "opened":
        return f"airlock: {agent} asks to run {tool} — airlock approve {request.code}"
    return f"airlock: {request.code} ({agent}, {tool}) is {request.status}"


def facts(what: What, request: ApprovalRequest) -> JsonObject:
    """The facts as flat JSON, for a program to read."""
    return {
        "event": f"request.{what}",
        "text": headline(what, request),
        "id": request.id,
        "code": request.code,
        "status": str(request.status),
        "agent": bounded(request.agent, MAX_FIELD),
        "tool": bounded(request.tool, MAX_FIELD),
        "arguments": bounded(request.arguments, MAX_ARGUMENTS),
        "rule": bounded(request.rule, MAX_FIELD),
        "reason": bounded(request.reason, MAX_FIELD),
        "risk": str(request.risk),
        "workspace": bounded(request.origin.workspace, MAX_FIELD),
        "directory": bounded(request.origin.cwd, MAX_FIELD),
        "client": bounded(request.origin.client, MAX_FIELD),
        "created_at": iso(request.created_at),
        "expires_at": iso(request.expires_at),
        "decided_by": bounded(request.decided_by, MAX_FIELD),
    }


def environment(news: Mapping[str, object]) -> dict[str, str]:
    """The same facts as `AIRLOCK_…` variables, for a script."""
    return {f"AIRLOCK_{name.upper()}": str(value) for name, value in news.items()}
