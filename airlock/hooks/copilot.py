"""GitHub Copilot: the CLI's `toolName`/`toolArgs`, and VS Code's payload, which is named like Claude's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlock.hooks.dialect import Dialect, HookAnswer, HookEvent, Ruling, input_of, sentence, text_of, tool_of
from airlock.model import JsonObject

PRE = frozenset({"", "PreToolUse", "preToolUse"})
OTHERS = frozenset({"source", "initialPrompt", "prompt", "reason", "error", "stopReason"})
"""Members by which the other events of the command line are known."""


class Copilot(Dialect):
    """Seconds; 30 by default. The answer carries the decision at both places where versions look."""

    name = "copilot"
    timeout_ms = 30_000
    asks = True

    def recognise(self, payload: Mapping[str, Any]) -> bool:
        return "toolName" in payload or ("hookEventName" in payload and "tool_name" in payload)

    def event_of(self, payload: object) -> str:
        return text_of(payload, "hook_event_name", "hookEventName") if isinstance(payload, Mapping) else ""

    def read(self, payload: Mapping[str, Any]) -> HookEvent | None:
        event = self.event_of(payload)
        if event not in PRE or "toolResult" in payload or "tool_response" in payload:
            return None
        cli = "tool_name" not in payload
        if not event and "toolName" not in payload and OTHERS & payload.keys():
            return None  # the command line's other events carry no name at all
        return HookEvent(
            client=self.name,
            event=event,
            tool=tool_of(payload, "toolName" if cli else "tool_name"),
            input=input_of(payload, "toolArgs" if cli else "tool_input"),
            session=text_of(payload, "sessionId", "session_id"),
            cwd=text_of(payload, "cwd"),
            tool_use_id=text_of(payload, "tool_use_id", "toolCallId", "toolUseId"),
        )

    def render(self, ruling: Ruling) -> HookAnswer:
        if ruling.event not in PRE:
            return self.quiet()
        reason = sentence(ruling.reason or ("allowed" if ruling.decision == "allow" else ""))
        body: JsonObject = {"permissionDecision": ruling.decision, "permissionDecisionReason": reason}
        return HookAnswer(body={**body, "hookSpecificOutput": {"hookEventName": "PreToolUse", **body}})
