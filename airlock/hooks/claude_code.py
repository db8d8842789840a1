"""Claude Code: PreToolUse and PermissionRequest. A timeout, exit 1 or nonsense lets the tool run there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

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

PRE = "PreToolUse"
PERMISSION = "PermissionRequest"
QUIET = frozenset(
    {
        "ConfigChange", "CwdChanged", "Elicitation", "ElicitationResult", "FileChanged", "InstructionsLoaded",
        "Notification", "PermissionDenied", "PostCompact", "PostToolBatch", "PostToolUse",
        "PostToolUseFailure", "PreCompact", "SessionEnd", "SessionStart", "Setup", "Stop", "StopFailure",
        "SubagentStart", "SubagentStop", "TaskCompleted", "TaskCreated", "TeammateIdle",
        "UserPromptExpansion", "UserPromptSubmit", "WorktreeCreate", "WorktreeRemove",
    }
)  # fmt: skip
"""Events that are no tool call about to run: the answer is `{}`."""


class ClaudeCode(Dialect):
    """Seconds; 600 by default. `ask` prompts the user, and refuses in headless runs."""

    name = "claude-code"
    timeout_ms = 600_000
    asks = True
    quiet_events = QUIET

    def recognise(self, payload: Mapping[str, Any]) -> bool:
        return isinstance(payload.get("tool_name"), str) and "tool_input" in payload

    def read(self, payload: Mapping[str, Any]) -> HookEvent | None:
        event = self.event_of(payload) or PRE
        if event in QUIET:
            return None
        if event not in {PRE, PERMISSION}:
            raise UnreadableHook(f"the hook event `{event[:60]}` is not known")
        server = payload.get("mcp_server")
        return HookEvent(
            client=self.name,
            event=event,
            tool=tool_of(payload),
            input=input_of(payload),
            session=text_of(payload, "session_id"),
            cwd=text_of(payload, "cwd"),
            tool_use_id=text_of(payload, "tool_use_id"),
            mcp_server=text_of(server, "name") if isinstance(server, Mapping) else "",
        )

    def render(self, ruling: Ruling) -> HookAnswer:
        reason = sentence(ruling.reason or ("allowed" if ruling.decision == "allow" else ""))
        if ruling.event != PERMISSION:
            return _decided(ruling.decision, reason)
        if ruling.decision == "ask":
            return self.quiet()  # its dialog is open already
        decision: JsonObject = {"behavior": ruling.decision}
        if ruling.decision == "deny":
            decision["message"] = reason
        return HookAnswer(body={"hookSpecificOutput": {"hookEventName": PERMISSION, "decision": decision}})


def defer() -> HookAnswer:
    """End a headless run at this call; `claude -p --resume` fires the hook again with the same id."""
    return _decided("defer", sentence("waits for a person"))


def _decided(decision: Literal["allow", "deny", "ask", "defer"], reason: str) -> HookAnswer:
    output = {"hookEventName": PRE, "permissionDecision": decision, "permissionDecisionReason": reason}
    return HookAnswer(body={"hookSpecificOutput": output})
