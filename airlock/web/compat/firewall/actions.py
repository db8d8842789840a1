"""`/v1/actions`: what an agent wants to do, decided at once or by a person, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response

from airlock.errors import NotPermitted, UsageError
from airlock.web import schemas
from airlock.web.compat.asking import Ask, Attempt, Kept, ask, asker, speaker
from airlock.web.compat.firewall.collecting import collected
from airlock.web.compat.firewall.faults import CONFLICT, ERROR, FORBIDDEN, MALFORMED, NOT_FOUND
from airlock.web.compat.firewall.ruling import ruling
from airlock.web.compat.firewall.running import begin, beside, place, plan, runner
from airlock.web.compat.firewall.seeing import agents_key, check_sees, found, sees
from airlock.web.compat.firewall.shapes import ACTION, action_shape, action_shapes
from airlock.web.compat.firewall.states import risk_of_kept, status_of
from airlock.web.compat.firewall.submitted import BODY, Submitted, action_of, submitted
from airlock.web.compat.firewall.words import (
    ACTION_STATUSES,
    ACTIONS_PER_MINUTE,
    FACE,
    MOST_LOOKED_AT,
    READ_ACTIONS,
    RISKS,
    WRITE_ACTIONS,
    policy_name,
)
from airlock.web.compat.listing import listed
from airlock.web.compat.once import once
from airlock.web.compat.pages import page_reply, page_shape
from airlock.web.compat.query import page, page_parameters
from airlock.web.endpoint import authorization
from airlock.web.errors import JsonAnswer
from airlock.web.queries import one
from airlock.web.routes import Asked, Parameter, Reply, Route

KEY_PREFIX = "aaf_"
USUAL, MOST = 20, 100
PATIENCE = 20.0
"""How long, in seconds, a repeated submission waits for the first one."""


def agent_key(headers: Headers) -> list[str]:
    """An agent's key; anything else is as good as none, and is not looked up."""
    return [f"Bearer {one}" for one in headers.getlist("x-agent-key") if one.startswith(KEY_PREFIX)]


def either(headers: Headers) -> list[str]:
    """An agent's key, or where none was sent what people send."""
    return agent_key(headers) if "x-agent-key" in headers else authorization(headers)


async def submit(asked: Asked) -> Response:
    """Put an action before the policies, and where they say so before a person."""
    services, who = asked.services, asked.who
    wanted = submitted(asked.body, speaker(services, FACE, who))
    config = runner(services, wanted.action.tool)
    request = None if config is None else plan(wanted.action, config)

    async def make(attempt: Attempt) -> str:
        if config is None or request is None:
            return (await _asked(asked, wanted, attempt, {})).record.id
        with place(services, wanted.action.agent):
            more = beside(asked.services, wanted.action, config)
            kept = await _asked(asked, wanted, attempt, more)
            if kept.record.body["effect"] == "allow" and not attempt.past:
                begin(services, who, kept, request, wanted.action)
        return kept.record.id

    made, fresh = await once(
        services,
        FACE,
        owner=who.identity,
        key=wanted.idempotency_key,
        body=asked.body,
        make=make,
        patience=PATIENCE,
    )
    kept = await found(services, "act", made)
    status = 200 if not fresh else 202 if status_of(kept) == "pending_approval" else 201
    return JsonAnswer(await action_shape(services, kept), status)


async def _asked(asked: Asked, wanted: Submitted, attempt: Attempt, more: Mapping[str, Any]) -> Kept:
    action = wanted.action
    overlay, risk = await ruling(asked.services, action)
    return await ask(
        asked.services,
        asked.who,
        Ask(
            face=FACE,
            name=policy_name(action.tool, action.operation),
            arguments=wanted.arguments,
            overlay=overlay,
            beside={"tool": action.tool, "operation": action.operation, "risk": risk, **more},
            agent=action.agent,
            client=_traced(asked),
            session=wanted.session,
            attempt=attempt,
        ),
    )


def _traced(asked: Asked) -> str:
    """What the client calls itself: for tracing, and believed in nothing."""
    named = asked.request.headers.get("x-agent-id", "")[:100]
    return named if named.isprintable() else ""


async def show(asked: Asked) -> Response:
    """One action. An approval that whoever asked comes for here is spent by that."""
    services, reference = asked.services, str(asked.request.path_params["id"])
    kept = await found(services, "act", reference)
    check_sees(asked, kept, reference)
    if not agents_key(asked) or not asker(asked.who, kept.record):
        return JsonAnswer(await action_shape(services, kept))
    try:
        kept = await collected(services, asked.who, kept)
    except NotPermitted:  # everything is paused: not yet
        return JsonAnswer(await action_shape(services, kept, status="pending_approval"))
    return JsonAnswer(await action_shape(services, kept))


async def listing(asked: Asked) -> Response:
    """A page of actions, newest first."""
    query = asked.request.query_params
    wanted = page(query, usual=USUAL, most=MOST)
    agent = one(query, "agent_id")
    bound = asked.who.agent
    fits = _fits(asked)
    rows, total = await listed(
        asked.services,
        FACE,
        wanted,
        lambda kept: agent in {"", str(kept.record.body["agent"])} and fits(kept),
        agent=bound or agent,
        total=True,
        most=MOST_LOOKED_AT,
    )
    return JsonAnswer(page_shape(await action_shapes(asked.services, rows), total, wanted))


def _fits(asked: Asked) -> Callable[[Kept], bool]:
    query = asked.request.query_params
    status, tool, risk = (one(query, name) for name in ("status", "tool", "risk_level"))
    check_word("status", status, ACTION_STATUSES)
    check_word("risk_level", risk, RISKS)

    def fits(kept: Kept) -> bool:
        return (
            sees(asked, kept)
            and status in {"", status_of(kept)}
            and risk in {"", risk_of_kept(kept)}
            and tool in {"", action_of(kept, {}).tool}
        )

    return fits


def check_word(name: str, value: str, known: tuple[str, ...]) -> None:
    """UsageError for a filter that is none of its words."""
    if value and value not in known:
        raise UsageError(f"`{name}` must be one of {', '.join(known)}")


def choice(name: str, words: tuple[str, ...]) -> Parameter:
    """A filter that is one of some words."""
    schema = schemas.or_empty({"type": "string", "enum": list(words)})
    return Parameter(name=name, place="query", schema=schema, description=f"Only this {name}.")


ID = Parameter(name="id", place="path", schema=schemas.TEXT, description="The id, such as `act_…`.")
AGENT = Parameter(name="agent_id", place="query", schema=schemas.TEXT, description="Only this agent's.")

ROUTES = (
    Route(
        method="POST",
        path="/v1/actions",
        summary="Submit an action; 202 when a person has to approve it (Agent Action Firewall)",
        description="An `idempotency_key` makes it safe to send again: 200 with the same action.",
        scopes=WRITE_ACTIONS,
        serve=submit,
        credentials=agent_key,
        schemes=("agentKey",),
        per_minute=ACTIONS_PER_MINUTE,
        body=BODY,
        error=ERROR,
        replies={
            201: Reply("decided at once", ACTION),
            202: Reply("a person has to approve it", ACTION),
            200: Reply("submitted before, under this idempotency key", ACTION),
            400: MALFORMED,
            403: FORBIDDEN,
            409: Reply("the idempotency key came with another body, or is at work", ERROR),
        },
    ),
    Route(
        method="GET",
        path="/v1/actions",
        summary="Actions, newest first (Agent Action Firewall)",
        scopes=READ_ACTIONS,
        serve=listing,
        credentials=either,
        schemes=("agentKey", "bearer"),
        per_minute=ACTIONS_PER_MINUTE,
        parameters=(
            choice("status", ACTION_STATUSES),
            AGENT,
            Parameter(name="tool", place="query", schema=schemas.TEXT, description="Only this tool."),
            choice("risk_level", RISKS),
            *page_parameters(USUAL, MOST),
        ),
        error=ERROR,
        replies={
            200: page_reply(ACTION),
            400: MALFORMED,
        },
    ),
    Route(
        method="GET",
        path="/v1/actions/{id}",
        summary="One action; whoever asked takes its approval by this (Agent Action Firewall)",
        scopes=READ_ACTIONS,
        serve=show,
        credentials=either,
        schemes=("agentKey", "bearer"),
        per_minute=ACTIONS_PER_MINUTE,
        parameters=(ID,),
        error=ERROR,
        replies={200: Reply("the action", ACTION), 404: NOT_FOUND, 409: CONFLICT},
    ),
)
