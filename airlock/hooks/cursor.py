"""Cursor: preToolUse, beforeShellExecution, beforeMCPExecution, beforeReadFile; answers `permission`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlock.hooks.dialect import (
    Dialect,
    HookAnswer,
    HookEvent,
    Ruling,
    UnreadableHook,
    input_of,
    sentence,
    text_of,
    tool_of,
)
from airlock.model import JsonObject

SHELL = "beforeShellExecution"
MCP = "beforeMCPExecution"
READS = frozenset({"beforeReadFile", "beforeTabFileRead"})
PRE = "preToolUse"
QUIET = frozenset(
    {
        "afterAgentResponse", "afterAgentThought", "afterFileEdit", "afterMCPExecution",
        "afterShellExecution", "afterTabFileEdit", "beforeSubmitPrompt", "postToolUse",
        "postToolUseFailure", "preCompact",
        "sessionEnd", "sessionStart", "stop", "subagentStart", "subagentStop",
    }
)  # fmt: skip
EVENTS = frozenset({SHELL, MCP, PRE, *READS, *QUIET})


class Cursor(Dialect):
    """Seconds; 60 by default. *Ask* prompts the user."""

    name = "cursor"
    asks = True
    quiet_events = QUIET

    def recognise(self, payload: Mapping[str, Any]) -> bool:
        return self.event_of(payload) in EVENTS

    def read(self, payload: Mapping[str, Any]) -> HookEvent | None:
        event = self.event_of(payload)
        if event in QUIET:
            return None
        if event not in EVENTS:
            raise UnreadableHook(f"the hook event `{event[:60]}` is not known")
        tool, arguments = self._call(event, payload)
        return HookEvent(
            client=self.name,
            event=event,
            tool=tool,
            input=arguments,
            session=text_of(payload, "conversation_id", "session_id"),
            cwd=text_of(payload, "cwd") or _root(payload),
            tool_use_id=text_of(payload, "tool_use_id"),
            mcp_server=_server(payload) if event == MCP else "",
        )

    def _call(self, event: str, payload: Mapping[str, Any]) -> tuple[str, JsonObject]:
        if event == SHELL:
            return "Shell", {"command": payload.get("command")}
        if event in READS:
            return "Read", {"file_path": payload.get("file_path")}
        if event == MCP:
            return f"mcp__{_server(payload) or 'cursor'}__{tool_of(payload)}", input_of(payload)
        return tool_of(payload), input_of(payload)

    def render(self, ruling: Ruling) -> HookAnswer:
        """Both spellings of the messages, and `decision` beside `permission`: versions differ."""
        body: JsonObject = {"permission": ruling.decision}
        general = ruling.event in {PRE, ""}
        if general and ruling.decision != "ask":
            body["decision"] = ruling.decision
        if ruling.decision != "allow":
            reason = sentence(ruling.reason)
            messages = ["user_message", "agent_message", "userMessage", "agentMessage"]
            body |= dict.fromkeys([*messages, "reason"] if general else messages, reason)
        return HookAnswer(body=body)


def _root(payload: Mapping[str, Any]) -> str:
    roots = payload.get("workspace_roots")
    return roots[0] if isinstance(roots, list) and roots and isinstance(roots[0], str) else ""


def _server(payload: Mapping[str, Any]) -> str:
    return text_of(payload, "server_name", "mcp_server_name", "server")
