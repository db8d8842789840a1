"""SidClaw's own policies: what they say of one evaluation, as an overlay over the YAML. Strictest wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airlock.model import Effect, Overlay
from airlock.ports_faces import Record
from airlock.values import dataclass
from airlock.web.compat.matching import matches
from airlock.web.compat.sidclaw.words import (
    EFFECTS,
    FACE,
    dashed,
    level,
    member,
    risk_of,
    risk_word,
)
from airlock.web.compat.stored import consult, kept

if TYPE_CHECKING:
    from airlock.web.services import Services

KIND = "policy"
PREFIX = f"{FACE}:"
LIFE_S = 86_400
NO_MATCH = "no policy names this operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a client asks about. `agent` is the id that it gave, `names` all that the agent is known by."""

    agent: str
    names: frozenset[str]
    operation: str
    integration: str
    scope: str
    classification: str
    context: Mapping[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """What is judged, bound to an approval, and shown to the person."""
        return {
            "agent_id": self.agent,
            "operation": self.operation,
            "target_integration": self.integration,
            "resource_scope": self.scope,
            "data_classification": self.classification,
            "context": dict(self.context),
        }


def of_arguments(arguments: Mapping[str, Any], names: frozenset[str]) -> Evaluation:
    """The evaluation that these arguments were made of."""
    context = arguments.get("context")
    return Evaluation(
        agent=member(arguments, "agent_id"),
        names=names,
        operation=member(arguments, "operation"),
        integration=member(arguments, "target_integration"),
        scope=member(arguments, "resource_scope", "*"),
        classification=member(arguments, "data_classification", "internal"),
        context=context if isinstance(context, Mapping) else {},
    )


async def overlay(services: Services, wanted: Evaluation, *, inactive: str = "") -> Overlay:
    """What SidClaw's side says: an agent that is not active is denied, then the first policy that matches.

    Where none matches and the YAML is silent too, it is a deny, as SidClaw documents.
    """
    risk = risk_of(risk_word(wanted.operation, wanted.classification))
    if inactive:
        return Overlay(
            effect=Effect.DENY, rule=f"{PREFIX}agent", reason=f"the agent is {inactive}", risk=risk
        )
    policy = first_match(await active(services), wanted)
    if policy is None:
        return Overlay(reason=NO_MATCH, risk=risk, life_ms=LIFE_S * 1000, otherwise=Effect.DENY)
    body = policy.body
    name, said = f"policy:{dashed(policy.id)}", {one: body[one] for one in body if one != "versions"}
    consulted = await consult(services, {name: said})
    return Overlay(
        effect=EFFECTS[body["policy_effect"]],
        rule=PREFIX + dashed(policy.id),
        reason=body["rationale"],
        risk=risk,
        life_ms=(body["max_session_ttl"] or LIFE_S) * 1000,
        digest=consulted[name],
        consulted=consulted,
        otherwise=Effect.DENY,
    )


async def active(services: Services) -> list[Record]:
    """The policies in force, in the order in which they are tried: the highest priority, then the oldest."""
    found = [one for one in await kept(services, FACE, KIND) if one.body["is_active"]]
    return sorted(found, key=lambda one: -one.body["priority"])


def first_match(policies: Iterable[Record], wanted: Evaluation) -> Record | None:
    """The policy that decides, if one names this."""
    return next((one for one in policies if names(one.body, wanted)), None)


def names(body: Mapping[str, Any], wanted: Evaluation) -> bool:
    """True when a policy names this evaluation. A classification covers its own level and those below."""
    return (
        body["agent_id"] in {None, "*", *wanted.names}
        and body["operation"] in {"*", wanted.operation}
        and body["target_integration"] in {"*", wanted.integration}
        and body["resource_scope"] in {"*", wanted.scope}
        and level(wanted.classification) <= level(body["data_classification"])
        and _conditions_hold(body, wanted)
    )


def _conditions_hold(body: Mapping[str, Any], wanted: Evaluation) -> bool:
    """What cannot be told opens no door: then a policy that allows does not match, any other does."""
    said = matches(body["conditions"] or {}, _facts(wanted))
    return EFFECTS[body["policy_effect"]] is not Effect.ALLOW if said is None else said


def _facts(wanted: Evaluation) -> dict[str, Any]:
    return {**wanted.context, **wanted.arguments}


def policy_id(rule: str) -> str | None:
    """A rule as the API names it: a policy's own id, the YAML's rule by its name, None when none matched."""
    return rule.removeprefix(PREFIX) or None
