"""All that stored policies say of an action, as one: the most restrictive holds, beside the YAML."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from airlock import texts
from airlock.canonical import encode
from airlock.model import Effect, Overlay, Reviewers
from airlock.web.compat.asking import records_of
from airlock.web.compat.firewall.nlp import policies as nlp
from airlock.web.compat.firewall.opinions import LEAST_LIFE, MOST_LIFE, USUAL_LIFE, Action, Opinion
from airlock.web.compat.firewall.rego import policies as rego
from airlock.web.compat.firewall.words import FACE, graver, risk_of

if TYPE_CHECKING:
    from airlock.web.services import Services

Source: TypeAlias = "Callable[[Services, Action], Awaitable[Sequence[Opinion]]]"

SOURCES: tuple[Source, ...] = (rego.opinions, nlp.opinions)
"""Whoever has stored policies. One that raises lets nothing through: the action is not decided at all."""

UNNAMED = "no policy names it: a person decides"


async def ruling(services: Services, action: Action) -> tuple[Overlay, str]:
    """What all stored policies say today, and how grave they find it in this API's words."""
    opinions = [one for source in SOURCES for one in await source(services, action)]
    await texts.keep(records_of(services), _said(opinions).values(), services.clock())
    return joined(opinions), graver("low", *(one.risk for one in opinions))


def _said(opinions: Sequence[Opinion]) -> dict[str, str]:
    """The texts of those that had a say, by the names under which a decision names them."""
    heard = (one for one in opinions if one.text and (one.effect is not None or one.risk != "low"))
    return {f"{one.kind}:{one.policy_id}": one.text for one in heard}


def joined(opinions: Sequence[Opinion]) -> Overlay:
    """One overlay of them: deny over ask over allow; of several that ask, everyone's terms."""
    risk = risk_of(graver("low", *(one.risk for one in opinions)))
    consulted = {name: texts.digest(text) for name, text in _said(opinions).items()}
    voiced = [(one.effect, one) for one in opinions if one.effect is not None]
    if not voiced:
        return Overlay(rule=FACE, reason=UNNAMED, risk=risk, life_ms=USUAL_LIFE, consulted=consulted)
    effect, first = max(voiced, key=lambda pair: pair[0].strictness)  # the first of the strictest
    asking = [one for said, one in voiced if said is Effect.ASK]
    lives = [one.life_ms for one in asking if one.life_ms is not None]
    return Overlay(
        effect=effect,
        rule=_rule(first),
        reason=first.reason or f"policy `{first.name}`",
        risk=risk,
        reviewers=tuple(
            Reviewers(rule=_rule(one), names=one.reviewers, quorum=one.quorum)
            for one in asking
            if one.quorum > 1 or one.reviewers
        ),
        life_ms=min(MOST_LIFE, max(LEAST_LIFE, min(lives, default=USUAL_LIFE))),
        digest=_digest([one for said, one in voiced if said is effect]),
        consulted=consulted,
    )


def _rule(opinion: Opinion) -> str:
    return f"{FACE}:{opinion.policy_id}"


def _digest(opinions: Sequence[Opinion]) -> str:
    """Of the texts that stand behind an effect, in whatever order they were read."""
    texts = sorted([one.policy_id, one.digest] for one in opinions)
    return hashlib.sha256(encode(texts)).hexdigest()


def policy_id(rule: str) -> str | None:
    """A rule as the API names it: a stored policy's id, the YAML's rule by its name, None for none."""
    if rule == FACE:
        return None
    return rule.removeprefix(f"{FACE}:") or None
