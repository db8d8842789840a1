"""All dialects, and which one a payload is in."""

from __future__ import annotations

from collections.abc import Mapping

from airlock.hooks.claude_code import ClaudeCode
from airlock.hooks.codex import Codex
from airlock.hooks.copilot import Copilot
from airlock.hooks.cursor import Cursor
from airlock.hooks.dialect import Dialect
from airlock.hooks.gemini_cli import GeminiCli
from airlock.hooks.own import Own

CLAUDE_CODE = ClaudeCode()
OWN = Own()
DIALECTS: dict[str, Dialect] = {
    one.name: one for one in (CLAUDE_CODE, Codex(), GeminiCli(), Cursor(), Copilot())
}
_ALIASES = {"claude": "claude-code", "gemini": "gemini-cli", "vscode": "copilot", "vs-code": "copilot"}
_ORDER = ("cursor", "gemini-cli", "copilot", "codex", "claude-code")


def by_name(client: str) -> Dialect:
    """The dialect of `?client=` or `--client`; Claude Code's for any other name."""
    return DIALECTS.get(_ALIASES.get(client, client), CLAUDE_CODE)


def choose(payload: object, client: str = "") -> Dialect:
    """The dialect that a payload is read and answered in.

    Airlock's own payload is recognised first; then the client that the caller named holds; then the
    payload's own shape. What cannot be told is answered as Claude Code (decisions.md 31).
    """
    if isinstance(payload, Mapping):
        if OWN.recognise(payload):
            return OWN
        if not client:
            for name in _ORDER:
                if DIALECTS[name].recognise(payload):
                    return DIALECTS[name]
    return by_name(client)
