"""What the first policy says of a client's own tools, once its hooks ask Airlock about them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from airlock.values import dataclass

READING: Final = ("file/read", "file/glob", "file/grep", "file/list")
HARMLESS: Final = ("bash/ls", "bash/pwd", "bash/echo", "bash/true")
"""They look, or print: what they write anywhere is a `file/write` of its own."""

ASKED: Final = ("bash/*", "file/*", "notebook/*", "http/*", "agent/*")

HOUSEKEEPING: Final[Mapping[str, tuple[str, ...]]] = {
    "claude-code": (),  # the profile claude-code-basics has them
    "codex": ("todo/*", "list_mcp_resources", "list_mcp_resource_templates", "get_goal", "create_goal"),
    "gemini-cli": (
        "todo/*",
        "update_topic",
        "enter_plan_mode",
        "exit_plan_mode",
        "activate_skill",
        "list_background_processes",
        "read_background_output",
    ),
    "cursor": ("todo/*",),
    "vscode": ("todo/*", "manage_todo_list", "mcp_airlock_*"),
}
"""What each client does for itself. VS Code does not tell its hooks which server a tool belongs to."""


SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "claude-code": (
        ".claude/settings.json", ".claude/settings.local.json", ".mcp.json", "~/.claude/settings.json",
        "~/.claude.json", "~/.claude/plugins",
    ),
    "codex": ("~/.codex/hooks.json", "~/.codex/config.toml", ".codex"),
    "gemini-cli": (".gemini/settings.json", "~/.gemini/settings.json"),
    "cursor": (".cursor/hooks.json", ".cursor/mcp.json", "~/.cursor/hooks.json", "~/.cursor/mcp.json"),
    "vscode": (".vscode/mcp.json", ".vscode/settings.json", ".github/hooks"),
}  # fmt: skip
"""Where each client keeps which hooks and servers it runs: who writes there can take Airlock out."""

DECIDING: Final = (
    "approve", "deny", "undo", "pause", "resume", "watch", "grants", "keys", "pin", "trust", "init",
)  # fmt: skip
"""Commands of Airlock's own by which a person decides, or changes who may."""

WRITING: Final = ("file/write", "file/edit", "notebook/edit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """Lines of a policy: allowed and asked patterns of the agent, and whole rules."""

    allow: tuple[str, ...]
    ask: tuple[str, ...]
    rules: tuple[str, ...]


def native_policy(host: str, agent: str, project: Path, own: Sequence[str]) -> Native:
    """Reading in the project is allowed, elsewhere asked; what changes or runs something is asked.

    `own` are Airlock's files in the project, which no file tool may touch.
    """
    excepted = tuple(f"!{name}" for name in (*READING, *HARMLESS))
    return Native(
        allow=(*HARMLESS, *HOUSEKEEPING[host]),
        ask=(*ASKED, *excepted),
        rules=(
            *_rule(
                "read-here", agent, READING, "allow", f"args: {{path: {{under: {_quoted(str(project))}}}}}"
            ),
            *_rule(
                "read-elsewhere",
                agent,
                READING,
                "ask",
                f"unless: {_quoted(_inside(project))}",
                "reason: it is outside of the project",
            ),
            *_rule(
                "airlocks-own-files",
                agent,
                ("file/*",),
                "deny",
                f"args: {{path: {{under: [{', '.join(map(_quoted, own))}]}}}}",
                "reason: these files are Airlock's",
            ),
            *_rule(
                "airlocks-own-commands",
                agent,
                ("bash/airlock",),
                "deny",
                f"args: {{argv: {{any: {{in: [{', '.join(map(_quoted, DECIDING))}]}}}}}}",
                "reason: who asks cannot decide",
            ),
            *_rule(
                "client-settings",
                agent,
                WRITING,
                "ask",
                f"args: {{path: {{under: [{', '.join(map(_quoted, SETTINGS[host]))}]}}}}",
                "risk: high",
                "reason: it changes which hooks and servers the client runs",
            ),
        ),
    )


def _rule(name: str, agent: str, tools: Sequence[str], effect: str, *more: str) -> tuple[str, ...]:
    return (
        f"  - id: {name}",
        f"    agent: {agent}",
        f"    tool: [{', '.join(map(_quoted, tools))}]",
        f"    effect: {effect}",
        *(f"    {line}" for line in more),
    )


def _inside(project: Path) -> str:
    """In CEL: the path is the project or in it, by its letters. `under:` looks behind links as well."""
    folder = json.dumps(str(project))
    return f"has(args.path) && (args.path == {folder} || args.path.startsWith({json.dumps(f'{project}/')}))"


def _quoted(text: str) -> str:
    return json.dumps(text)
