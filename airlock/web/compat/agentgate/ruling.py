"""What AgentGate's stored policies say of a request.

They are read by ascending `priority`; the first rule that matches is what they say. Of that and the YAML the
strictest holds. A rule that cannot be told never opens a door: it counts where it is strict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from airlock.canonical import encode
from airlock.model import Effect, Overlay, Reviewers
from airlock.ports_faces import Record
from airlock.web.compat import stored
from airlock.web.compat.agentgate.shapes import CONTEXT
from airlock.web.compat.agentgate.words import FACE, RISKS
from airlock.web.compat.matching import matches

if TYPE_CHECKING:
    from airlock.web.services import Services

POLICY = "policy"
EFFECTS = {
    "auto_approve": Effect.ALLOW,
    "auto_deny": Effect.DENY,
    "route_to_human": Effect.ASK,
    "route_to_agent": Effect.ASK,
}
"""A decision that would go to an agent goes to a person: who asks never decides."""

HOUR = 3_600_000
SLACK = 60_000


class Ruling(NamedTuple):
    """The rule that matched first."""

    policy: Record
    rule: Mapping[str, Any]
    unsure: bool


async def overlay(
    services: Services, action: str, arguments: Mapping[str, Any], urgency: str, until: int | None
) -> Overlay:
    """What these policies say today; `until` is when the client wants its question to end."""
    now = services.clock()
    ruling = await _ruling(services, facts(action, arguments, urgency))
    life = HOUR if until is None else max(0, until - now) + SLACK
    if ruling is None:
        return Overlay(
            rule=FACE,
            reason="no policy names it: a person decides",
            risk=RISKS[urgency],
            life_ms=life,
            until=until,
        )
    name, rule = ruling.policy.body["name"], dict(ruling.rule)
    return Overlay(
        effect=EFFECTS[ruling.rule["decision"]],
        rule=f"{FACE}:{name}",
        reason=f"AgentGate policy `{name}`" + (": its rule could not be told" if ruling.unsure else ""),
        risk=RISKS[urgency],
        reviewers=_reviewers(name, ruling.rule),
        life_ms=life,
        until=until,
        digest=hashlib.sha256(encode(rule)).hexdigest(),
        consulted=await stored.consult(
            services, {f"policy:{ruling.policy.id}": {"name": name, "rule": rule}}
        ),
    )


def _reviewers(name: str, rule: Mapping[str, Any]) -> tuple[Reviewers, ...]:
    people = rule.get("approvers")
    return (Reviewers(rule=f"{FACE}:{name}", names=frozenset(people)),) if people else ()


def facts(action: str, arguments: Mapping[str, Any], urgency: str) -> dict[str, Any]:
    """What a match can name: `params` also without its prefix, where that says nothing else."""
    params = {name: value for name, value in arguments.items() if name != CONTEXT}
    return {
        **params,
        "action": action,
        "status": "pending",
        "urgency": urgency,
        "params": params,
        "context": arguments.get(CONTEXT, {}),
    }


async def _ruling(services: Services, known: Mapping[str, Any]) -> Ruling | None:
    policies = [one for one in await stored.kept(services, FACE, POLICY) if one.body["enabled"]]
    for policy in in_order(policies):
        for rule in policy.body["rules"]:
            answer = matches(rule["match"], known)
            strict = EFFECTS[rule["decision"]] is not Effect.ALLOW
            if answer or (answer is None and strict):
                return Ruling(policy, rule, answer is None)
    return None


def in_order(policies: list[Record]) -> list[Record]:
    """By priority, the lowest first; among equals the oldest."""
    return sorted(policies, key=lambda one: (one.body["priority"], one.created_at))
