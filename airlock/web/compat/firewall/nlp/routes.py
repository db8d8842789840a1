"""`/admin/nlp-policies`: keep policies that judge by meaning, try them on a text, and ask them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from airlock.errors import NoSuchRequest
from airlock.model import Effect, JsonObject
from airlock.ports_faces import Record
from airlock.web import schemas
from airlock.web.compat.firewall.faults import CONFLICT, DROPPED, ERROR, MALFORMED, NOT_FOUND
from airlock.web.compat.firewall.nlp import policies
from airlock.web.compat.firewall.nlp.detectors import LONGEST
from airlock.web.compat.firewall.nlp.judging import Content, Judgement
from airlock.web.compat.firewall.nlp.policies import FIELDS, KIND, PREFIX, USUALLY, judge_of, shape
from airlock.web.compat.firewall.nlp.prompts import TYPES
from airlock.web.compat.firewall.nlp.templates import TEMPLATES
from airlock.web.compat.firewall.words import (
    DECISIONS,
    FACE,
    READ_POLICIES,
    WRITE_POLICIES,
    own_id,
    public_id,
)
from airlock.web.compat.pages import page_reply, page_shape
from airlock.web.compat.query import page, page_parameters, text
from airlock.web.compat.stored import add, change, drop, kept, one_kept
from airlock.web.errors import JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route

USUAL, MOST = 100, 1_000
MOST_FINDINGS = 50
SAYS_NOTHING = "allow"
"""That no policy objects, which alone allows nothing: the other policies still decide."""


async def listing(asked: Asked) -> Response:
    """A page of policies, oldest first."""
    services, wanted = asked.services, page(asked.request.query_params, usual=USUAL, most=MOST)
    rows = await kept(services, FACE, KIND)
    shown = rows[wanted.offset : wanted.offset + wanted.limit]
    return JsonAnswer(page_shape([shape(services, one) for one in shown], len(rows), wanted))


async def create(asked: Asked) -> Response:
    """A new policy, in force at once unless it says otherwise."""
    body = policies.fields(asked.services, {**USUALLY, **asked.body})
    made = await add(asked.services, FACE, KIND, body, by=asked.who.identity, told=body)
    return JsonAnswer(shape(asked.services, made), 201)


async def show(asked: Asked) -> Response:
    """One policy."""
    return JsonAnswer(shape(asked.services, await _one(asked)))


async def update(asked: Asked) -> Response:
    """What the body names is replaced."""
    old = await _one(asked)
    whole = {**{name: old.body[name] for name in FIELDS}, **asked.body}
    body = policies.fields(asked.services, whole)
    made = await change(asked.services, old, body, by=asked.who.identity, told=body)
    return JsonAnswer(shape(asked.services, made))


async def end(asked: Asked) -> Response:
    """A policy that holds no longer."""
    old = await _one(asked)
    await drop(asked.services, old, by=asked.who.identity)
    return JsonAnswer({"success": True, "id": public_id(PREFIX, old.id)})


async def templates(_: Asked) -> Response:
    """Policies to begin with."""
    return JsonAnswer({"data": [dict(one) for one in TEMPLATES]})


async def try_out(asked: Asked) -> Response:
    """What one policy says of a text, enabled or not; nothing is recorded."""
    policy, content = await _one(asked), await _content(asked.body)
    return JsonAnswer(await _tried(asked, policy, content))


async def evaluate(asked: Asked) -> Response:
    """What all enabled policies say of a text, the strictest over all."""
    content = await _content(asked.body)
    reference = text(asked.body, "action_id", most=200) or None
    enabled = [one for one in await kept(asked.services, FACE, KIND) if one.body["enabled"]]
    started = time.monotonic()
    results = await asyncio.gather(*(_tried(asked, one, content) for one in enabled))
    scores = [one["risk_score"] for one in results if one["risk_score"] is not None]
    return JsonAnswer(
        {
            "action_id": reference,
            "decision": _strictest([str(one["decision"]) for one in results]),
            "risk_score": max(scores, default=None),
            "results": list(results),
            "latency_ms": _since(started),
        }
    )


def _strictest(words: list[str]) -> str:
    order = [DECISIONS[one] for one in sorted(Effect, key=lambda one: -one.strictness)]
    return min(words, key=order.index, default=SAYS_NOTHING)


async def _content(body: Mapping[str, Any]) -> Content:
    said = text(body, "content", most=LONGEST, required=True)
    return await Content.of(said, said)


async def _tried(asked: Asked, policy: Record, content: Content) -> JsonObject:
    started = time.monotonic()
    said = await judge_of(asked.services).judge(policy.body, content)
    effect = said.effect(policy.body["threshold"])
    return {
        "policy_id": public_id(PREFIX, policy.id),
        "policy_name": policy.body["name"],
        "decision": DECISIONS[effect] if effect is not None else SAYS_NOTHING,
        "risk_score": said.score,
        "reasoning": _reasoning(said),
        "details": {
            "detected_issues": list(said.issues),
            "confidence": said.confidence,
            "findings": [
                {"kind": one.kind, "start": one.start, "end": one.end, "masked": one.masked}
                for one in said.findings[:MOST_FINDINGS]
            ],
            "evaluated_by": said.by,
        },
        "latency_ms": _since(started),
    }


def _reasoning(said: Judgement) -> str:
    unsure = f"it could not be judged: {said.failed}" if said.failed else ""
    return "; ".join(one for one in (said.reasoning, unsure) if one)


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)


async def _one(asked: Asked) -> Record:
    reference = str(asked.request.path_params["id"])
    try:
        return await one_kept(asked.services, FACE, KIND, own_id(PREFIX, reference))
    except NoSuchRequest:
        raise NoSuchRequest(f"no NLP policy with id `{reference[:64]}`") from None


ID = Parameter(name="id", place="path", schema=schemas.TEXT, description="The id, such as `nlp_…`.")
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_SHARE_OR_NULL = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_WORDS = {"type": ["string", "null"], "maxLength": 100}
PROPERTIES: Mapping[str, Any] = {
    "name": {"type": "string", "minLength": 1, "maxLength": policies.MOST_NAME},
    "description": {"type": ["string", "null"], "maxLength": policies.MOST_DESCRIPTION},
    "type": {"type": "string", "enum": list(TYPES)},
    "provider": {**_WORDS, "description": "a server of `nlp:` in the config, or `local`"},
    "model": {**_WORDS, "description": "one that the config names for that server"},
    "threshold": _SHARE,
    "enabled": schemas.BOOLEAN,
    "prompt": {
        "type": ["string", "null"],
        "maxLength": policies.MOST_PROMPT,
        "description": "of type `custom`",
    },
}
_BY = {"type": "string", "enum": ["model", "local", "none"]}
POLICY = schemas.record(
    {
        "id": schemas.TEXT,
        **PROPERTIES,
        "evaluated_by": _BY,
        "created_at": schemas.TIME,
        "updated_at": schemas.TIME,
    }
)
TEMPLATE = schemas.record(
    {
        "id": schemas.TEXT,
        **{name: PROPERTIES[name] for name in ("name", "description", "type", "threshold", "prompt")},
    }
)
TRIED = schemas.record(
    {
        "policy_id": schemas.TEXT,
        "policy_name": schemas.TEXT,
        "decision": {"type": "string", "enum": list(DECISIONS.values())},
        "risk_score": _SHARE_OR_NULL,
        "reasoning": schemas.TEXT,
        "details": schemas.record(
            {
                "detected_issues": schemas.TEXTS,
                "confidence": _SHARE_OR_NULL,
                "findings": schemas.listed(
                    schemas.record(
                        {
                            "kind": schemas.TEXT,
                            "start": schemas.COUNT,
                            "end": schemas.COUNT,
                            "masked": schemas.TEXT,
                        }
                    )
                ),
                "evaluated_by": _BY,
            }
        ),
        "latency_ms": schemas.COUNT,
    }
)
EVALUATED = schemas.record(
    {
        "action_id": schemas.TEXT_OR_NULL,
        "decision": {"type": "string", "enum": list(DECISIONS.values())},
        "risk_score": _SHARE_OR_NULL,
        "results": schemas.listed(TRIED),
        "latency_ms": schemas.COUNT,
    }
)
CONTENT = {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": r"\S"}
_ALL, _EACH = "/admin/nlp-policies", "/admin/nlp-policies/{id}"

ROUTES = (
    Route(
        method="GET",
        path=_ALL,
        summary="The NLP policies, oldest first (Agent Action Firewall)",
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
        path=_ALL,
        summary="Keep an NLP policy; it is in force at once (Agent Action Firewall)",
        scopes=WRITE_POLICIES,
        people=True,
        serve=create,
        body={"type": "object", "properties": PROPERTIES, "required": ["name", "type"]},
        error=ERROR,
        replies={201: Reply("the policy", POLICY), 400: MALFORMED, 409: CONFLICT},
    ),
    Route(
        method="GET",
        path=f"{_ALL}/templates",
        summary="NLP policies to begin with (Agent Action Firewall)",
        scopes=READ_POLICIES,
        people=True,
        serve=templates,
        error=ERROR,
        replies={200: Reply("the templates", schemas.record({"data": schemas.listed(TEMPLATE)}))},
    ),
    Route(
        method="POST",
        path=f"{_ALL}/evaluate",
        summary="What all enabled NLP policies say of a text (Agent Action Firewall)",
        scopes=READ_POLICIES,
        people=True,
        serve=evaluate,
        body={
            "type": "object",
            "properties": {"content": CONTENT, "action_id": {"type": ["string", "null"], "maxLength": 200}},
            "required": ["content"],
        },
        error=ERROR,
        replies={200: Reply("what they say", EVALUATED), 400: MALFORMED},
    ),
    Route(
        method="GET",
        path=_EACH,
        summary="One NLP policy (Agent Action Firewall)",
        scopes=READ_POLICIES,
        people=True,
        serve=show,
        parameters=(ID,),
        error=ERROR,
        replies={200: Reply("the policy", POLICY), 404: NOT_FOUND},
    ),
    Route(
        method="PATCH",
        path=_EACH,
        summary="Change an NLP policy (Agent Action Firewall)",
        scopes=WRITE_POLICIES,
        people=True,
        serve=update,
        parameters=(ID,),
        body={"type": "object", "properties": PROPERTIES},
        error=ERROR,
        replies={200: Reply("the policy", POLICY), 400: MALFORMED, 404: NOT_FOUND, 409: CONFLICT},
    ),
    Route(
        method="DELETE",
        path=_EACH,
        summary="Drop an NLP policy (Agent Action Firewall)",
        scopes=WRITE_POLICIES,
        people=True,
        serve=end,
        parameters=(ID,),
        error=ERROR,
        replies=DROPPED,
    ),
    Route(
        method="POST",
        path=f"{_EACH}/test",
        summary="What one NLP policy says of a text (Agent Action Firewall)",
        scopes=READ_POLICIES,
        people=True,
        serve=try_out,
        parameters=(ID,),
        body={"type": "object", "properties": {"content": CONTENT}, "required": ["content"]},
        error=ERROR,
        replies={200: Reply("what it says", TRIED), 400: MALFORMED, 404: NOT_FOUND},
    ),
)
