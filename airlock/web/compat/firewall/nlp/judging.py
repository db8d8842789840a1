"""Judges a text by one stored policy: on this machine, by a model, or not at all, which is never a yes.

What local detectors find stays here: a text that they condemn is not sent to anybody. What is sent has
secrets and numbers of persons taken out.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from airlock.canonical import encode
from airlock.config import JudgeConfig
from airlock.model import Effect
from airlock.ports import Clock
from airlock.values import dataclass
from airlock.visible import bounded
from airlock.web.compat.firewall.nlp.detectors import LONGEST, Finding, Findings, look, masked
from airlock.web.compat.firewall.nlp.endpoint import Endpoint, Unjudged
from airlock.web.compat.firewall.nlp.prompts import CUSTOM, PII_DETECTION, TASKS, Answer, Messages, messages

LOCAL = "local"
MOST_REMEMBERED = 10_000
MOST_REASONING = 500
FAILURE_MS = 60_000
"""So long a model that failed is not asked the same again: who polls neither floods it nor waits anew."""

Ask: TypeAlias = Callable[[], Awaitable["Answer | Unjudged"]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A text, looked through: what was found in it, and what of it a model may see, or why none may.

    `who` is the agent whose action it is; "" for people.
    """

    findings: Findings
    covered: str | Unjudged
    who: str = ""

    @classmethod
    async def of(cls, plain: str, sendable: str, who: str = "") -> Content:
        """Looked through beside the event loop, which has others to serve."""
        return await asyncio.to_thread(lambda: cls(findings=look(plain), covered=_covered(sendable), who=who))


def _covered(text: str) -> str | Unjudged:
    """A text without what must not leave; none when that cannot be told."""
    if len(text) > LONGEST:
        return Unjudged(f"it has more than {LONGEST:,} characters")
    seen = look(text)
    if not seen.whole:
        return Unjudged("more must be taken out of it than can be, before a model sees it")
    return masked(text, [one for one in seen.found if one.secret])


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is thought of a text. `failed` says why nobody, or not everybody, could judge it.

    `by` is local, model, or none.
    """

    score: float | None = None
    reasoning: str = ""
    issues: tuple[str, ...] = ()
    confidence: float | None = None
    findings: tuple[Finding, ...] = ()
    by: str = "none"
    failed: str = ""

    def effect(self, threshold: float) -> Effect | None:
        """Deny from the threshold on, ask where it could not be judged; else it says nothing."""
        if self.score is not None and self.score >= threshold:
            return Effect.DENY
        return Effect.ASK if self.failed else None


class Judge:
    """The models of one gateway, and what they said of late."""

    def __init__(self, servers: Mapping[str, JudgeConfig], clock: Clock) -> None:
        self.servers = servers
        self._endpoints = {name: Endpoint(one) for name, one in servers.items()}
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[int | None, Answer | Unjudged]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Answer | Unjudged]] = {}

    def endpoint(self, policy: Mapping[str, Any]) -> Endpoint | None:
        """The server that a policy means: the first where it names none."""
        name = policy["provider"]
        if name is None:
            return next(iter(self._endpoints.values()), None)
        return None if name == LOCAL else self._endpoints.get(name)

    async def judge(self, policy: Mapping[str, Any], content: Content) -> Judgement:
        """What a policy's way of judging says of a content."""
        own = _local(content) if policy["type"] == PII_DETECTION else None
        if own is not None and own.effect(policy["threshold"]) is Effect.DENY:
            return own
        endpoint = self.endpoint(policy)
        if endpoint is None:
            return own or Judgement(failed=_nobody(policy))
        try:
            said = await self._said(endpoint, policy, content)
        except Unjudged as error:
            log.warning("an NLP policy of type %s could not judge: %s", policy["type"], error)
            return replace(own or Judgement(), failed=str(error))
        return _joined(said, own)

    async def _said(self, endpoint: Endpoint, policy: Mapping[str, Any], content: Content) -> Answer:
        """What the model says, or said of the same before."""
        model = policy["model"] or endpoint.config.models[0]
        if model not in endpoint.config.models:
            raise Unjudged(f"`{model}` is not a model that the config lets policies name")
        task = policy["prompt"] if policy["type"] == CUSTOM else TASKS[policy["type"]]
        if isinstance(content.covered, Unjudged):
            raise Unjudged(str(content.covered))
        key = hashlib.sha256(encode([endpoint.config.url, model, task, content.covered])).digest()
        known = self._recalled(key)
        if known is None:
            told = messages(task, content.covered)
            known = await self._once(key, partial(_asked, endpoint, model, told, content.who))
        if isinstance(known, Unjudged):
            raise Unjudged(str(known))
        return known

    async def _once(self, key: bytes, ask: Ask) -> Answer | Unjudged:
        """One question for all who want to know the same; it is asked to its end, whoever stays for it."""
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.get_running_loop().create_task(self._learn(key, ask))
            self._asking[key] = asking
        return await asyncio.shield(asking)

    async def _learn(self, key: bytes, ask: Ask) -> Answer | Unjudged:
        try:
            known = await ask()
            self._remember(key, known)
        finally:
            del self._asking[key]
        return known

    def _recalled(self, key: bytes) -> Answer | Unjudged | None:
        until, known = self._known.get(key, (None, None))
        return None if until is not None and self._clock() >= until else known

    def _remember(self, key: bytes, said: Answer | Unjudged) -> None:
        until = self._clock() + FAILURE_MS if isinstance(said, Unjudged) else None
        self._known[key] = (until, said)
        self._known.move_to_end(key)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)


async def _asked(endpoint: Endpoint, model: str, told: Messages, who: str) -> Answer | Unjudged:
    """What a model says, as it may be shown, or why it says nothing."""
    try:
        said = await endpoint.ask(model, told, who)
    except Unjudged as error:
        return error
    return replace(said, reasoning=_repeatable(said.reasoning))


def _nobody(policy: Mapping[str, Any]) -> str:
    if policy["provider"] is None:
        return "no model is configured that could judge it"
    return f"no model is configured as `{policy['provider']}`"


def _local(content: Content) -> Judgement:
    """What the local detectors think: of a text that they did not see whole, not enough."""
    seen = content.findings
    kinds = seen.kinds
    return Judgement(
        score=seen.score,
        reasoning=f"found on this machine: {', '.join(kinds)}"
        if kinds
        else "the local detectors find nothing",
        issues=kinds,
        confidence=seen.confidence,
        findings=seen.found,
        by=LOCAL,
        failed="" if seen.whole else "it is too long, or holds too much, to be looked through",
    )


def _joined(said: Answer, own: Judgement | None) -> Judgement:
    """A model's word, and that of the detectors beside it: the graver counts."""
    found = own.issues if own is not None else ()
    return Judgement(
        score=max(said.score, (own.score or 0.0) if own is not None else 0.0),
        reasoning=said.reasoning,
        issues=tuple(dict.fromkeys([*found, *said.issues])),
        confidence=said.confidence,
        findings=own.findings if own is not None else (),
        by="model",
        failed=own.failed if own is not None else "",
    )


def _repeatable(reasoning: str) -> str:
    """A model's words with every value covered that the detectors know, and every character visible."""
    seen = look(reasoning)
    return bounded(masked(reasoning, seen.found), MOST_REASONING) if seen.whole else ""
