"""Where hooks are decided: from a payload in some client's words, through the gate, to an answer in kind.

Both ways in use it: `POST /hook` of the gateway and `airlock hook` in a process of its own. Whatever is
not a plain yes of the gate leaves here as a no that the client obeys, or, where nothing runs on it, as
silence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airlock.canonical import canonical
from airlock.hooks.calls import build_call
from airlock.hooks.claude_code import PERMISSION, defer
from airlock.hooks.dialect import STILL_OPEN, Dialect, HookAnswer, HookEvent, UnreadableHook, answer, text_of
from airlock.hooks.tools import is_ours
from airlock.model import Call, Effect, Outcome, Proceed, Refusal, Refuse, Verdict, Wait
from airlock.ports import MakeId
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.gate import Gate
    from airlock.joins import Joins

RESULTS = {
    "PostToolUse": Outcome.SUCCESS,
    "postToolUse": Outcome.SUCCESS,
    "AfterTool": Outcome.SUCCESS,
    "PostToolUseFailure": Outcome.ERROR,
    "postToolUseFailure": Outcome.ERROR,
}
"""Events that tell how a call came out."""


LONGEST_NAME = 200
"""Longer names of agents are not even recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who brings a hook, and what it may say for itself.

    `bound` is the agent that its credential is bound to; `named` the agent that the caller names beside
    the payload. `guarded` are the agents that accept only their own token, unless `own` is that agent.
    `identity` is empty where the call is the agent's own.
    """

    bound: str = ""
    named: str = ""
    own: str = ""
    guarded: frozenset[str] = frozenset()
    identity: str = ""
    home: str = ""
    timeout_ms: int | None = None
    defers: bool = False

    def agent_for(self, told: str, usual: str) -> str:
        """The agent whose policy applies; Misnamed when the caller may not speak for it (decisions.md 2)."""
        claims = {name for name in (self.named, told) if name}
        if any(len(name) > LONGEST_NAME for name in claims):
            raise Misnamed("no agent has a name as long as that")
        if len(claims) > 1:
            raise Misnamed("two agents are named: one beside the payload, another in it")
        if self.bound:
            if claims - {self.bound}:
                raise Misnamed(f"this credential speaks for agent `{self.bound}` only")
            return self.bound
        agent = self.named or told or usual
        if agent in self.guarded and agent != self.own:
            raise Misnamed(f"agent `{agent}` accepts only its own token")
        return agent


class Misnamed(UnreadableHook):
    """The caller names an agent that it may not speak for."""


class HookDesk:
    """Answers hooks. `joins` remembers what was let through; without it each hook stands alone."""

    def __init__(self, gate: Gate, *, joins: Joins | None, make_id: MakeId) -> None:
        self._gate = gate
        self._joins = joins
        self._make_id = make_id

    async def answer(self, dialect: Dialect, payload: Mapping[str, Any], caller: Caller) -> HookAnswer:
        """The answer to one payload. Held while a person decides; cancelling it leaves the question open."""
        name = dialect.event_of(payload)
        try:
            event = dialect.read(payload)
            if event is None:
                return await self._result(dialect, name, payload, caller)
            agent = caller.agent_for(text_of(payload, "agent"), event.agent or dialect.name)
        except Misnamed as error:
            return dialect.deny(str(error), event=name, tool=_tool_of(payload))
        except UnreadableHook as error:
            return dialect.deny(str(error), event=name, status=error.status)
        return await self._decide(dialect, event, agent, caller)

    async def _decide(self, dialect: Dialect, event: HookEvent, agent: str, caller: Caller) -> HookAnswer:
        config = self._gate.config
        known = config.agents.get(agent)
        if known is not None and is_ours(event, known.mcp_names):
            return dialect.quiet()
        call = build_call(
            event,
            agent=agent,
            workspace=config.workspace,
            new_id=self._make_id,
            identity=caller.identity,
            home=caller.home,
        )
        action = digest_of(event)
        if event.event == PERMISSION and await self._asked_already(call, action):
            return dialect.allow(event, call.tool)
        if (
            caller.defers
            and event.tool_use_id
            and event.event != PERMISSION
            and dialect.name == "claude-code"
        ):
            return await self._deferred(dialect, event, call, action)
        patience = self._patience(dialect, agent, caller)
        verdict = await self._gate.authorize(call, patience_ms=patience)
        return await self._told(dialect, event, call, action, verdict)

    async def _told(
        self, dialect: Dialect, event: HookEvent, call: Call, action: str, verdict: Verdict
    ) -> HookAnswer:
        tool = _decider(verdict) or call.tool
        if isinstance(verdict, Proceed):
            await self._passed(verdict, event, action)
            return answer(dialect, event, verdict, tool)
        if isinstance(verdict, Refuse) and verdict.kind is Refusal.PENDING:
            if event.event == PERMISSION:
                return dialect.quiet()  # the dialog is still there, and so is the person in front of it
            return dialect.deny(STILL_OPEN, event=event.event, tool=tool)
        return answer(dialect, event, verdict, tool)

    def _patience(self, dialect: Dialect, agent: str, caller: Caller) -> int:
        """How long a call may be held: a little less than its caller waits, or than the config says."""
        config = self._gate.config
        known = config.agents.get(agent)
        wished = known.patience_ms if known is not None else None
        if wished is None:
            wished = config.approvals.patience_ms
        held = dialect.hold_ms(caller.timeout_ms)
        return held if wished is None else min(held, wished)

    async def _deferred(self, dialect: Dialect, event: HookEvent, call: Call, action: str) -> HookAnswer:
        """End a headless run at this call; resumed, it fires the hook again and finds the answer."""
        verdict = await self._gate.submit(call, attend=False)
        if isinstance(verdict, Wait):
            return defer()
        return await self._told(dialect, event, call, action, verdict)

    async def _asked_already(self, call: Call, action: str) -> bool:
        """True when this very action was let through just now, and today's policy does not forbid it."""
        if self._joins is None or not self._joins.take(call, action):
            return False
        controls = await self._gate.store.controls()
        if controls.paused(call.agent) or not self._gate.policy.knows(call.agent):
            return False
        if (await self._gate.preview(call)).effect is Effect.DENY:
            return False
        body = {"tool": call.tool, "session": call.origin.session, "identity": call.principal.identity}
        await self._gate.remark("permission.joined", body, agent=call.agent)
        return True

    async def _passed(self, proceed: Proceed, event: HookEvent, action: str) -> None:
        if self._joins is None:
            await self._gate.complete(proceed, Outcome.UNKNOWN)
        else:
            self._joins.passed(proceed, action if event.event != PERMISSION else "")

    async def _result(
        self, dialect: Dialect, name: str, payload: Mapping[str, Any], caller: Caller
    ) -> HookAnswer:
        """An event that is no call about to run: it may end a call's record, and may hide secrets."""
        outcome = RESULTS.get(name)
        if outcome is None:
            return dialect.quiet()
        session, used = payload.get("session_id"), payload.get("tool_use_id")
        if self._joins is not None and isinstance(session, str) and isinstance(used, str):
            agent = caller.agent_for("", dialect.name)
            await self._joins.came_out(agent, session, used, outcome)
        if dialect.name != "claude-code" or outcome is not Outcome.SUCCESS:
            return dialect.quiet()
        return self._redacted(dialect, name, payload.get("tool_response"))

    def _redacted(self, dialect: Dialect, name: str, result: Any) -> HookAnswer:
        """What the model may see of a result, where that is less than all of it."""
        if not isinstance(result, (dict, list)):
            return dialect.quiet()
        shown = self._gate.masked({"result": result})["result"]
        if shown == result:
            return dialect.quiet()
        return HookAnswer(body={"hookSpecificOutput": {"hookEventName": name, "updatedToolOutput": shown}})


def _decider(verdict: Verdict) -> str:
    """The name that decided: of several parts the first with the strictest effect (decisions.md 14)."""
    return verdict.tool if isinstance(verdict, Refuse) else verdict.decision.tool


def _tool_of(payload: Mapping[str, Any]) -> str:
    tool = payload.get("tool")
    return tool[:200] if isinstance(tool, str) else ""


def digest_of(event: HookEvent) -> str:
    """What joins two hooks about one action: the tool and every byte of its input."""
    return hashlib.sha256(canonical([event.tool, event.input, event.cwd])).hexdigest()
