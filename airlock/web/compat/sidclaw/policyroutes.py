"""SidClaw's policies over REST: keep them, change them (each version stays), try one out, end one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import NoSuchRequest, UsageError
from airlock.model import Effect
from airlock.ports_faces import Record
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.matching import check_match
from airlock.web.compat.pages import page_reply, page_shape
from airlock.web.compat.query import page, page_parameters, text, whole
from airlock.web.compat.sidclaw.agents import agent_of
from airlock.web.compat.sidclaw.approvals import MOST, USUAL
from airlock.web.compat.sidclaw.evaluate import BODY as EVALUATE_BODY
from airlock.web.compat.sidclaw.evaluate import MOST_NAME, MOST_SCOPE, evaluation
from airlock.web.compat.sidclaw.faults import ERROR, MALFORMED, NOT_FOUND, SETTLED
from airlock.web.compat.sidclaw.policies import KIND, NO_MATCH, active, first_match
from airlock.web.compat.sidclaw.polling import ID
from airlock.web.compat.sidclaw.webhooks import tell
from airlock.web.compat.sidclaw.words import CLASSIFICATIONS, DECISIONS, EFFECTS, FACE, dashed, plain
from airlock.web.compat.stored import add, change, kept, one_kept
from airlock.web.errors import JsonAnswer
from airlock.web.queries import one
from airlock.web.routes import Asked, Parameter, Reply, Route

READ = frozenset({Scope.POLICIES_READ, Scope.POLICIES_WRITE})
WRITE = frozenset({Scope.POLICIES_WRITE})
MOST_VERSIONS = 50
MOST_TTL = 365 * 86_400
LEAST_RATIONALE, MOST_RATIONALE = 10, 1_000
USUALLY: Mapping[str, Any] = {
    "agent_id": None,
    "operation": "*",
    "target_integration": "*",
    "resource_scope": "*",
    "data_classification": CLASSIFICATIONS[-1],
    "priority": 100,
    "conditions": None,
    "max_session_ttl": None,
    "modified_by": None,
}
FIELDS = ("policy_name", "policy_effect", "rationale", *USUALLY)


async def listing(asked: Asked) -> Response:
    """A page of policies, oldest first; those that were ended only with `is_active=false`."""
    query = asked.request.query_params
    wanted, agent_id = page(query, usual=USUAL, most=MOST), one(query, "agent_id")
    live = one(query, "is_active") != "false"
    rows = [
        policy
        for policy in await kept(asked.services, FACE, KIND)
        if policy.body["is_active"] is live and agent_id in {"", policy.body["agent_id"]}
    ]
    shown = rows[wanted.offset : wanted.offset + wanted.limit]
    return JsonAnswer(page_shape([policy_shape(one) for one in shown], len(rows), wanted))


async def create(asked: Asked) -> Response:
    """A new policy, in force at once."""
    fields = _fields({**USUALLY, **asked.body})
    body = {**fields, "is_active": True, "policy_version": 1, "versions": []}
    made = await add(asked.services, FACE, KIND, body, by=asked.who.identity, told=_told(fields))
    await tell(asked.services, "policy.updated", made.id, policy_shape(made))
    return JsonAnswer(policy_shape(made), 201)


async def show(asked: Asked) -> Response:
    """One policy."""
    return JsonAnswer(policy_shape(await _one(asked)))


async def update(asked: Asked) -> Response:
    """A new version of one: what the body does not name stays."""
    old = await _one(asked)
    fields = _fields({**{name: old.body[name] for name in FIELDS}, **asked.body})
    body = {
        **old.body,
        **fields,
        "policy_version": old.body["policy_version"] + 1,
        "versions": [_version(old), *old.body["versions"]][:MOST_VERSIONS],
    }
    made = await change(asked.services, old, body, by=asked.who.identity, told=_told(fields))
    await tell(asked.services, "policy.updated", made.id, policy_shape(made))
    return JsonAnswer(policy_shape(made))


async def end(asked: Asked) -> Response:
    """A policy is no longer in force; it and its versions stay to be read."""
    old = await _one(asked)
    body = {**old.body, "is_active": False}
    made = await change(asked.services, old, body, by=asked.who.identity, told={"is_active": False})
    await tell(asked.services, "policy.updated", made.id, policy_shape(made))
    return JsonAnswer(policy_shape(made))


async def versions(asked: Asked) -> Response:
    """The versions of one policy, newest first."""
    policy = await _one(asked)
    return JsonAnswer({"data": [_version(policy), *policy.body["versions"]]})


async def try_out(asked: Asked) -> Response:
    """What these policies alone would say; nothing is asked and nothing is recorded."""
    services = asked.services
    agent = await agent_of(services, text(asked.body, "agent_id", most=MOST_NAME, required=True))
    policy = first_match(await active(services), evaluation(asked.body, agent))
    if policy is None:
        return JsonAnswer(
            {
                "effect": DECISIONS[Effect.DENY],
                "rule_id": None,
                "rationale": NO_MATCH,
                "policy_version": None,
            }
        )
    return JsonAnswer(
        {
            "effect": policy.body["policy_effect"],
            "rule_id": dashed(policy.id),
            "rationale": policy.body["rationale"],
            "policy_version": policy.body["policy_version"],
        }
    )


async def _one(asked: Asked) -> Record:
    try:
        return await one_kept(asked.services, FACE, KIND, plain(str(asked.request.path_params["id"])))
    except NoSuchRequest:
        raise NoSuchRequest("no policy with this id") from None


def _fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a policy, checked; UsageError names what is wrong."""
    effect = text(body, "policy_effect", most=40, required=True)
    if effect not in EFFECTS:
        raise UsageError(f"`policy_effect` must be one of {', '.join(EFFECTS)}")
    classification = text(body, "data_classification", most=40, required=True)
    if classification not in CLASSIFICATIONS:
        raise UsageError(f"`data_classification` must be one of {', '.join(CLASSIFICATIONS)}")
    rationale = text(body, "rationale", most=MOST_RATIONALE, required=True)
    if len(rationale.strip()) < LEAST_RATIONALE:
        raise UsageError(f"`rationale` needs at least {LEAST_RATIONALE} characters")
    conditions = body.get("conditions")
    if conditions is not None:
        check_match(conditions, "conditions")
    return {
        "policy_name": text(body, "policy_name", most=200, required=True),
        "agent_id": text(body, "agent_id", most=MOST_NAME) or None,
        "operation": text(body, "operation", most=MOST_NAME, required=True),
        "target_integration": text(body, "target_integration", most=MOST_NAME, required=True),
        "resource_scope": text(body, "resource_scope", most=MOST_SCOPE, required=True),
        "data_classification": classification,
        "policy_effect": effect,
        "rationale": rationale,
        "priority": whole(body, "priority", 100, least=0, most=1_000_000),
        "conditions": conditions,
        "max_session_ttl": whole(body, "max_session_ttl", None, least=1, most=MOST_TTL),
        "modified_by": text(body, "modified_by", most=200) or None,
    }


def _told(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: fields[name] for name in ("policy_name", "policy_effect", "operation", "target_integration")
    }


def _version(policy: Record) -> dict[str, Any]:
    fields = {name: policy.body[name] for name in FIELDS}
    number = policy.body["policy_version"]
    return {**fields, "policy_version": number, "modified_at": iso(policy.updated_at)}


def policy_shape(policy: Record) -> dict[str, Any]:
    """One policy on the wire."""
    return {
        "id": dashed(policy.id),
        **_version(policy),
        "is_active": policy.body["is_active"],
        "created_at": iso(policy.created_at),
    }


_NAME = {"type": "string", "minLength": 1, "maxLength": MOST_NAME}
PROPERTIES: Mapping[str, Any] = {
    "policy_name": {**_NAME, "maxLength": 200},
    "agent_id": {"type": ["string", "null"], "maxLength": MOST_NAME},
    "operation": _NAME,
    "target_integration": _NAME,
    "resource_scope": {**_NAME, "maxLength": MOST_SCOPE},
    "data_classification": {"type": "string", "enum": list(CLASSIFICATIONS)},
    "policy_effect": {"type": "string", "enum": list(EFFECTS)},
    "rationale": {"type": "string", "minLength": LEAST_RATIONALE, "maxLength": MOST_RATIONALE},
    "priority": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
    "conditions": {"type": ["object", "null"], "description": "exact values and operators over dotted paths"},
    "max_session_ttl": {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_TTL},
    "modified_by": {"type": ["string", "null"], "maxLength": 200},
}
CREATE_BODY = {
    "type": "object",
    "properties": PROPERTIES,
    "required": ["policy_name", "policy_effect", "rationale"],
}
VERSION: Mapping[str, Any] = {
    **PROPERTIES,
    "policy_version": schemas.COUNT,
    "modified_at": schemas.TIME,
}
POLICY = schemas.record(
    {"id": schemas.TEXT, **VERSION, "is_active": schemas.BOOLEAN, "created_at": schemas.TIME}
)
TRIED = schemas.record(
    {
        "effect": {"type": "string", "enum": list(EFFECTS)},
        "rule_id": schemas.TEXT_OR_NULL,
        "rationale": schemas.TEXT,
        "policy_version": schemas.COUNT_OR_NULL,
    }
)
_ONE = {200: Reply("the policy", POLICY), 400: MALFORMED, 404: NOT_FOUND, 409: SETTLED}
_PATH = "/api/v1/policies/{id}"

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/policies",
        summary="The policies of this API, which hold beside the YAML",
        scopes=READ,
        people=True,
        serve=listing,
        parameters=(
            Parameter(name="agent_id", place="query", schema=schemas.TEXT, description="Only this agent's."),
            Parameter(
                name="is_active", place="query", schema=schemas.TEXT, description="`false`: the ended ones."
            ),
            *page_parameters(USUAL, MOST),
        ),
        error=ERROR,
        replies={
            200: page_reply(POLICY),
            400: MALFORMED,
        },
    ),
    Route(
        method="POST",
        path="/api/v1/policies",
        summary="Keep a policy; it is in force at once",
        scopes=WRITE,
        people=True,
        serve=create,
        body=CREATE_BODY,
        error=ERROR,
        replies={201: Reply("the policy", POLICY), 400: MALFORMED, 409: SETTLED},
    ),
    Route(
        method="POST",
        path="/api/v1/policies/test",
        summary="What these policies alone would say of an evaluation",
        scopes=READ,
        people=True,
        serve=try_out,
        body=EVALUATE_BODY,
        error=ERROR,
        replies={200: Reply("what they say", TRIED), 400: MALFORMED, 404: NOT_FOUND},
    ),
    Route(
        method="GET",
        path=_PATH,
        summary="One policy",
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
        summary="Change a policy: a new version of it",
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
        summary="End a policy; it stays to be read",
        scopes=WRITE,
        people=True,
        serve=end,
        parameters=(ID,),
        error=ERROR,
        replies=_ONE,
    ),
    Route(
        method="GET",
        path=f"{_PATH}/versions",
        summary="The versions of one policy, newest first",
        scopes=READ,
        people=True,
        serve=versions,
        parameters=(ID,),
        error=ERROR,
        replies={
            200: Reply("the versions", schemas.record({"data": schemas.listed(schemas.record(VERSION))})),
            404: NOT_FOUND,
        },
    ),
)
