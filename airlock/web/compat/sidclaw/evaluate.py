"""POST /evaluate: may this agent do that? Answered at once, whatever the answer: clients give it 2.5 s."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import NotPermitted, UsageError
from airlock.model import Effect, Status
from airlock.ports_faces import Record
from airlock.web import schemas
from airlock.web.auth import Credential
from airlock.web.compat.asking import KIND, Ask, Kept, ask, records_of
from airlock.web.compat.query import mapping, text
from airlock.web.compat.sidclaw.agents import Agent, agent_of
from airlock.web.compat.sidclaw.faults import ERROR, FORBIDDEN, MALFORMED, NOT_FOUND
from airlock.web.compat.sidclaw.policies import NO_MATCH, Evaluation, overlay, policy_id
from airlock.web.compat.sidclaw.words import (
    CLASSIFICATIONS,
    DECISIONS,
    FACE,
    RISKS,
    dashed,
    graver,
    risk_word,
)
from airlock.web.errors import JsonAnswer
from airlock.web.mcp import principal_of
from airlock.web.routes import Asked, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

MOST_NAME = 256
MOST_SCOPE = 65_536
_SAFE = ":@+,="
_REASONS = {Effect.ALLOW: "allowed by policy", Effect.ASK: "a person has to approve this"}


async def evaluate(asked: Asked) -> Response:
    """What the policies say; a question for a person is opened, not waited for."""
    services, who = asked.services, asked.who
    agent = await agent_of(services, text(asked.body, "agent_id", most=MOST_NAME, required=True))
    wanted = evaluation(asked.body, agent)
    trace = services.make_id()
    try:
        kept = await _asked(services, who, await _ask(asked, wanted, agent, trace))
    except NotPermitted as error:  # paused: a denial is an answer here
        kept = await _denied(services, who, wanted, agent, str(error))
    return JsonAnswer(await _answer(services, who, kept, wanted, trace))


def evaluation(body: Any, agent: Agent) -> Evaluation:
    """What the body asks about; UsageError names what is wrong with it."""
    classification = text(body, "data_classification", most=40, required=True)
    if classification not in CLASSIFICATIONS:
        raise UsageError(f"`data_classification` must be one of {', '.join(CLASSIFICATIONS)}")
    return Evaluation(
        agent=agent.id,
        names=agent.names,
        operation=text(body, "operation", most=MOST_NAME, required=True),
        integration=text(body, "target_integration", most=MOST_NAME, required=True),
        scope=_scope(body),
        classification=classification,
        context=mapping(body, "context"),
    )


def _scope(body: Any) -> str:
    """What it reaches for: it has to be there, and may be empty, as a path can be."""
    if not isinstance(body.get("resource_scope"), str):
        raise UsageError(f"`resource_scope` must be text of at most {MOST_SCOPE} characters")
    return text(body, "resource_scope", most=MOST_SCOPE)


def policy_name(wanted: Evaluation) -> str:
    """`INTEGRATION/OPERATION`, each one segment: what would end it is percent-encoded."""
    return f"{quote(wanted.integration, safe=_SAFE)}/{quote(wanted.operation, safe=_SAFE)}"


async def _ask(asked: Asked, wanted: Evaluation, agent: Agent, trace: str) -> Ask:
    session = wanted.context.get("session_id")
    return Ask(
        face=FACE,
        name=policy_name(wanted),
        arguments=wanted.arguments,
        overlay=await overlay(asked.services, wanted, inactive=agent.inactive),
        beside={"trace": trace, "agent_id": agent.id},
        agent=agent.name,
        client=asked.request.headers.get("user-agent", "")[:100],
        session=session[:200] if isinstance(session, str) else "",
        shared=True,
    )


async def _asked(services: Services, who: Credential, wanted: Ask) -> Kept:
    """A question that another credential asked is not this one's to use: then it is asked apart."""
    kept = await ask(services, who, wanted)
    mine = principal_of(who, wanted.agent).identity
    if kept.request is None or kept.request.identity == mine:
        return kept
    return await ask(services, who, replace(wanted, shared=False))


async def _answer(
    services: Services, who: Credential, kept: Kept, wanted: Evaluation, trace: str
) -> dict[str, Any]:
    record, request = kept.record, kept.request
    if request is None:
        effect = Effect(record.body["effect"])
        rule, reason = record.body["rule"], record.body["reason"]
    else:
        effect, rule, reason = Effect.ASK, request.rule, request.reason
        if record.body.get("trace") != trace:
            record = await _joined(services, who, kept, trace)
    answer: dict[str, Any] = {
        "decision": DECISIONS[effect],
        "trace_id": dashed(record.id),
        "approval_request_id": dashed(record.id) if effect is Effect.ASK else None,
        "reason": reason or _REASONS.get(effect, NO_MATCH),
        "policy_rule_id": policy_id(rule),
    }
    if request is not None:
        risk = risk_word(wanted.operation, wanted.classification)
        answer["risk_classification"] = graver(risk, request.risk)
    return answer


async def _joined(services: Services, who: Credential, kept: Kept, trace: str) -> Record:
    """An identical evaluation while the first one waits: one question, but a trace and a use of its own."""
    now, request = services.clock(), kept.request
    if request is None or (request.status is not Status.PENDING and request.status is not Status.APPROVED):
        return kept.record
    record = Record(
        face=FACE,
        kind=KIND,
        id=trace,
        link=request.id,
        owner=principal_of(who, request.agent).identity,
        created_at=now,
        updated_at=now,
        body={**kept.record.body, "call": trace, "trace": trace},
    )
    await records_of(services).put_records([record])
    return record


async def _denied(services: Services, who: Credential, wanted: Evaluation, agent: Agent, reason: str) -> Kept:
    now, trace = services.clock(), services.make_id()
    record = Record(
        face=FACE,
        kind=KIND,
        id=trace,
        owner=principal_of(who, agent.name).identity,
        created_at=now,
        updated_at=now,
        body={
            "effect": "deny",
            "rule": "",
            "reason": reason,
            "arguments": services.gate.masked(wanted.arguments),
            "call": trace,
            "agent": agent.name,
            "agent_id": agent.id,
            "name": policy_name(wanted),
            "provider": FACE,
            "client": "",
            "masked": False,
            "trace": trace,
        },
    )
    await records_of(services).put_records([record])
    return Kept(record=record)


_NAME = {"type": "string", "minLength": 1, "maxLength": MOST_NAME, "pattern": r"^[^\s][^\n]*$"}

BODY = {
    "type": "object",
    "properties": {
        "agent_id": _NAME,
        "operation": _NAME,
        "target_integration": _NAME,
        "resource_scope": {"type": "string", "maxLength": MOST_SCOPE},
        "data_classification": {"type": "string", "enum": list(CLASSIFICATIONS)},
        "context": {"type": ["object", "null"]},
    },
    "required": ["agent_id", "operation", "target_integration", "resource_scope", "data_classification"],
}

ANSWER = schemas.record(
    {
        "decision": {"type": "string", "enum": list(DECISIONS.values())},
        "trace_id": schemas.TEXT,
        "approval_request_id": schemas.TEXT_OR_NULL,
        "reason": schemas.TEXT,
        "policy_rule_id": schemas.TEXT_OR_NULL,
    },
    risk_classification={"type": "string", "enum": list(RISKS)},
)

ROUTES = (
    Route(
        method="POST",
        path="/api/v1/evaluate",
        summary="Ask whether an agent may do something; a denial is an answer, not an error",
        scopes=frozenset({Scope.EVALUATE}),
        serve=evaluate,
        body=BODY,
        error=ERROR,
        replies={
            200: Reply("the decision", ANSWER),
            400: MALFORMED,
            403: FORBIDDEN,
            404: NOT_FOUND,
            409: Reply("it lost a race with another change: ask again", ERROR),
        },
    ),
)
