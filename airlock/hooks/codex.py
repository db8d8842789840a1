"""Codex CLI: Claude's payload, but it runs the call on *ask*, and on an *allow* it only wants silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlock.hooks.claude_code import PERMISSION, ClaudeCode
from airlock.hooks.dialect import HookAnswer, Ruling


class Codex(ClaudeCode):
    """Seconds; 600 by default. Never answered *ask*: it would run the call."""

    name = "codex"
    asks = False

    def recognise(self, payload: Mapping[str, Any]) -> bool:
        return super().recognise(payload) and "turn_id" in payload

    def render(self, ruling: Ruling) -> HookAnswer:
        # Codex reports `permissionDecision: allow` without new arguments as a failed hook.
        if ruling.decision == "allow" and ruling.event != PERMISSION:
            return self.quiet()
        return super().render(ruling)
