"""The programs that agents run in: where each keeps its MCP servers, and how an entry looks there."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal

from airlock.cli.splice import read_json, replace_json, replace_toml_tables
from airlock.errors import UsageError
from airlock.model import NOTHING
from airlock.values import dataclass

Form = Literal["json", "toml"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One MCP server as a client's file names it."""

    name: str
    type: Literal["stdio", "http", "sse"] = "stdio"
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = NOTHING
    cwd: str = ""
    url: str = ""
    headers: Mapping[str, str] = NOTHING
    disabled: bool = False

    @property
    def is_airlock(self) -> bool:
        """True for an entry that starts Airlock itself."""
        words = [Path(self.command).name, *self.args]
        started = "airlock" in words[:3] and "stdio" in self.args
        return started or "/agents/" in self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The place of the servers in one file: `path` are the keys that lead there."""

    host: str
    file: Path
    path: tuple[str, ...]
    form: Form = "json"
    servers: tuple[Server, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One client program. `agent` is the name that its agent gets in the policy."""

    name: str
    title: str
    agent: str
    add: str
    files: tuple[tuple[str, tuple[str, ...]], ...] = field(default=())


AIRLOCK_ENTRY = "airlock"

HOSTS: tuple[Host, ...] = (
    Host(
        name="claude-code",
        title="Claude Code",
        agent="claude-code",
        add="claude mcp add airlock -- {command}",
        files=(
            (".mcp.json", ("mcpServers",)),
            ("~/.claude.json", ("projects", "{project}", "mcpServers")),
            ("~/.claude.json", ("mcpServers",)),
        ),
    ),
    Host(
        name="cursor",
        title="Cursor",
        agent="cursor",
        add="put into .cursor/mcp.json: {json}",
        files=((".cursor/mcp.json", ("mcpServers",)), ("~/.cursor/mcp.json", ("mcpServers",))),
    ),
    Host(
        name="vscode",
        title="VS Code",
        agent="copilot",
        add="put into .vscode/mcp.json: {vscode}",
        files=((".vscode/mcp.json", ("servers",)),),
    ),
    Host(
        name="codex",
        title="Codex",
        agent="codex",
        add="codex mcp add airlock -- {command}",
        files=(("{codex}/config.toml", ("mcp_servers",)),),
    ),
    Host(
        name="gemini-cli",
        title="Gemini CLI",
        agent="gemini-cli",
        add="gemini mcp add airlock {command}",
        files=((".gemini/settings.json", ("mcpServers",)), ("~/.gemini/settings.json", ("mcpServers",))),
    ),
)
"""In the order in which `init` looks for one when none is named."""


def host_named(name: str) -> Host:
    """The host of that name."""
    return next(host for host in HOSTS if host.name == name)


def sections_of(host: Host, project: Path) -> Iterator[Section]:
    """The places where this host has servers for the project; a file that cannot be read is an error."""
    for pattern, keys in host.files:
        file = place_of(pattern, project)
        path = tuple(str(project) if key == "{project}" else key for key in keys)
        if not file.is_file():
            continue
        form: Form = "toml" if file.suffix == ".toml" else "json"
        table = _table(file, form, path)
        if isinstance(table, Mapping) and table:
            servers = tuple(_server(name, one) for name, one in table.items() if isinstance(one, Mapping))
            if not pattern.startswith(("~", "{codex}")) or "{project}" in keys:
                servers = tuple(map(_here, servers))
            yield Section(host=host.name, file=file, path=path, form=form, servers=servers)


def _here(server: Server) -> Server:
    """A client starts the servers of a project in its folder, wherever Airlock may be started later."""
    return replace(server, cwd=".") if server.type == "stdio" and not server.cwd else server


def place_of(pattern: str, project: Path) -> Path:
    """The file that a pattern names: `~/` is the home, `{codex}` the home of Codex, else in the project."""
    home = Path(os.environ.get("HOME") or Path.home())
    codex = os.environ.get("CODEX_HOME") or str(home / ".codex")
    if pattern.startswith("~/"):
        return home / pattern[2:]
    return project / pattern.replace("{codex}", codex)


def _table(file: Path, form: Form, path: tuple[str, ...]) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        value: Any = tomllib.loads(text) if form == "toml" else read_json(text)
    except (OSError, ValueError, UsageError) as error:
        raise UsageError(f"`{file}` cannot be read: {error}") from None
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _server(name: str, entry: Mapping[str, Any]) -> Server:
    url = str(entry.get("httpUrl") or entry.get("url") or "")
    said = str(entry.get("type") or "")
    kind: Literal["stdio", "http", "sse"] = "stdio"
    if url:
        kind = "sse" if said == "sse" or (not said and url.rstrip("/").endswith("/sse")) else "http"
    headers = dict(_texts(entry.get("headers")) | _texts(entry.get("http_headers")))
    bearer = entry.get("bearer_token_env_var")
    if isinstance(bearer, str) and bearer:
        headers["Authorization"] = f"Bearer ${{{bearer}}}"
    arguments = entry.get("args")
    return Server(
        name=name,
        type=kind,
        command=str(entry.get("command") or ""),
        args=tuple(map(str, arguments)) if isinstance(arguments, list) else (),
        env=_texts(entry.get("env")),
        cwd=str(entry.get("cwd") or ""),
        url=url,
        headers=headers,
        disabled=entry.get("disabled") is True or entry.get("enabled") is False,
    )


def _texts(value: Any) -> dict[str, str]:
    return {str(name): str(one) for name, one in value.items()} if isinstance(value, Mapping) else {}


def airlock_entry(host: str, command: list[str]) -> dict[str, Any]:
    """What starts Airlock, as this host writes it."""
    entry: dict[str, Any] = {"command": command[0], "args": command[1:]}
    if host in {"claude-code", "vscode"}:
        entry = {"type": "stdio", **entry}
    if host == "codex":
        entry["tool_timeout_sec"] = 3600
    if host == "gemini-cli":
        entry["timeout"] = 3_600_000
    return entry


def rewritten(section: Section, text: str, command: list[str]) -> str:
    """The file's text with nothing but Airlock in this section."""
    servers = {AIRLOCK_ENTRY: airlock_entry(section.host, command)}
    if section.form == "toml":
        return replace_toml_tables(text, section.path[0], servers)
    changed = replace_json(text, section.path, servers)
    before, after = read_json(text), read_json(changed)
    _put(before, section.path, servers)
    if before != after:
        raise UsageError(f"`{section.file}` is written in a way that cannot be changed safely: do it by hand")
    return changed


def _put(value: dict[str, Any], path: tuple[str, ...], servers: dict[str, Any]) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = servers
