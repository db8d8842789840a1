"""Two policies as one: the config's, and that of the API which a call came through. The strictest wins.

Where neither names the call, the overlay's `otherwise` holds: to switch an API on is to put what comes
through it before a person.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from airlock.model import Decision, Effect, Matched, Overlay, Risk, Terms


def joined(decision: Decision, overlay: Overlay | None) -> Decision:
    """What both say of a call; the config's own decision where there is no overlay."""
    if overlay is None:
        return decision
    theirs = overlay.effect
    if decision.silent:
        theirs = theirs or overlay.otherwise
        return _taken(decision, overlay, theirs)
    if theirs is not None and theirs.strictness > decision.effect.strictness:
        return _taken(decision, overlay, theirs)
    matched = decision.matched if theirs is None else (*decision.matched, _matched(overlay, theirs))
    agrees = theirs is decision.effect
    own = overlay if agrees else replace(overlay, reviewers=())
    digest = (
        _digest(overlay, f"{decision.effect}\n{decision.rule_digest}") if agrees else decision.rule_digest
    )
    terms = _terms(decision.effect, decision.terms, own)
    return replace(decision, rule_digest=digest, terms=terms, matched=matched)


def _taken(decision: Decision, overlay: Overlay, effect: Effect) -> Decision:
    """The overlay's effect; what the config hides stays hidden, its own terms of an ask do not follow."""
    asked = decision.terms if decision.effect is effect else replace(decision.terms, reviewers=(), rates=())
    return replace(
        decision,
        effect=effect,
        rule=overlay.rule,
        rule_digest=_digest(overlay, str(effect)),
        reason=overlay.reason,
        terms=_terms(effect, asked, overlay),
        matched=(*decision.matched, _matched(overlay, effect)),
        silent=False,
    )


def _digest(overlay: Overlay, beside: str) -> str:
    return hashlib.sha256(f"{overlay.rule}\n{beside}\n{overlay.digest}".encode()).hexdigest()


def _matched(overlay: Overlay, effect: Effect) -> Matched:
    return Matched(rule=overlay.rule, effect=effect, reason=overlay.reason)


def _terms(effect: Effect, terms: Terms, overlay: Overlay) -> Terms:
    lives = [life for life in (terms.timeout_ms, overlay.life_ms) if life is not None]
    asks = effect is Effect.ASK
    return replace(
        terms,
        risk=max(terms.risk, overlay.risk, key=lambda risk: Risk(risk).weight),
        timeout_ms=min(lives) if asks and lives else None,
        reviewers=(*terms.reviewers, *overlay.reviewers) if asks else (),
    )
