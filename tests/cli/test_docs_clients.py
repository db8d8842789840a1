"""docs/clients.md: what it shows is what `init` writes, and its commands run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from airlock.cli.hookup import HOOKED, TOKEN_MARK, Link, edited, hook_edits
from airlock.cli.hosts import host_named
from airlock.loader.file import loads
from fixtures import clients
from tests.support.terminal import Terminal

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\S+) ?(\S*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = {
    "settings": "claude-code",
    "settings-gateway": "claude-code",
    "codex": "codex",
    "gemini": "gemini-cli",
    "cursor": "cursor",
    "vscode": "vscode",
}


@pytest.mark.parametrize("name", SHOWN)
def test_each_json_is_what_init_writes(name: str) -> None:
    (text,) = [body for kind, title, body in BLOCKS if (kind, title) == ("json", name)]
    host = host_named(SHOWN[name])
    gateway = "http://127.0.0.1:4111" if name.endswith("gateway") else ""
    link = Link(
        agent=host.agent, command=("airlock",), config=Path("/home/me/project/airlock.yaml"), gateway=gateway
    )
    written = edited("", hook_edits(host.name, link)).replace(TOKEN_MARK, "alk_…")
    assert json.loads(text) == json.loads(written)


def test_every_client_with_hooks_is_shown() -> None:
    assert set(SHOWN.values()) == set(HOOKED)
    for name in HOOKED:
        assert f"--{name}`" in PAGE.replace("`--gemini`", "`--gemini-cli`")


def test_the_versions_are_those_that_the_tests_drive() -> None:
    for version in (clients.CLAUDE_VERSION, clients.CODEX_VERSION, clients.GEMINI_VERSION):
        assert f"{version}, the real program" in PAGE


@pytest.mark.anyio
async def test_every_command_runs(terminal: Terminal) -> None:
    lines = [line for kind, _, body in BLOCKS if kind == "console" for line in body.splitlines()]
    assert len(lines) == 3
    terminal.config.unlink()
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "airlock"
        ended = await terminal.run(*words, *(["--force"] if "--plugin" in words else []))
        assert ended.code == 0, (line, ended.err)
    assert (terminal.folder / "airlock-plugin/hooks/hooks.json").is_file()


def test_the_yaml_loads() -> None:
    for kind, _, body in BLOCKS:
        if kind == "yaml":
            assert loads(body, Path("/x/airlock.yaml")).agents["claude-code"].permission_tool
