"""AgentGate's `/api/policies`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import NoSuchRequest, UsageError
from airlock.model import JsonObject
from airlock.ports_faces import Record
from airlock.web import schemas
from airlock.web.compat import query as read
from airlock.web.compat import stored
from airlock.web.compat.agentgate import faults, shapes
from airlock.web.compat.agentgate.requests import CONFLICT, MALFORMED, is_wrapped
from airlock.web.compat.agentgate.ruling import EFFECTS, POLICY, in_order
from airlock.web.compat.agentgate.words import FACE, own_id
from airlock.web.compat.matching import check_match
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route

MANAGE = frozenset({Scope.ADMIN, Scope.POLICY_WRITE})
MOST_RULES = 100
MOST_PRIORITY = 1_000_000


async def listing(asked: Asked) -> Response:
    """All policies, in the order in which they are read."""
    found = in_order(await stored.kept(asked.services, FACE, POLICY))
    rows = [shapes.policy_shape(one) for one in found]
    return JsonAnswer({"policies": rows} if is_wrapped(asked) else rows)


async def create(asked: Asked) -> Response:
    """A new policy; it holds from the next request on."""
    body = _policy(asked, asked.body, {})
    record = await stored.add(asked.services, FACE, POLICY, body, by=asked.who.identity, told=body)
    return JsonAnswer(shapes.policy_shape(record), 201)


async def show(asked: Asked) -> Response:
    """One policy."""
    return JsonAnswer(shapes.policy_shape(await _found(asked)))


async def change(asked: Asked) -> Response:
    """What the body names is replaced."""
    record = await _found(asked)
    body = _policy(asked, asked.body, record.body)
    record = await stored.change(asked.services, record, body, by=asked.who.identity, told=body)
    return JsonAnswer(shapes.policy_shape(record))


async def drop(asked: Asked) -> Response:
    """A policy that holds no longer."""
    record = await _found(asked)
    await stored.drop(asked.services, record, by=asked.who.identity)
    return JsonAnswer({"success": True, "id": str(asked.request.path_params["id"])})


async def _found(asked: Asked) -> Record:
    try:
        own = own_id("pol", str(asked.request.path_params["id"]))
        return await stored.one_kept(asked.services, FACE, POLICY, own)
    except NoSuchRequest:
        raise HttpError(404, "Policy not found") from None


def _policy(asked: Asked, body: Mapping[str, Any], old: Mapping[str, Any]) -> JsonObject:
    """What is kept of a body, over what was kept before."""
    whole = {**old, **{name: value for name, value in body.items() if value is not None}}
    name = read.text(whole, "name", most=100, required=True)
    if not name.isprintable():
        raise UsageError("`name` must be printing characters")
    rules = whole.get("rules", [])
    if not isinstance(rules, list) or len(rules) > MOST_RULES:
        raise UsageError(f"`rules` must be a list of at most {MOST_RULES}")
    return {
        "name": name,
        "priority": read.whole(whole, "priority", 100, least=-MOST_PRIORITY, most=MOST_PRIORITY),
        "enabled": read.flag(whole, "enabled", usual=True),
        "rules": [_rule(asked, rule, f"rules[{number}]") for number, rule in enumerate(rules)],
    }


def _rule(asked: Asked, rule: Any, where: str) -> JsonObject:
    if not isinstance(rule, dict):
        raise UsageError(f"`{where}` must be an object")
    decision = rule.get("decision")
    if not isinstance(decision, str) or decision not in EFFECTS:
        raise UsageError(f"`{where}.decision` must be one of {', '.join(EFFECTS)}")
    check_match(rule.get("match"), f"{where}.match")
    kept = {"match": rule["match"], "decision": decision}
    approvers = _texts(rule, "approvers", where)
    unknown = sorted(set(approvers) - set(asked.services.config.people))
    if unknown:
        raise UsageError(f"`{where}.approvers`: `{unknown[0][:60]}` is nobody in `people:` of the config")
    more = {"approvers": approvers, "channels": _texts(rule, "channels", where)}
    kept |= {name: value for name, value in more.items() if value}
    return {**kept, "requireReason": True} if read.flag(rule, "requireReason", usual=False) else kept


def _texts(rule: Mapping[str, Any], name: str, where: str) -> list[str]:
    value = rule.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > 50 or not all(isinstance(one, str) for one in value):
        raise UsageError(f"`{where}.{name}` must be a list of names")
    return value


ID = Parameter(name="id", place="path", schema=schemas.TEXT, description="The policy's id.")
PROPERTIES = {
    "name": {"type": "string", "minLength": 1, "maxLength": 100},
    "priority": {"type": "integer", "minimum": -MOST_PRIORITY, "maximum": MOST_PRIORITY},
    "enabled": schemas.BOOLEAN,
    "rules": {"type": "array", "items": shapes.RULE},
}
BODY = {"type": "object", "properties": PROPERTIES, "required": ["name"]}
CHANGE_BODY = {"type": "object", "properties": PROPERTIES}
ONE = Reply("the policy", shapes.POLICY)
NOT_FOUND = Reply("no such policy", faults.SHAPE)

ROUTES = (
    Route(
        method="GET",
        path="/api/policies",
        summary="All stored policies, in their order (AgentGate)",
        scopes=MANAGE,
        people=True,
        serve=listing,
        error=faults.SHAPE,
        replies={200: Reply("the policies", shapes.either("policies", shapes.POLICY))},
    ),
    Route(
        method="POST",
        path="/api/policies",
        summary="Store a policy (AgentGate)",
        scopes=MANAGE,
        people=True,
        serve=create,
        body=BODY,
        error=faults.SHAPE,
        replies={201: Reply("stored", shapes.POLICY), 400: MALFORMED, 409: CONFLICT},
    ),
    Route(
        method="GET",
        path="/api/policies/{id}",
        summary="One stored policy (AgentGate)",
        scopes=MANAGE,
        people=True,
        serve=show,
        parameters=(ID,),
        error=faults.SHAPE,
        replies={200: ONE, 404: NOT_FOUND},
    ),
    Route(
        method="PUT",
        path="/api/policies/{id}",
        summary="Change a stored policy (AgentGate)",
        scopes=MANAGE,
        people=True,
        serve=change,
        parameters=(ID,),
        body=CHANGE_BODY,
        error=faults.SHAPE,
        replies={200: ONE, 400: MALFORMED, 404: NOT_FOUND, 409: CONFLICT},
    ),
    Route(
        method="DELETE",
        path="/api/policies/{id}",
        summary="Drop a stored policy (AgentGate)",
        scopes=MANAGE,
        people=True,
        serve=drop,
        parameters=(ID,),
        error=faults.SHAPE,
        replies={200: Reply("dropped", shapes.DONE), 404: NOT_FOUND, 409: CONFLICT},
    ),
)
