"""NLP policies as they are kept, checked, shown, and what the enabled ones say of an action."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airlock.canonical import encode
from airlock.errors import UsageError
from airlock.model import Effect, JsonObject, Principal
from airlock.ports_faces import Record
from airlock.views import iso
from airlock.web.compat import stored
from airlock.web.compat.firewall.nlp.detectors import lines
from airlock.web.compat.firewall.nlp.judging import LOCAL, Content, Judge, Judgement
from airlock.web.compat.firewall.nlp.patterns import KINDS
from airlock.web.compat.firewall.nlp.prompts import CUSTOM, PII_DETECTION, TYPES
from airlock.web.compat.firewall.opinions import Action, Opinion
from airlock.web.compat.firewall.submitted import Submitted, call_of
from airlock.web.compat.firewall.words import FACE, public_id
from airlock.web.compat.query import flag, text

if TYPE_CHECKING:
    from airlock.config import JudgeConfig
    from airlock.web.services import Services

KIND = "nlp_policy"
PREFIX = "nlp"
MOST_NAME, MOST_DESCRIPTION, MOST_PROMPT = 200, 2_000, 4_000
USUALLY: Mapping[str, Any] = {
    "description": "",
    "provider": None,
    "model": None,
    "threshold": 0.7,
    "enabled": True,
    "prompt": None,
}
FIELDS = ("name", "type", *USUALLY)
_MEANING = ("type", "provider", "model", "threshold", "prompt")
"""What an approval depends on: another name or description changes no judgement."""

_OUR_WORDS = frozenset(one.name for one in KINDS)
"""Names for what was found that no model made up."""

_GRAVITY = ((0.9, "critical"), (0.7, "high"), (0.4, "medium"))


def judge_of(services: Services) -> Judge:
    """The one judge of this gateway, with the models that the config named when it was first needed."""
    options = services.config.compat.get(FACE)
    return services.one(Judge, lambda: Judge(options.nlp if options is not None else {}, services.clock))


async def opinions(services: Services, action: Action) -> tuple[Opinion, ...]:
    """What every enabled policy says of an action: a deny, a question, or nothing; never a yes."""
    enabled = [one for one in await stored.kept(services, FACE, KIND) if one.body["enabled"]]
    if not enabled:
        return ()
    content = await _content(services, action, [one.body for one in enabled])
    judge = judge_of(services)
    said = await asyncio.gather(*(judge.judge(one.body, content) for one in enabled))
    return tuple(_opinion(policy, one) for policy, one in zip(enabled, said, strict=True))


async def _content(services: Services, action: Action, policies: list[Mapping[str, Any]]) -> Content:
    """The action as text, as far as somebody reads it; masked for a model."""
    judge = judge_of(services)
    looks = any(one["type"] == PII_DETECTION for one in policies)
    asks = any(judge.endpoint(one) is not None for one in policies)
    return await Content.of(
        lines(_told(action, None)) if looks else "",
        await _sendable(services, action) if asks else "",
        action.agent,
    )


async def _sendable(services: Services, action: Action) -> str:
    """The action with all masked that the config, or a rule about it, redacts."""
    call = call_of(services, action, Principal(name=action.agent, identity=f"agent:{action.agent}"))
    shown = services.gate.shown(call, await services.gate.preview(call))
    return encode(_told(action, shown)).decode()


def _told(action: Action, arguments: Mapping[str, Any] | None) -> JsonObject:
    told = Submitted(action=action).arguments if arguments is None else arguments
    return {"tool": action.tool, "operation": action.operation, "arguments": told}


def _opinion(policy: Record, said: Judgement) -> Opinion:
    body = policy.body
    effect = said.effect(body["threshold"])
    return Opinion(
        effect=effect,
        kind="nlp",
        policy_id=public_id(PREFIX, policy.id),
        name=body["name"],
        reason=_reason(body, said, effect),
        risk=gravity(said.score),
        digest=digest(body),
        text=_text(body),
    )


def _reason(policy: Mapping[str, Any], said: Judgement, effect: Effect | None) -> str:
    """Why, without a word of the judged text or of a model: agents read this, and history keeps it."""
    if effect is Effect.ASK:
        return f"NLP policy `{policy['name']}` could not judge it: {said.failed}"
    kinds = [one for one in said.issues if one in _OUR_WORDS]
    found = f": {', '.join(kinds)}" if kinds else ""
    return f"NLP policy `{policy['name']}` finds a risk of {said.score or 0:.2f}{found}"


def gravity(score: float | None) -> str:
    """A score in this API's words for risk; what could not be judged is no small one."""
    if score is None:
        return "medium"
    return next((word for least, word in _GRAVITY if score >= least), "low")


def digest(policy: Mapping[str, Any]) -> str:
    """Stands for how a policy judges."""
    return hashlib.sha256(_text(policy).encode()).hexdigest()


def _text(policy: Mapping[str, Any]) -> str:
    """All that a judgement depends on."""
    return encode({name: policy[name] for name in _MEANING}).decode()


def fields(services: Services, body: Mapping[str, Any]) -> JsonObject:
    """The fields of a policy, checked; UsageError names what is wrong."""
    name = text(body, "name", most=MOST_NAME, required=True)
    if not name.isprintable():
        raise UsageError("`name` must be printing characters")
    kind = body.get("type")
    if kind not in TYPES:
        raise UsageError(f"`type` must be one of {', '.join(TYPES)}")
    prompt = text(body, "prompt", most=MOST_PROMPT, required=kind == CUSTOM) or None
    if prompt is not None and kind != CUSTOM:
        raise UsageError("`prompt` belongs to a policy of type `custom`")
    provider, model = text(body, "provider", most=100) or None, text(body, "model", most=200) or None
    _check_model(judge_of(services).servers, provider, model)
    return {
        "name": name,
        "type": kind,
        "description": text(body, "description", most=MOST_DESCRIPTION),
        "provider": provider,
        "model": model,
        "threshold": _threshold(body),
        "enabled": flag(body, "enabled", usual=True),
        "prompt": prompt,
    }


def _check_model(servers: Mapping[str, JudgeConfig], provider: str | None, model: str | None) -> None:
    """A model that a configured server is not asked for can only be a mistake."""
    server = servers.get(provider or next(iter(servers), ""))
    if server is not None and model is not None and model not in server.models:
        raise UsageError(
            f"`model` must be one that the config names for `{server.name}`: {', '.join(server.models)}"
        )


def _threshold(body: Mapping[str, Any]) -> float:
    value = body.get("threshold")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError("`threshold` must be a number from 0 to 1")
    return value


def evaluated_by(services: Services, policy: Mapping[str, Any]) -> str:
    """Who judges by this policy today: a model, the local detectors, or nobody."""
    if judge_of(services).endpoint(policy) is not None:
        return "model"
    return LOCAL if policy["type"] == PII_DETECTION else "none"


def shape(services: Services, policy: Record) -> JsonObject:
    """One policy on the wire."""
    return {
        "id": public_id(PREFIX, policy.id),
        **{name: policy.body[name] for name in FIELDS},
        "evaluated_by": evaluated_by(services, policy.body),
        "created_at": iso(policy.created_at),
        "updated_at": iso(policy.updated_at),
    }
