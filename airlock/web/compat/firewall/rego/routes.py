"""`/admin/policies`: keep Rego policies, change them, try one out. For people, never for agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from airlock.errors import NoSuchRequest, UsageError
from airlock.model import JsonObject
from airlock.ports_faces import Record
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat import stored
from airlock.web.compat.firewall.faults import CONFLICT, DROPPED, ERROR, FORBIDDEN, MALFORMED, NOT_FOUND
from airlock.web.compat.firewall.opinions import HOUR
from airlock.web.compat.firewall.rego.child import OUTPUTS
from airlock.web.compat.firewall.rego.engine import NoEngine, Text
from airlock.web.compat.firewall.rego.policies import KIND, PREFIX, engine_of, in_order, judge, meant
from airlock.web.compat.firewall.shapes import OBJECT
from airlock.web.compat.firewall.submitted import in_form
from airlock.web.compat.firewall.words import (
    DECISIONS,
    FACE,
    READ_POLICIES,
    RISKS,
    WRITE_POLICIES,
    own_id,
    public_id,
)
from airlock.web.compat.pages import page_reply, page_shape
from airlock.web.compat.query import flag, mapping, page, page_parameters, text, whole
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route

USUAL, MOST = 20, 100
MOST_NAME, MOST_DESCRIPTION, MOST_CONTENT = 200, 2_000, 64 << 10
USUAL_PRIORITY, MOST_PRIORITY = 100, 1_000_000
FIELDS = ("name", "description", "content", "priority", "enabled")


async def listing(asked: Asked) -> Response:
    """A page of policies, in the order in which they are asked."""
    wanted = page(asked.request.query_params, usual=USUAL, most=MOST)
    rows = in_order(await stored.kept(asked.services, FACE, KIND))
    shown = rows[wanted.offset : wanted.offset + wanted.limit]
    return JsonAnswer(page_shape([policy_shape(one) for one in shown], len(rows), wanted))


async def create(asked: Asked) -> Response:
    """A new policy, in force at once."""
    fields = _fields(asked.body)
    body = {**fields, **await _described(asked, fields["content"])}
    made = await stored.add(asked.services, FACE, KIND, body, by=asked.who.identity, told=fields)
    return JsonAnswer(policy_shape(made), 201)


async def show(asked: Asked) -> Response:
    """One policy."""
    return JsonAnswer(policy_shape(await _found(asked)))


async def change(asked: Asked) -> Response:
    """What the body names is replaced, at once."""
    old = await _found(asked)
    named = {name: value for name, value in asked.body.items() if value is not None}
    fields = _fields({**{name: old.body[name] for name in FIELDS}, **named})
    body = {**fields, **await _described(asked, fields["content"])}
    made = await stored.change(asked.services, old, body, by=asked.who.identity, told=fields)
    return JsonAnswer(policy_shape(made))


async def drop(asked: Asked) -> Response:
    """A policy that holds no longer."""
    await stored.drop(asked.services, old := await _found(asked), by=asked.who.identity)
    return JsonAnswer({"success": True, "id": public_id(PREFIX, old.id)})


async def simulate(asked: Asked) -> Response:
    """What this policy says of an input, enabled or not; nothing is kept, asked or recorded."""
    policy, services = await _found(asked), asked.services
    (judged,) = await judge(services, [policy], _given(asked.body))
    what, cause = meant(policy.body["name"], judged, frozenset(services.config.people))
    outputs = judged.outputs or {}
    return JsonAnswer(
        {
            "policy_id": public_id(PREFIX, policy.id),
            "decision": None if what.effect is None else DECISIONS[what.effect],
            "reason": what.reason,
            "risk_level": what.risk,
            "matched": [name for name in OUTPUTS if outputs.get(name)],
            "approval_config": {
                "timeout_hours": None if what.life_ms is None else what.life_ms / HOUR,
                "required_approvers": sorted(what.reviewers) or what.quorum,
            },
            "result": dict(outputs),
            "error": {"line": judged.line, "message": cause} if cause else None,
        }
    )


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    """The input as it would be of a real action: what it leaves out is empty."""
    given = mapping(body, "input")
    action = given.get("action")
    if not isinstance(action, dict):
        raise UsageError("`input.action` must be an object with `tool`, `operation` and `params`")
    tool, operation = (text(action, name, most=MOST_NAME) for name in ("tool", "operation"))
    whole_action = {
        **action,
        "tool": tool,
        "operation": in_form(tool, operation),
        **{name: mapping(action, name) for name in ("params", "context", "metadata")},
    }
    beside = {"agent": {"id": ""}, "context": whole_action["context"], "metadata": whole_action["metadata"]}
    return {**beside, **given, "action": whole_action}


async def _found(asked: Asked) -> Record:
    reference = str(asked.request.path_params["id"])
    try:
        return await stored.one_kept(asked.services, FACE, KIND, own_id(PREFIX, reference))
    except NoSuchRequest:
        raise NoSuchRequest(f"no policy `{reference[:64]}`") from None


def _fields(body: Mapping[str, Any]) -> JsonObject:
    """What a body says of a policy; UsageError names what is wrong with it."""
    name = text(body, "name", most=MOST_NAME, required=True)
    if not name.isprintable():
        raise UsageError("`name` must be printing characters")
    content = text(body, "content", most=MOST_CONTENT, required=True)
    odd = next((one for one in content if not one.isprintable() and one not in "\n\r\t"), "")
    if odd:
        raise UsageError(f"`content` holds the character U+{ord(odd):04X}, which a policy has no use for")
    return {
        "name": name,
        "description": text(body, "description", most=MOST_DESCRIPTION),
        "content": content,
        "priority": whole(body, "priority", USUAL_PRIORITY, least=-MOST_PRIORITY, most=MOST_PRIORITY),
        "enabled": flag(body, "enabled", usual=True),
    }


async def _described(asked: Asked, content: str) -> JsonObject:
    """What the engine finds in it: a policy that it cannot use is not kept."""
    try:
        found = await engine_of(asked.services).read(Text(text=content))
    except UsageError as error:
        raise UsageError(f"`content`: {error}") from None
    except NoEngine as error:
        raise HttpError(503, str(error)) from None
    return {"rego_version": found.version, "package": found.package, "rules": list(found.rules)}


def policy_shape(policy: Record) -> JsonObject:
    """A policy as this API writes it."""
    body = policy.body
    return {
        "id": public_id(PREFIX, policy.id),
        **{name: body[name] for name in (*FIELDS, "rego_version", "package", "rules")},
        "version": policy.version,
        "created_at": iso(policy.created_at),
        "updated_at": iso(policy.updated_at),
    }


ID = Parameter(name="id", place="path", schema=schemas.TEXT, description="The policy's id, such as `pol_…`.")
PROPERTIES: Mapping[str, Any] = {
    "name": {"type": "string", "minLength": 1, "maxLength": MOST_NAME},
    "description": {"type": ["string", "null"], "maxLength": MOST_DESCRIPTION},
    "content": {"type": "string", "minLength": 1, "maxLength": MOST_CONTENT, "description": "Rego."},
    "priority": {"type": ["integer", "null"], "minimum": -MOST_PRIORITY, "maximum": MOST_PRIORITY},
    "enabled": schemas.BOOLEAN,
}
BODY = {"type": "object", "properties": PROPERTIES, "required": ["name", "content"]}
CHANGE_BODY = {"type": "object", "properties": PROPERTIES}
POLICY = schemas.record(
    {
        "id": schemas.TEXT,
        "name": schemas.TEXT,
        "description": schemas.TEXT,
        "content": schemas.TEXT,
        "priority": {"type": "integer"},
        "enabled": schemas.BOOLEAN,
        "rego_version": {"type": "integer", "enum": [0, 1]},
        "package": schemas.TEXT,
        "rules": schemas.TEXTS,
        "version": schemas.COUNT,
        "created_at": schemas.TIME,
        "updated_at": schemas.TIME,
    }
)
SIMULATE_BODY = {
    "type": "object",
    "properties": {
        "input": {
            "type": "object",
            "properties": {"action": {"type": "object", "properties": {"params": OBJECT}}},
            "required": ["action"],
        }
    },
    "required": ["input"],
}
SIMULATED = schemas.record(
    {
        "policy_id": schemas.TEXT,
        "decision": {"anyOf": [{"type": "string", "enum": list(DECISIONS.values())}, {"type": "null"}]},
        "reason": schemas.TEXT,
        "risk_level": {"type": "string", "enum": list(RISKS)},
        "matched": schemas.TEXTS,
        "approval_config": schemas.record(
            {
                "timeout_hours": {"type": ["number", "null"]},
                "required_approvers": {"anyOf": [schemas.COUNT, schemas.TEXTS]},
            }
        ),
        "result": {"type": "object"},
        "error": {
            "anyOf": [schemas.record({"line": schemas.COUNT, "message": schemas.TEXT}), {"type": "null"}]
        },
    }
)
_ONE = {200: Reply("the policy", POLICY), 403: FORBIDDEN, 404: NOT_FOUND}
_NO_ENGINE = Reply("Rego cannot be read here, or not now", ERROR)
_KEPT = {400: MALFORMED, 409: CONFLICT, 503: _NO_ENGINE}
_PATH = "/admin/policies/{id}"


def _changing(method: str) -> Route:
    return Route(
        method=method,
        path=_PATH,
        summary="Change a policy; it holds at once (Agent Action Firewall)",
        description="What the body does not name stays as it is.",
        scopes=WRITE_POLICIES,
        people=True,
        serve=change,
        parameters=(ID,),
        body=CHANGE_BODY,
        error=ERROR,
        replies={**_ONE, **_KEPT},
    )


ROUTES = (
    Route(
        method="GET",
        path="/admin/policies",
        summary="The Rego policies, in the order in which they are asked (Agent Action Firewall)",
        scopes=READ_POLICIES,
        people=True,
        serve=listing,
        parameters=page_parameters(USUAL, MOST),
        error=ERROR,
        replies={
            200: page_reply(POLICY),
            400: MALFORMED,
        },
    ),
    Route(
        method="POST",
        path="/admin/policies",
        summary="Keep a Rego policy; it holds at once (Agent Action Firewall)",
        scopes=WRITE_POLICIES,
        people=True,
        serve=create,
        body=BODY,
        error=ERROR,
        replies={201: Reply("the policy", POLICY), 403: FORBIDDEN, **_KEPT},
    ),
    Route(
        method="GET",
        path=_PATH,
        summary="One policy (Agent Action Firewall)",
        scopes=READ_POLICIES,
        people=True,
        serve=show,
        parameters=(ID,),
        error=ERROR,
        replies=_ONE,
    ),
    _changing("PATCH"),
    _changing("PUT"),
    Route(
        method="DELETE",
        path=_PATH,
        summary="Drop a policy (Agent Action Firewall)",
        scopes=WRITE_POLICIES,
        people=True,
        serve=drop,
        parameters=(ID,),
        error=ERROR,
        replies=DROPPED,
    ),
    Route(
        method="POST",
        path=f"{_PATH}/simulate",
        summary="What one policy says of an input, with no effect at all (Agent Action Firewall)",
        scopes=READ_POLICIES,
        people=True,
        serve=simulate,
        parameters=(ID,),
        body=SIMULATE_BODY,
        error=ERROR,
        replies={200: Reply("what it says", SIMULATED), 400: MALFORMED, 404: NOT_FOUND},
    ),
)
