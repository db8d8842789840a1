"""Stored Rego policies, and what they say of an action. What cannot be evaluated denies, and names itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airlock.model import Effect
from airlock.ports_faces import Record
from airlock.web.compat.firewall.opinions import Action, Opinion
from airlock.web.compat.firewall.rego.engine import Engine, Judged, NoEngine, Text
from airlock.web.compat.firewall.rego.meaning import Said, Unclear, said
from airlock.web.compat.firewall.words import FACE, public_id
from airlock.web.compat.stored import kept

if TYPE_CHECKING:
    from airlock.web.services import Services

log = logging.getLogger("airlock.rego")

KIND = "policy"
PREFIX = "pol"


def engine_of(services: Services) -> Engine:
    """This gateway's engine. It has no process before the first policy."""
    return services.one(Engine, Engine)


def in_order(policies: Iterable[Record]) -> list[Record]:
    """The highest priority first, then the oldest: of several as strict ones the first gives the reason."""
    return sorted(policies, key=lambda one: -one.body["priority"])


async def opinions(services: Services, action: Action) -> tuple[Opinion, ...]:
    """What each enabled policy says of an action, in order."""
    policies = [one for one in in_order(await kept(services, FACE, KIND)) if one.body["enabled"]]
    if not policies:
        return ()
    judged = await judge(services, policies, input_of(action), who=action.agent)
    people = frozenset(services.config.people)
    return tuple(_opinion(*pair, people) for pair in zip(policies, judged, strict=True))


async def judge(
    services: Services, policies: list[Record], given: Mapping[str, Any], *, who: str = ""
) -> list[Judged]:
    """What the engine makes of each; without an engine there is nothing but the cause."""
    texts = [Text(text=one.body["content"]) for one in policies]
    try:
        return await engine_of(services).judge(texts, given, who=who)
    except NoEngine as error:
        log.warning("rego: every policy denies: %s", error)
        return [Judged(cause=str(error))] * len(policies)


def input_of(action: Action) -> dict[str, Any]:
    """The `input` of a policy."""
    return {
        "action": {
            "tool": action.tool,
            "operation": action.operation,
            "params": action.params,
            "context": action.context,
            "metadata": action.metadata,
        },
        "agent": {"id": action.agent},
        "context": action.context,
        "metadata": action.metadata,
    }


def meant(name: str, judged: Judged, people: frozenset[str]) -> tuple[Said, str]:
    """What a policy says, and what is wrong where that could not be found out: then it denies.

    The cause may quote the input, so the reason has only the line.
    """
    cause, line = judged.cause, judged.line
    if judged.outputs is not None:
        try:
            return _named(name, said(judged.outputs, people)), ""
        except Unclear as error:
            cause = str(error)
    where = f" (line {line})" if line else ""
    told = f"policy `{name}` could not be evaluated{where}"
    return Said(effect=Effect.DENY, reason=told, risk="high"), cause or "it could not be evaluated"


def _named(name: str, what: Said) -> Said:
    if what.effect is Effect.DENY and not what.reason:
        return Said(effect=what.effect, reason=f"policy `{name}` does not allow it", risk=what.risk)
    return what


def _opinion(policy: Record, judged: Judged, people: frozenset[str]) -> Opinion:
    name = policy.body["name"]
    what, _ = meant(name, judged, people)
    return Opinion(
        effect=what.effect,
        kind=KIND,
        policy_id=public_id(PREFIX, policy.id),
        name=name,
        reason=what.reason,
        risk=what.risk,
        life_ms=what.life_ms,
        quorum=what.quorum,
        reviewers=what.reviewers,
        digest=Text(text=policy.body["content"]).digest,
        text=policy.body["content"],
    )
