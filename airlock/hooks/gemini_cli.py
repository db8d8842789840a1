"""Gemini CLI: BeforeTool, an answer shape of its own, milliseconds."""

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

QUIET = frozenset(
    {
        "AfterAgent", "AfterModel", "AfterTool", "BeforeAgent", "BeforeModel", "BeforeToolSelection",
        "Notification", "PreCompress", "SessionEnd", "SessionStart",
    }
)  # fmt: skip


class GeminiCli(Dialect):
    """Milliseconds; 60,000 by default. *Ask* is no protection there, so it is never answered."""

    name = "gemini-cli"
    unit = "ms"
    quiet_events = QUIET

    def recognise(self, payload: Mapping[str, Any]) -> bool:
        return self.event_of(payload) in {"BeforeTool", *QUIET} and "timestamp" in payload

    def read(self, payload: Mapping[str, Any]) -> HookEvent | None:
        event = self.event_of(payload) or "BeforeTool"
        if event in QUIET:
            return None
        if event != "BeforeTool":
            raise UnreadableHook(f"the hook event `{event[:60]}` is not known")
        context = payload.get("mcp_context")
        return HookEvent(
            client=self.name,
            event=event,
            tool=tool_of(payload),
            input=input_of(payload),
            session=text_of(payload, "session_id"),
            cwd=text_of(payload, "cwd"),
            tool_use_id=text_of(payload, "tool_use_id", "tool_call_id"),
            mcp_server=text_of(context, "server_name") if isinstance(context, Mapping) else "",
        )

    def render(self, ruling: Ruling) -> HookAnswer:
        if ruling.decision == "allow":
            return HookAnswer(body={"decision": "allow"})
        return HookAnswer(body={"decision": "deny", "reason": sentence(ruling.reason)})
