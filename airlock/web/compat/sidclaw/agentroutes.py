"""SidClaw's agents over REST: list, register, change, and stop. What is not active is denied, on every road
where it is an agent of the YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import UsageError
from airlock.ports import Draft
from airlock.ports_faces import Record
from airlock.web import schemas
from airlock.web.compat.asking import records_of
from airlock.web.compat.pages import page_reply, page_shape
from airlock.web.compat.query import page, page_parameters, text
from airlock.web.compat.sidclaw.agents import (
    ACTIVE,
    BLANK,
    KIND,
    STATES,
    Agent,
    agent_of,
    agent_shape,
    all_agents,
)
from airlock.web.compat.sidclaw.approvals import MOST, USUAL
from airlock.web.compat.sidclaw.faults import ERROR, MALFORMED, NOT_FOUND, SETTLED
from airlock.web.compat.sidclaw.polling import ID
from airlock.web.compat.sidclaw.webhooks import tell
from airlock.web.compat.sidclaw.words import FACE, loosely
from airlock.web.compat.stored import add, change, drop
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.routes import Asked, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

READ = frozenset({Scope.AGENTS_READ, Scope.AGENTS_WRITE, Scope.AGENTS_LIFECYCLE})
WRITE = frozenset({Scope.AGENTS_WRITE})
LIFECYCLE = frozenset({Scope.AGENTS_LIFECYCLE})
WRITABLE = tuple(name for name in BLANK if name != "lifecycle_state")
TURNS = {
    "suspend": ("suspended", {ACTIVE}),
    "revoke": ("revoked", {ACTIVE, "suspended"}),
    "reactivate": (ACTIVE, {"suspended"}),
}
"""What each verb makes of an agent, and in which states it may; a revoked one does not come back."""


async def listing(asked: Asked) -> Response:
    """A page of agents: those of the YAML, then the registered ones."""
    wanted = page(asked.request.query_params, usual=USUAL, most=MOST)
    agents = await all_agents(asked.services)
    shown = agents[wanted.offset : wanted.offset + wanted.limit]
    return JsonAnswer(page_shape([agent_shape(agent) for agent in shown], len(agents), wanted))


async def show(asked: Asked) -> Response:
    """One agent by its id, or its name in the YAML."""
    return JsonAnswer(agent_shape(await _one(asked)))


async def register(asked: Asked) -> Response:
    """A new agent."""
    fields = _fields({**BLANK, **asked.body}, ACTIVE)
    record = await add(
        asked.services, FACE, KIND, fields, by=asked.who.identity, told={"name": fields["name"]}
    )
    return JsonAnswer(agent_shape(await agent_of(asked.services, record.id)), 201)


async def update(asked: Asked) -> Response:
    """Change what is known of an agent; one of the YAML keeps its name."""
    agent = await _one(asked)
    fields = _fields({**agent.body, **asked.body}, str(agent.body["lifecycle_state"]))
    if agent.id == agent.name and fields["name"] != agent.name:
        raise UsageError("`name` is that of an agent of the config")
    await _keep(asked.services, agent, fields, by=asked.who.identity, told={"name": fields["name"]})
    return JsonAnswer(agent_shape(await agent_of(asked.services, agent.id)))


async def delete(asked: Asked) -> Response:
    """Forget a registered agent; one of the YAML is taken out there."""
    agent = await _one(asked)
    if agent.record is None or agent.id == agent.name:
        raise HttpError(409, f"agent `{agent.name}` is one of the config: take it out there")
    await drop(asked.services, agent.record, by=asked.who.identity)
    return JsonAnswer(agent_shape(agent))


async def suspend(asked: Asked) -> Response:
    """Stop an agent for now."""
    return await _turn(asked, "suspend")


async def revoke(asked: Asked) -> Response:
    """Stop an agent for good."""
    return await _turn(asked, "revoke")


async def reactivate(asked: Asked) -> Response:
    """Let a suspended agent go on."""
    return await _turn(asked, "reactivate")


async def _turn(asked: Asked, verb: str) -> Response:
    services, by = asked.services, asked.who.identity
    agent = await _one(asked)
    state, before = TURNS[verb]
    if agent.body["lifecycle_state"] not in before:
        raise HttpError(409, f"an agent that is {agent.body['lifecycle_state']} cannot be {verb}d")
    fields = {name: agent.body[name] for name in BLANK} | {"lifecycle_state": state}
    await _keep(services, agent, fields, by=by, told={"lifecycle_state": state})
    if agent.id == agent.name:
        await (
            services.gate.resume(agent.name, by) if state == ACTIVE else services.gate.pause(agent.name, by)
        )
    shape = agent_shape(await agent_of(services, agent.id))
    if state != ACTIVE:
        await tell(services, f"agent.{state}", agent.id, shape)
    return JsonAnswer(shape)


async def _one(asked: Asked) -> Agent:
    return await agent_of(asked.services, str(asked.request.path_params["id"]))


async def _keep(
    services: Services, agent: Agent, fields: Mapping[str, Any], *, by: str, told: Mapping[str, Any]
) -> None:
    if agent.record is not None:
        await change(services, agent.record, fields, by=by, told=told)
        return
    now = services.clock()
    record = Record(
        face=FACE,
        kind=KIND,
        id=loosely(agent.name),
        owner=by,
        created_at=now,
        updated_at=now,
        body=fields,
    )
    body = {"api": FACE, "by": by, **told}
    event = Draft(id=services.make_id(), kind="agent.updated", at=now, agent=agent.name, body=body)
    await records_of(services).put_records([record], events=[event])


def _fields(body: Mapping[str, Any], state: str) -> dict[str, Any]:
    """What is known of an agent, checked. The state is no field: it is changed by its verbs."""
    fields = {name: text(body, name, most=1_000) for name in WRITABLE}
    if not fields["name"].strip():
        raise UsageError("`name` must be text of at most 1000 characters")
    delegated = fields["delegated_from"] or None
    return {**fields, "delegated_from": delegated, "lifecycle_state": state}


_TEXT = {"type": ["string", "null"], "maxLength": 1_000}
PROPERTIES = dict.fromkeys(WRITABLE, _TEXT) | {
    "name": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[A-Za-z0-9].*$"}
}
BODY = {"type": "object", "properties": PROPERTIES, "required": ["name"]}
AGENT = schemas.record(
    {
        **dict.fromkeys(WRITABLE, schemas.TEXT),
        "delegated_from": schemas.TEXT_OR_NULL,
        "lifecycle_state": {"type": "string", "enum": list(STATES)},
        "id": schemas.TEXT,
        "policy_agent": schemas.TEXT,
        "created_at": schemas.TIME_OR_NULL,
        "updated_at": schemas.TIME_OR_NULL,
    }
)
_ONE = {200: Reply("the agent", AGENT), 400: MALFORMED, 404: NOT_FOUND, 409: SETTLED}
_PATH = "/api/v1/agents/{id}"


def _verb(verb: str, serve: Any) -> Route:
    return Route(
        method="POST",
        path=f"{_PATH}/{verb}",
        summary=f"{verb.capitalize()} an agent",
        scopes=LIFECYCLE,
        people=True,
        serve=serve,
        parameters=(ID,),
        error=ERROR,
        replies=_ONE,
    )


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/agents",
        summary="All agents: those of the config, then those that were registered here",
        scopes=READ,
        people=True,
        serve=listing,
        parameters=page_parameters(USUAL, MOST),
        error=ERROR,
        replies={
            200: page_reply(AGENT),
            400: MALFORMED,
        },
    ),
    Route(
        method="POST",
        path="/api/v1/agents",
        summary="Register an agent",
        scopes=WRITE,
        people=True,
        serve=register,
        body=BODY,
        error=ERROR,
        replies={201: Reply("the agent", AGENT), 400: MALFORMED, 409: SETTLED},
    ),
    Route(
        method="GET",
        path=_PATH,
        summary="One agent",
        scopes=READ,
        people=True,
        serve=show,
        parameters=(ID,),
        error=ERROR,
        replies=_ONE,
    ),
    Route(
        method="PATCH",
        path=_PATH,
        summary="Change what is known of an agent",
        scopes=WRITE,
        people=True,
        serve=update,
        parameters=(ID,),
        body={"type": "object", "properties": PROPERTIES},
        error=ERROR,
        replies=_ONE,
    ),
    Route(
        method="DELETE",
        path=_PATH,
        summary="Forget a registered agent",
        scopes=WRITE,
        people=True,
        serve=delete,
        parameters=(ID,),
        error=ERROR,
        replies=_ONE,
    ),
    _verb("suspend", suspend),
    _verb("revoke", revoke),
    _verb("reactivate", reactivate),
)
