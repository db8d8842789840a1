"""Airlock's own payload: `{client, tool, agent?, input?, session_id?}`, for scripts and CI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlock.hooks.dialect import (
    LONGEST_TOOL,
    Dialect,
    HookAnswer,
    HookEvent,
    Ruling,
    UnreadableHook,
    input_of,
    sentence,
    text_of,
)

MISSING = "Missing required fields: client, tool"


class Own(Dialect):
    """The only dialect with error statuses: its callers read them. The caller's limit is its own."""

    name = "airlock"
    timeout_ms = 600_000

    def recognise(self, payload: Mapping[str, Any]) -> bool:
        return "client" in payload and "tool_name" not in payload and "toolName" not in payload

    def read(self, payload: Mapping[str, Any]) -> HookEvent | None:
        client, tool = payload.get("client"), payload.get("tool")
        if not (isinstance(client, str) and client.strip() and isinstance(tool, str) and tool.strip()):
            raise UnreadableHook(MISSING)
        if max(len(client), len(tool)) > LONGEST_TOOL:
            raise UnreadableHook(f"`client` and `tool` have at most {LONGEST_TOOL} characters")
        for name in ("agent", "session_id", "cwd"):
            if not isinstance(payload.get(name, ""), (str, type(None))):
                raise UnreadableHook(f"`{name}` is not a text")
        return HookEvent(
            client=client,
            tool=tool,
            input=input_of(payload, "input"),
            session=text_of(payload, "session_id"),
            cwd=text_of(payload, "cwd"),
            tool_use_id=text_of(payload, "tool_use_id"),
            agent=text_of(payload, "agent") or client,
        )

    def render(self, ruling: Ruling) -> HookAnswer:
        if ruling.decision == "allow":
            return HookAnswer(body={"decision": "allow", "allowed": True, "tool": ruling.tool})
        line = sentence(ruling.reason, prefix="")
        if ruling.status != 200:
            return HookAnswer(
                body={"error": line}, status=ruling.status, exit_code=2, stderr=f"airlock: {line}"
            )
        return HookAnswer(body={"decision": "deny", "allowed": False, "tool": ruling.tool, "reason": line})
