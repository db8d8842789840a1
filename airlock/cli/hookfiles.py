"""The hooks in the clients' settings that ask Airlock, as the clients read them. Nothing is started here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from airlock.cli.hookup import is_ours
from airlock.cli.hosts import place_of
from airlock.cli.splice import read_json
from airlock.errors import UsageError
from airlock.values import dataclass

FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "claude-code": (".claude/settings.json", ".claude/settings.local.json", "~/.claude/settings.json"),
    "codex": (".codex/hooks.json", "{codex}/hooks.json"),
    "gemini-cli": (".gemini/settings.json", "~/.gemini/settings.json"),
    "cursor": (".cursor/hooks.json", "~/.cursor/hooks.json"),
    "copilot": (".github/hooks/airlock.json",),
}
"""By the dialect that the client speaks."""

DECIDING: Final = frozenset(
    {"PreToolUse", "PermissionRequest", "BeforeTool", "preToolUse", "beforeShellExecution", "beforeReadFile",
     "beforeMCPExecution"}
)  # fmt: skip
"""Events whose hook can stop a call; what fails after a call has nothing left to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One hook in a client's settings that asks Airlock. `env` is what those settings put beside it."""

    client: str
    file: Path
    event: str
    entry: Mapping[str, Any]
    env: Mapping[str, str]

    @property
    def command(self) -> str:
        """The shell line of a command hook."""
        return str(self.entry.get("command") or self.entry.get("bash") or "")

    @property
    def url(self) -> str:
        """The address of an http hook."""
        return str(self.entry.get("url") or "")

    @property
    def decides(self) -> bool:
        """True when it is asked before a call."""
        return self.event in DECIDING


def settings_of(client: str, project: Path) -> Iterator[tuple[Path, Mapping[str, Any] | None]]:
    """The client's settings files that are there, None for one that cannot be read."""
    for pattern in FILES[client]:
        file = place_of(pattern, project)
        if file.is_file():
            try:
                value: Any = read_json(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, UsageError):
                value = None
            yield file, value if isinstance(value, Mapping) else None


def hooks_of(client: str, project: Path) -> Iterator[Hook]:
    """Every hook of this client that asks Airlock."""
    for file, settings in settings_of(client, project):
        for event, entry in _entries((settings or {}).get("hooks")):
            if is_ours(entry):
                yield Hook(client=client, file=file, event=event, entry=entry, env=_env(settings))


def every_hook(project: Path) -> Iterator[Hook]:
    """Every hook of every client that asks Airlock."""
    for client in FILES:
        yield from hooks_of(client, project)


def _entries(hooks: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Event and hook: some clients group the hooks of an event under a matcher, some do not."""
    for event, groups in hooks.items() if isinstance(hooks, Mapping) else ():
        for group in groups if isinstance(groups, list) else ():
            if not isinstance(group, Mapping):
                continue
            inner = group.get("hooks")
            for entry in inner if isinstance(inner, list) else [group]:
                if isinstance(entry, Mapping):
                    yield str(event), entry


def _env(settings: Mapping[str, Any] | None) -> dict[str, str]:
    env = (settings or {}).get("env")
    return {str(name): str(value) for name, value in env.items()} if isinstance(env, Mapping) else {}
