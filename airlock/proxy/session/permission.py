"""The tool that Claude Code asks where it would ask its user: `--permission-prompt-tool` in headless runs.

It is shown to agents with `permission_tool: true`. It runs nothing: the call that it is asked about goes
through the gate as a hook's would, parts and all, and the answer is what Claude Code wants to read. A model
that calls it by itself has asked a person a question, and gained nothing by the answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airlock.model import Call, JsonObject, Outcome, Proceed
from airlock.proxy.offers import TOOLS, Section
from airlock.proxy.session.answers import refusal_text
from airlock.proxy.session.calls import Calls
from airlock.proxy.session.client import Client, Exchange

if TYPE_CHECKING:
    from airlock.gate import Gate
    from airlock.hooks.dialect import HookEvent

NAME: Final = "permission_prompt"
STDIO: Final = "mcp"
"""The road of a client on this machine, whose home is ours."""

TOOL: Final[JsonObject] = {
    "name": NAME,
    "title": "Ask Airlock for permission",
    "description": "Asks Airlock's policy, and a person where it says so, whether a tool call may run.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "tool_name": {"type": "string", "description": "The tool that wants to run."},
            "input": {"type": "object", "description": "Its arguments."},
            "tool_use_id": {"type": "string", "description": "The id of the call."},
        },
        "required": ["tool_name", "input"],
    },
    "annotations": {"readOnlyHint": True, "openWorldHint": False},
}


class PermissionTool:
    """Answers `permission_prompt` for one client."""

    def __init__(self, client: Client, gate: Gate, calls: Calls) -> None:
        self._client = client
        self._gate = gate
        self._calls = calls

    @property
    def _names(self) -> tuple[str, ...] | None:
        """The names of Airlock at this agent's client; None when the agent does not have the tool."""
        agent = self._gate.config.agents.get(self._client.seat.principal.name)
        return agent.mcp_names if agent is not None and agent.permission_tool else None

    @property
    def shown(self) -> bool:
        """True when the agent has the tool."""
        return self._names is not None

    def items(self, section: Section) -> list[JsonObject]:
        """What it adds to a list."""
        return [TOOL] if section is TOOLS and self.shown else []

    def takes(self, exchange: Exchange, params: JsonObject) -> bool:
        """True when a tools/call is for it: then it will be answered."""
        names = self._names if params.get("name") == NAME else None
        if names is None:
            return False
        from airlock.hooks.dialect import UnreadableHook
        from airlock.hooks.tools import is_ours

        try:
            event = _event(params.get("arguments"), self._client.seat.cwd)
        except UnreadableHook as error:
            self._deny(exchange, f"airlock: {error}")
            return True
        if is_ours(event, names):
            self._allow(exchange, event)  # a call of ours is asked about when it arrives here
        else:
            exchange.task = self._client.finish(self._decide(exchange, event))
        return True

    async def _decide(self, exchange: Exchange, event: HookEvent) -> None:
        verdict = await self._calls.authorize(exchange, self._call(event))
        if not isinstance(verdict, Proceed):
            self._deny(exchange, refusal_text(verdict))
        elif exchange.over:
            self._calls.complete(verdict, Outcome.CANCELLED)
        else:
            self._calls.complete(verdict, Outcome.UNKNOWN)
            self._allow(exchange, event)

    def _call(self, event: HookEvent) -> Call:
        import os
        import secrets

        from airlock.hooks.calls import build_call

        seat = self._client.seat
        call = build_call(
            event,
            agent=seat.principal.name,
            workspace=seat.workspace,
            new_id=lambda: secrets.token_hex(16),
            identity=seat.principal.identity,
            home=os.path.expanduser("~") if seat.road == STDIO else "",  # noqa: PTH111 - text, as in shells
        )
        origin = replace(call.origin, road=seat.road, session=seat.session, client=self._client.name)
        return call._replace(origin=origin)

    def _allow(self, exchange: Exchange, event: HookEvent) -> None:
        self._say(exchange, {"behavior": "allow", "updatedInput": event.input})

    def _deny(self, exchange: Exchange, message: str) -> None:
        self._say(exchange, {"behavior": "deny", "message": message})

    def _say(self, exchange: Exchange, answer: JsonObject) -> None:
        from airlock.canonical import encode

        content = [{"type": "text", "text": encode(answer).decode()}]
        self._client.succeed(exchange, {"content": content})


def _event(arguments: Any, cwd: str) -> HookEvent:
    """The call that it is asked about, in the words of Claude Code's hooks."""
    from airlock.hooks.dialect import UnreadableHook
    from airlock.hooks.dialects import CLAUDE_CODE

    given = arguments if isinstance(arguments, dict) else {}
    event = CLAUDE_CODE.read(
        {
            "hook_event_name": "PreToolUse",
            "tool_name": given.get("tool_name"),
            "tool_input": given.get("input"),
            "tool_use_id": given.get("tool_use_id"),
            "cwd": cwd,
        }
    )
    if event is None:
        raise UnreadableHook("there is no call to decide")
    return event
