"""The Claude Code plugin: the folder that is shipped, and a copy of it for one config."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

from airlock.cli.hookup import Link, claude_code_hooks
from airlock.cli.hosts import airlock_entry

MANIFEST: Final = ".claude-plugin/plugin.json"
SERVERS: Final = ".mcp.json"
HOOKS: Final = "hooks/hooks.json"
README: Final = "README.md"
NAME: Final = "plugin:airlock:airlock"
"""What Claude Code calls the MCP server of the plugin."""


def shipped(name: str) -> str:
    """One file of the plugin folder that comes with Airlock."""
    return (files("airlock") / "plugin" / "claude-code" / name).read_text(encoding="utf-8")


def plugin_files(link: Link) -> dict[str, str]:
    """The files of a plugin for this config, by their path in its folder."""
    hooks: dict[str, Any] = json.loads(shipped(HOOKS))
    hooks["hooks"] = {event: [group] for event, group in claude_code_hooks(link).items()}
    entry = airlock_entry("claude-code", link.serve)
    return {
        MANIFEST: shipped(MANIFEST),
        SERVERS: _json({"mcpServers": {"airlock": entry}}),
        HOOKS: _json(hooks),
        README: shipped(README),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
