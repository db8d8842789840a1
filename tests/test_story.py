"""The main job, whole, with the real servers: a client sees four servers' tools side by side, reads the git
status at once, is refused what the policy denies, and gets a commit only after a person in another process
typed `airlock approve CODE`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client

from fixtures import npm

pytestmark = [pytest.mark.anyio, pytest.mark.real]

AIRLOCK = [sys.executable, "-m", "airlock"]
SECONDS = 60


def git(repository: Path, *words: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
    return subprocess.run(
        ["git", "-C", str(repository), *identity, *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    git(path, "config", "user.name", "T")
    git(path, "config", "user.email", "t@example.com")
    (path / "a.txt").write_text("one\n")
    git(path, "add", "a.txt")
    git(path, "commit", "-qm", "first")
    (path / "a.txt").write_text("two\n")
    git(path, "add", "a.txt")
    return path


@pytest.fixture
def config(tmp_path: Path, repository: Path) -> Path:
    try:
        files = npm.server("server-filesystem")
    except npm.Missing as missing:
        pytest.skip(str(missing))
    folder = Path(sys.executable).parent
    text = f"""
database: sqlite:///airlock.db
providers:
  demo: {{type: builtin}}
  git: {{type: stdio, command: "{folder}/mcp-server-git", args: [--repository, "{repository}"]}}
  time: {{type: stdio, command: "{folder}/mcp-server-time", args: [--local-timezone, UTC]}}
  files: {{type: stdio, command: "{files[0]}", args: ["{files[1]}", "{repository}"]}}
agents:
  claude-code:
    allow: ["*/read_*", "*/list_*", "git/git_status", "git/git_log", "time/*", "demo/echo"]
    ask: ["git/git_commit", "files/write_file"]
    deny: ["git/git_reset", "demo/delete_note"]
rules:
  - {{id: inside, agent: claude-code, tool: files/write_file, effect: deny, reason: "only text files",
      unless: 'has(args.path) && args.path.endsWith(".txt")'}}
"""
    path = tmp_path / "airlock.yaml"
    path.write_text(text)
    return path


def person(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AIRLOCK, "--config", str(config), *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


async def until_pending(config: Path) -> dict[str, object]:
    async with asyncio.timeout(SECONDS):
        while True:
            listed = await asyncio.to_thread(person, config, "pending", "--json")
            if rows := json.loads(listed.stdout):
                return dict(rows[0])


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_commit_is_made_only_after_a_person_approved_it(
    config: Path, repository: Path, mode: str
) -> None:
    server = StdioServerParameters(
        command=AIRLOCK[0],
        args=[*AIRLOCK[1:], "stdio", "--agent", "claude-code", "--config", str(config)],
        env={name: os.environ[name] for name in ("AIRLOCK_STATE_DIR", "PATH", "HOME") if name in os.environ},
    )
    seen: list[str] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message or "")

    async with asyncio.timeout(2 * SECONDS), Client(server, mode=mode, cache=None) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert {"git__git_status", "time__get_current_time", "files__read_text_file", "demo__echo"} <= tools
        assert "git__git_reset" not in tools

        status = await client.call_tool("git__git_status", {"repo_path": str(repository)})
        assert not status.is_error
        assert "a.txt" in status.content[0].text  # type: ignore[union-attr]

        with pytest.raises(Exception, match=r"(?i)unknown tool"):
            await client.call_tool("git__git_reset", {"repo_path": str(repository)})
        refused = await client.call_tool("files__write_file", {"path": f"{repository}/b.sh", "content": "x"})
        assert refused.is_error
        assert "only text files" in refused.content[0].text  # type: ignore[union-attr]
        assert refused.content[0].text.startswith("airlock:")  # type: ignore[union-attr]

        commit = asyncio.create_task(
            client.call_tool(
                "git__git_commit",
                {"repo_path": str(repository), "message": "second"},
                progress_callback=progressed,
            )
        )
        waiting = await until_pending(config)
        assert waiting["tool"] == "git/git_commit"
        assert waiting["args"] == {"repo_path": str(repository), "message": "second"}
        assert git(repository, "log", "--oneline").count("\n") == 1

        approved = await asyncio.to_thread(person, config, "approve", str(waiting["code"]).lower())
        assert approved.returncode == 0, approved.stderr
        result = await commit
        assert not result.is_error
        assert git(repository, "log", "-1", "--format=%s") == "second\n"
        assert any(str(waiting["code"]) in message for message in seen)
        assert str(waiting["code"]) not in result.model_dump_json()

    audit = json.loads(person(config, "audit", "--json").stdout)
    decided = {(row["tool"], row["result"], row["hitl_outcome"]) for row in audit}
    assert ("git/git_commit", "success", "approved") in decided
    assert ("git/git_status", "success", None) in decided
    assert ("files/write_file", "denied", None) in decided
    assert person(config, "audit", "verify").returncode == 0
