"""`POST /v1/dry-run`: what would be decided of an action; nothing is opened, recorded or run."""

from __future__ import annotations

from starlette.responses import Response

from airlock.web import schemas
from airlock.web.compat.asking import speaker
from airlock.web.compat.firewall.faults import ERROR, FORBIDDEN, MALFORMED
from airlock.web.compat.firewall.ruling import ruling
from airlock.web.compat.firewall.running import plan, runner
from airlock.web.compat.firewall.shapes import DECISION, OBJECT, decision_shape
from airlock.web.compat.firewall.submitted import BODY, call_of, submitted
from airlock.web.compat.firewall.words import (
    AT_ONCE,
    FACE,
    READ_POLICIES,
    graver,
)
from airlock.web.compat.query import text
from airlock.web.errors import JsonAnswer
from airlock.web.mcp import principal_of
from airlock.web.routes import Asked, Reply, Route


async def dry_run(asked: Asked) -> Response:
    """The decision alone."""
    services, who = asked.services, asked.who
    agent = speaker(services, FACE, who, text(asked.body, "agent_id", most=200))
    action = submitted(asked.body, agent).action
    config = runner(services, action.tool)
    if config is not None:
        plan(action, config)  # what may not be made is refused here as there
    overlay, risk = await ruling(services, action)
    call = call_of(services, action, principal_of(who, agent), overlay)
    decision = await services.gate.preview(call)
    risk = graver(risk, str(decision.terms.risk))
    return JsonAnswer(
        {
            "dry_run": True,
            "status": AT_ONCE[decision.effect],
            "tool": action.tool,
            "operation": action.operation,
            "agent_id": agent,
            "params": services.gate.shown(call, decision),
            "decision": decision_shape(decision.effect, decision.reason, risk, decision.rule),
            "matched": [one.rule for one in decision.matched if not one.observed],
        }
    )


ANSWER = schemas.record(
    {
        "dry_run": {"const": True},
        "status": {"type": "string", "enum": list(AT_ONCE.values())},
        "tool": schemas.TEXT,
        "operation": schemas.TEXT,
        "agent_id": schemas.TEXT,
        "params": OBJECT,
        "decision": DECISION,
        "matched": schemas.TEXTS,
    }
)

ROUTES = (
    Route(
        method="POST",
        path="/v1/dry-run",
        summary="What would be decided of an action, with no effect at all (Agent Action Firewall)",
        scopes=READ_POLICIES,
        people=True,
        serve=dry_run,
        body={
            **BODY,
            "properties": {
                **BODY["properties"],  # type: ignore[dict-item]
                "agent_id": {"type": ["string", "null"], "description": "whose policy to try"},
            },
        },
        error=ERROR,
        replies={
            200: Reply("the decision", ANSWER),
            400: MALFORMED,
            403: FORBIDDEN,
        },
    ),
)
