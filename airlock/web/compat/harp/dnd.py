"""Do not disturb: what an enforcer may decide by itself for a while, and who says so.

People make these policies here. The gate obeys them too, joined with the config: the strictest wins. A client
acts on what it is told without asking, so it is told of an approve only where the config says nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import UsageError
from airlock.model import Call, Kind, Origin
from airlock.ports_faces import Record
from airlock.views import iso
from airlock.web import schemas
from airlock.web.auth import Credential
from airlock.web.compat.asking import speaker
from airlock.web.compat.harp.crypto import harp_hash
from airlock.web.compat.harp.dndrules import (
    ACTION,
    ANY,
    APPROVE_ALL,
    DENY_ALL,
    KIND,
    WORKSPACE,
    about,
    standing,
)
from airlock.web.compat.harp.faults import CONFLICT, ERROR, MALFORMED, NOT_FOUND
from airlock.web.compat.harp.words import (
    FACE,
    SEE,
    TEXT,
    TEXT_OR_NULL,
    artifact_type,
    envelope,
    enveloped,
    identifier,
    name,
    time_of,
    wanted,
)
from airlock.web.compat.stored import add, drop, kept, one_kept
from airlock.web.errors import JsonAnswer
from airlock.web.mcp import principal_of
from airlock.web.queries import one
from airlock.web.routes import Asked, Parameter, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

LONGEST_MS = 7 * 86_400_000
MOST_WORDS = 32
TYPES = (
    "command.review",
    "command-approval",
    "plan.review",
    "task.review",
    "patch.review",
    "checkpoint.review",
)
WRITE = frozenset({Scope.POLICY_WRITE, Scope.POLICIES_WRITE})


async def effective(asked: Asked) -> Response:
    """The policies that hold for an enforcer in a workspace now, the strictest first."""
    services, query = asked.services, asked.request.query_params
    enforcer = identifier(one(query, "enforcerId"), "enforcerId")
    workspace = name({"workspaceId": one(query, "workspaceId")}, "workspaceId")
    session = name({"sessionId": one(query, "sessionId")}, "sessionId")
    if not workspace:
        raise UsageError("`workspaceId` is missing")
    found = [
        policy
        for policy in await standing(services)
        if about(policy, enforcer=enforcer, workspace=workspace, session=session)
    ]
    told = [policy for policy in found if await _may_be_told(services, asked.who, policy)]
    body = [_shape(policy, enforcer, workspace) for policy in told]
    wire = envelope("dnd.policy.effective", "", body, at=services.clock(), message_id=services.make_id())
    return JsonAnswer(wire)


async def _may_be_told(services: Services, who: Credential, policy: Record) -> bool:
    """A deny always; an approve where no rule of the config, met or not, names the type."""
    if policy.body["mode"] == DENY_ALL:
        return True
    agent = speaker(services, FACE, who)
    if (await services.gate.store.controls()).paused(agent):
        return False
    for kind in (policy.body["target"],) if policy.body["target"] else TYPES:
        call = Call(
            id=services.make_id(),
            principal=principal_of(who, agent),
            provider=FACE,
            name=kind,
            origin=Origin(road=FACE, workspace=services.config.workspace),
        )
        decision = await services.gate.preview(call)
        named = services.gate.policy.listing(agent, Kind.TOOL, FACE, kind) is not None
        if named or not decision.silent:
            return False
    return True


def _shape(policy: Record, enforcer: str, workspace: str) -> dict[str, Any]:
    body = policy.body
    return {
        "requestId": policy.id,
        "objectType": body["type"],
        "workspaceId": workspace if body["workspace"] == ANY else body["workspace"],
        "sessionId": body["session"] or None,
        "enforcerId": enforcer if body["enforcer"] == ANY else body["enforcer"],
        "policyMode": body["mode"],
        "targetArtifactType": body["target"] or None,
        "actionSelector": body["selector"],
        "selectorHash": harp_hash(body["selector"]) if body["selector"] else None,
        "createdAt": iso(policy.created_at),
        "expiresAt": iso(body["expires_at"]),
    }


async def create(asked: Asked) -> Response:
    """A person makes one, with an end."""
    services, given = asked.services, asked.body
    await _tidy(services, asked.who)
    mode = given.get("policyMode")
    if mode not in (APPROVE_ALL, DENY_ALL):
        raise UsageError(f"`policyMode` must be `{APPROVE_ALL}` or `{DENY_ALL}`")
    expires, now = time_of(given, "expiresAt"), services.clock()
    if expires is None or not now < expires <= now + LONGEST_MS:
        raise UsageError("`expiresAt` must be in the next seven days")
    selector = _selector(given.get("actionSelector"))
    body = {
        "type": ACTION if selector else WORKSPACE,
        "mode": mode,
        "enforcer": _or_any(given, "enforcerId"),
        "workspace": name(given, "workspaceId") or ANY,
        "session": name(given, "sessionId"),
        "target": artifact_type(given["targetArtifactType"]) if given.get("targetArtifactType") else "",
        "selector": selector,
        "expires_at": expires,
    }
    policy = await add(services, FACE, KIND, body, by=asked.who.identity, told=body)
    return JsonAnswer(_shape(policy, ANY, ANY), 201)


def _or_any(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    return ANY if value in (None, "", ANY) else identifier(value, key)


def _selector(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    fits = isinstance(value, dict) and value and set(value) <= {"commandFamily", "argvPrefix"}
    if not fits:
        raise UsageError("`actionSelector` has `commandFamily`, `argvPrefix` or both")
    found: dict[str, Any] = {}
    if value.get("commandFamily"):
        found["commandFamily"] = name(value, "commandFamily")
    prefix = value.get("argvPrefix") or []
    if not isinstance(prefix, list) or len(prefix) > MOST_WORDS:
        raise UsageError(f"`argvPrefix` must be at most {MOST_WORDS} words")
    if prefix:
        found["argvPrefix"] = [name({"argvPrefix": one or None}, "argvPrefix") for one in prefix]
    if not found or not all(found.get("argvPrefix", ["x"])):
        raise UsageError("`actionSelector` selects nothing")
    return found


async def _tidy(services: Services, who: Credential) -> None:
    now = services.clock()
    for policy in await kept(services, FACE, KIND):
        if policy.body["expires_at"] <= now:
            await drop(services, policy, by=who.identity)


async def remove(asked: Asked) -> Response:
    """End one before its time."""
    policy = await one_kept(asked.services, FACE, KIND, str(asked.request.path_params["policyId"]))
    await drop(asked.services, policy, by=asked.who.identity)
    return JsonAnswer({"requestId": policy.id, "status": "removed"})


POLICY = schemas.record(
    {
        "requestId": TEXT,
        "objectType": {"type": "string", "enum": [WORKSPACE, ACTION]},
        "workspaceId": TEXT,
        "sessionId": TEXT_OR_NULL,
        "enforcerId": TEXT,
        "policyMode": {"type": "string", "enum": [APPROVE_ALL, DENY_ALL]},
        "targetArtifactType": TEXT_OR_NULL,
        "actionSelector": {"type": ["object", "null"]},
        "selectorHash": TEXT_OR_NULL,
        "createdAt": schemas.TIME,
        "expiresAt": schemas.TIME,
    }
)


def _query(name: str, meaning: str) -> Parameter:
    return Parameter(name=name, place="query", schema=TEXT, description=meaning)


ROUTES = (
    Route(
        method="GET",
        path="/v1/policy/dnd/effective",
        summary="The do-not-disturb policies that hold for an enforcer now, the strictest first",
        scopes=SEE,
        serve=effective,
        parameters=(
            _query("enforcerId", "The enforcer's id; required."),
            _query("workspaceId", "The workspace as the client calls it; required."),
            _query("sessionId", "The session, where there is one."),
        ),
        error=ERROR,
        replies={
            200: Reply("they", enveloped("dnd.policy.effective", schemas.listed(POLICY))),
            400: MALFORMED,
        },
    ),
    Route(
        method="POST",
        path="/v1/policy/dnd",
        summary="Make a do-not-disturb policy",
        scopes=WRITE,
        people=True,
        serve=create,
        body=wanted(
            {"policyMode": {"type": "string", "enum": [APPROVE_ALL, DENY_ALL]}, "expiresAt": schemas.TIME},
            enforcerId=TEXT_OR_NULL,
            workspaceId=TEXT_OR_NULL,
            sessionId=TEXT_OR_NULL,
            targetArtifactType=TEXT_OR_NULL,
            actionSelector={"type": ["object", "null"]},
        ),
        error=ERROR,
        replies={201: Reply("made", POLICY), 400: MALFORMED, 409: CONFLICT},
    ),
    Route(
        method="DELETE",
        path="/v1/policy/dnd/{policyId}",
        summary="End a do-not-disturb policy before its time",
        scopes=WRITE,
        people=True,
        serve=remove,
        parameters=(
            Parameter(name="policyId", place="path", schema=TEXT, description="The policy's `requestId`."),
        ),
        error=ERROR,
        replies={
            200: Reply("ended", schemas.record({"requestId": TEXT, "status": {"const": "removed"}})),
            404: NOT_FOUND,
            409: CONFLICT,
        },
    ),
)
