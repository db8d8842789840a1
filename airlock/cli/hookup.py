"""How each client's own hooks ask Airlock: the entries, and where they stand. Pure but for reading files.

A hook that cannot be asked must be a no: `onFailure: block` where a client knows it, `|| exit 2` for every
command, since clients let the tool run on all other endings.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from airlock.cli.hosts import place_of
from airlock.cli.splice import put_json, read_json
from airlock.errors import UsageError
from airlock.values import dataclass

SECONDS: Final = 600
"""How long a client waits for its hook: longer than a question lives unless a rule says otherwise."""

TOKEN_MARK: Final = "@AIRLOCK_TOKEN@"  # noqa: S105 - stands for one
"""Stands for the key until it is made."""

HOOKED: Final = ("claude-code", "codex", "gemini-cli", "cursor", "vscode")

CURSOR_TOOLS: Final = (
    "Write|Edit|StrReplace|MultiEdit|Delete|EditNotebook|TabWrite|Grep|Glob|LS|Task|WebFetch|WebSearch"
)
"""Cursor's tools without an event of their own; its MCP calls reach the proxy."""

_OURS: Final = re.compile(r"airlock\S*['\"]? .*\bhook\b|/hook(\?|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How a client's hooks reach Airlock: by a command, or at a gateway's address where there is one."""

    agent: str
    command: tuple[str, ...]
    config: Path
    gateway: str = ""

    @property
    def serve(self) -> list[str]:
        """The command that starts the MCP server."""
        return [*self.command, "stdio", "--agent", self.agent, "--config", str(self.config)]

    def line(self, client: str) -> str:
        """The shell line of a command hook."""
        words = [*self.command, "hook", "--client", client]
        words += ["--url", self.gateway] if self.gateway else ["--config", str(self.config)]
        words += ["--agent", self.agent, "--timeout", str(SECONDS)]
        return f"{shlex.join(words)} || exit 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One value in a JSON file: set, or added to a list in the place of what we put there before."""

    file: str
    path: tuple[str, ...]
    value: Any
    how: Literal["set", "add"] = "add"


def hook_edits(host: str, link: Link) -> tuple[Edit, ...]:
    """What makes this client ask Airlock before each of its own tools."""
    return {
        "claude-code": _claude_code,
        "codex": _codex,
        "gemini-cli": _gemini,
        "cursor": _cursor,
        "vscode": _vscode,
    }[host](link)


def _claude_code(link: Link) -> tuple[Edit, ...]:
    # Not settings.json: that file is shared, and this names programs of this machine.
    file = ".claude/settings.local.json"
    approved = Edit(file=file, path=("enabledMcpjsonServers",), value="airlock")
    hooks = [
        Edit(file=file, path=("hooks", event), value=value)
        for event, value in claude_code_hooks(link).items()
    ]
    if link.gateway:
        hooks.append(Edit(file=file, path=("env", "AIRLOCK_TOKEN"), value=TOKEN_MARK, how="set"))
    return approved, *hooks


def claude_code_hooks(link: Link) -> dict[str, Any]:
    """Event and matcher group, as Claude Code's settings and plugins hold them."""
    if not link.gateway:
        hook = {"type": "command", "command": link.line("claude-code"), "timeout": SECONDS}
        return {"PreToolUse": _group({**hook, "onFailure": "block", "statusMessage": "Airlock decides"})}
    hook = {
        "type": "http",
        "url": f"{link.gateway}/hook?client=claude-code&timeout={SECONDS}",
        "headers": {"Authorization": "Bearer $AIRLOCK_TOKEN"},
        "allowedEnvVars": ["AIRLOCK_TOKEN"],
        "timeout": SECONDS,
    }
    before = _group({**hook, "onFailure": "block", "statusMessage": "Airlock decides"})
    # How a call came out goes into its record, and what the config redacts is hidden from the model.
    return {"PreToolUse": before, "PostToolUse": _group(hook), "PostToolUseFailure": _group(hook)}


def _group(hook: Mapping[str, Any]) -> dict[str, Any]:
    return {"matcher": "*", "hooks": [dict(hook)]}


def _codex(link: Link) -> tuple[Edit, ...]:
    hook = {"type": "command", "command": link.line("codex"), "timeout": SECONDS}
    return (Edit(file="{codex}/hooks.json", path=("hooks", "PreToolUse"), value=_group(hook)),)


def _gemini(link: Link) -> tuple[Edit, ...]:
    # The user's file: the hooks of a project are skipped in silence while its folder is not trusted.
    file = "~/.gemini/settings.json"
    milliseconds = SECONDS * 1000
    hook = {
        "type": "command",
        "name": "airlock",
        "command": link.line("gemini-cli"),
        "timeout": milliseconds,
    }
    return (
        Edit(file=file, path=("hooksConfig", "enabled"), value=True, how="set"),
        Edit(file=file, path=("hooks", "BeforeTool"), value=_group(hook)),
    )


def _cursor(link: Link) -> tuple[Edit, ...]:
    file = ".cursor/hooks.json"
    hook = {"command": link.line("cursor"), "timeout": SECONDS, "failClosed": True}
    return (
        Edit(file=file, path=("version",), value=1, how="set"),
        Edit(file=file, path=("hooks", "preToolUse"), value={**hook, "matcher": CURSOR_TOOLS}),
        Edit(file=file, path=("hooks", "beforeShellExecution"), value=hook),
        Edit(file=file, path=("hooks", "beforeReadFile"), value=hook),
    )


def _vscode(link: Link) -> tuple[Edit, ...]:
    # Both spellings: VS Code reads the one, the command line of Copilot the other.
    line = link.line("copilot")
    hook = {"type": "command", "command": line, "bash": line, "timeout": SECONDS, "timeoutSec": SECONDS}
    file = ".github/hooks/airlock.json"
    return (
        Edit(file=file, path=("version",), value=1, how="set"),
        Edit(file=file, path=("hooks", "preToolUse"), value=hook),
    )


def files_of(edits: Iterable[Edit], project: Path) -> list[Path]:
    """The files that these edits are about, each once."""
    return list(dict.fromkeys(place_of(edit.file, project) for edit in edits))


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The file's text with these edits, and not one byte beside them."""
    for edit in edits:
        text = _edited(text, edit)
    return text


def _edited(text: str, edit: Edit) -> str:
    before = read_json(text) if text.strip("\ufeff \t\r\n") else {}
    value = edit.value if edit.how == "set" else _with(_at(before, edit.path), edit)
    if _at(before, edit.path) == value:
        return text
    changed = put_json(text, edit.path, value)
    if read_json(changed) != _put(before, edit.path, value):
        raise UsageError("it is written in a way that cannot be changed safely: do it by hand")
    return changed


def _with(known: Any, edit: Edit) -> list[Any]:
    """The list with ours at its end, in the place of an older one of ours."""
    if known is not None and not isinstance(known, list):
        raise UsageError(f"`{'.'.join(edit.path)}` is not a list")
    return [*(one for one in known or [] if not is_ours(one) and one != edit.value), edit.value]


def is_ours(entry: Any) -> bool:
    """True for a hook, or a group of hooks, that asks Airlock."""
    if not isinstance(entry, Mapping):
        return False
    inner = entry.get("hooks")
    if isinstance(inner, list):
        return bool(inner) and all(map(is_ours, inner))
    return any(_OURS.search(str(entry.get(key) or "")) is not None for key in ("command", "bash", "url"))


def _at(value: Any, path: Iterable[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _put(value: Mapping[str, Any], path: tuple[str, ...], new: Any) -> dict[str, Any]:
    if len(path) == 1:
        return {**value, path[0]: new}
    return {**value, path[0]: _put(value.get(path[0]) or {}, path[1:], new)}
