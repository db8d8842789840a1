"""What stored policies say of an action, whatever kind they are: the one shape that `ruling` joins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlock.model import NOTHING, Effect
from airlock.values import dataclass

MINUTE = 60_000
HOUR = 60 * MINUTE
USUAL_LIFE = 24 * HOUR
LEAST_LIFE = 5 * MINUTE
MOST_LIFE = 7 * 24 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What an agent wants to do, as policies judge it: unmasked, the operation as it was sent.

    Of `http_proxy` the operation is the HTTP method, in capital letters. `agent` is the agent of the key.
    """

    tool: str
    operation: str
    params: Mapping[str, Any]
    context: Mapping[str, Any] = NOTHING
    metadata: Mapping[str, Any] = NOTHING
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one stored policy says of an action.

    `effect` None: it says nothing of this one. A policy that could not be evaluated denies: it is for whoever
    makes the opinion to say so. `kind` and `policy_id` name it (`policy`, `nlp`), `risk` is low, medium, high
    or critical. Of an ask: `life_ms` is how long the question may be open, `quorum` how many different people
    must say yes, out of `reviewers` unless that is empty. `digest` stands for the policy's text: an approval
    is not good for another one. `text` is that text, without secrets: it is kept for proof where it is given.
    """

    effect: Effect | None
    kind: str
    policy_id: str
    name: str
    reason: str = ""
    risk: str = "low"
    life_ms: int | None = None
    quorum: int = 1
    reviewers: frozenset[str] = frozenset()
    digest: str = ""
    text: str = ""
