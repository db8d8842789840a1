"""`doctor` tries every road that is set up: a gateway that runs, and the hooks in the clients' settings."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airlock.cli.hookup import HOOKED, Link, edited, files_of, hook_edits
from airlock.cli.hosts import place_of
from airlock.cli.init import own_command
from tests.support.terminal import SECONDS, Terminal

pytestmark = pytest.mark.anyio

POLICY = """\
server: {api_secret: s3cret}
database: sqlite:///airlock.db
providers: {demo: {type: builtin}}
agents:
  claude-code: {allow: ["demo/list_notes"], ask: ["demo/write_note", "bash/*"]}
  guarded: {token: its-own-token, allow: ["demo/echo"], ask: ["demo/delete_note"]}
  codex: &reader {allow: ["file/read"]}
  gemini-cli: *reader
  cursor: *reader
  copilot: *reader
"""


@pytest.fixture
def place(terminal: Terminal) -> Terminal:
    from airlock.home import state

    terminal.config.write_text(POLICY)
    terminal.config.chmod(0o600)
    state.trust(terminal.config)
    return terminal


@contextlib.asynccontextmanager
async def gateway(terminal: Terminal) -> AsyncIterator[str]:
    """A real gateway process on a free port; its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "airlock", "gateway", "--port", "0", "--config", str(terminal.config)),
        cwd=terminal.folder,
        env=terminal.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            line = (await process.stdout.readline()).decode()
        yield line.rpartition(" ")[2].strip()
    finally:
        process.terminate()
        async with asyncio.timeout(SECONDS):
            await process.wait()


async def findings(terminal: Terminal, *words: str, **env: str) -> tuple[int, dict[str, list[str]]]:
    """Exit code, and the texts of each level."""
    ended = await terminal.run("doctor", "--json", *words, env=env)
    assert ended.out, ended.err
    found: dict[str, list[str]] = {"ok": [], "note": [], "wrong": []}
    for one in ended.json["findings"]:
        found[one["level"]].append(f"{one['check']}: {one['text']}")
    return ended.code, found


def told(texts: list[str], *parts: str) -> bool:
    return any(all(part in text for part in parts) for text in texts)


def write_hook(terminal: Terminal, event: str = "PreToolUse", token: str = "", **entry: Any) -> Path:
    """One http hook in Claude Code's settings of the project."""
    file = terminal.folder / ".claude" / "settings.local.json"
    file.parent.mkdir(exist_ok=True)
    hook = {
        "type": "http",
        "headers": {"Authorization": "Bearer $AIRLOCK_TOKEN"},
        "allowedEnvVars": ["AIRLOCK_TOKEN"],
        **entry,
    }
    settings = {"hooks": {event: [{"matcher": "*", "hooks": [hook]}]}, "env": {"AIRLOCK_TOKEN": token}}
    file.write_text(json.dumps(settings))
    return file


async def hook_key(terminal: Terminal) -> str:
    words = ("keys", "create", "--name", "hooks", "--scope", "hook", "--agent", "claude-code")
    made = await terminal.run(*words)
    assert made.code == 0, made.err
    return made.out.strip()


@contextlib.contextmanager
def answering(body: bytes, status: int = 200, mark: str = "X-Airlock") -> Iterator[tuple[str, list[str]]]:
    """Something on loopback that answers every POST with this; its address, and the paths that were asked."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header(mark, "1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(SECONDS)


async def test_a_gateway_that_runs_is_tried_for_every_agent(place: Terminal) -> None:
    async with gateway(place) as address:
        code, found = await findings(place)
        assert code == 0, found["wrong"]
        for agent, asked, forbidden in (
            ("claude-code", "demo__write_note", "demo__echo"),
            ("guarded", "demo__delete_note", "demo__list_notes"),
        ):
            where = f"{agent} over {address}"
            assert told(found["ok"], where, "an unknown tool was stopped")
            assert told(found["ok"], where, f"the forbidden tool `{forbidden}` was stopped")
            assert told(found["ok"], where, f"`{asked}` did not run without an approval")
        assert told(found["ok"], "deciding without a credential was refused")
        assert (await place.run("pending", "--json")).json == []


async def test_without_a_gateway_nothing_is_said_of_one(place: Terminal) -> None:
    code, found = await findings(place)
    assert code == 0, found["wrong"]
    assert not told([*found["ok"], *found["note"]], "http://")


async def test_an_http_hook_is_fed_what_the_policy_denies_with_the_clients_own_key(place: Terminal) -> None:
    async with gateway(place) as address:
        write_hook(place, token=await hook_key(place), url=f"{address}/hook", onFailure="block")
        code, found = await findings(place)
        assert code == 0, found["wrong"]
        assert told(found["ok"], "PreToolUse hook", "a forbidden tool was stopped", "no rule allows")


async def test_an_http_hook_without_on_failure_block_is_a_finding(place: Terminal) -> None:
    async with gateway(place) as address:
        write_hook(place, token=await hook_key(place), url=f"{address}/hook")
        code, found = await findings(place, "--agent", "claude-code")
        assert code == 8
        assert told(found["wrong"], "hooks", "lets the call through when it fails")
        assert told(found["ok"], "PreToolUse hook", "was stopped")


async def test_a_hook_after_the_call_needs_no_on_failure_and_is_not_tried(place: Terminal) -> None:
    with answering(b"{}") as (address, asked):
        write_hook(place, event="PostToolUse", url=f"{address}/hook")
        code, found = await findings(place, "--agent", "claude-code")
        assert code == 0, found["wrong"]
        assert asked == []


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"",
        b"not json",
        b'{"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "allow"}}',
        b'{"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "ask"}}',
        b'{"decision": "deny", "hookSpecificOutput": {"permissionDecision": "allow"}}',
    ],
)
async def test_an_answer_that_is_no_deny_is_a_finding(place: Terminal, body: bytes) -> None:
    with answering(body) as (address, _):
        write_hook(place, url=f"{address}/hook", onFailure="block")
        code, found = await findings(place, "--agent", "claude-code")
        assert code == 8
        assert told(found["wrong"], "PreToolUse hook", "was let through")


async def test_what_is_no_airlock_at_the_hooks_address_is_a_finding(place: Terminal) -> None:
    deny = b'{"hookSpecificOutput": {"permissionDecision": "deny"}}'
    for status, mark in ((404, "X-Airlock"), (200, "X-Other")):
        with answering(deny, status, mark) as (address, _):
            write_hook(place, url=f"{address}/hook", onFailure="block")
            code, found = await findings(place, "--agent", "claude-code")
            assert code == 8
            assert told(found["wrong"], "no Airlock answers at", f"status {status}")


async def test_a_hook_whose_gateway_is_gone_or_whose_key_is_wrong_is_a_finding(place: Terminal) -> None:
    async with gateway(place) as address:
        write_hook(place, token="alk_wrong", url=f"{address}/hook", onFailure="block")
        code, found = await findings(place, "--agent", "claude-code")
        assert code == 8
        assert told(found["wrong"], "its key is not accepted")
    code, found = await findings(place, "--agent", "claude-code")
    assert code == 8
    assert told(found["wrong"], "nothing answers at")


async def test_a_key_is_never_sent_to_another_machine(place: Terminal) -> None:
    write_hook(place, token="alk_x", url="http://gateway.example.com/hook", onFailure="block")
    code, found = await findings(place, "--agent", "claude-code")
    assert code == 0, found["wrong"]
    assert told(found["note"], "gateway.example.com", "is not on this machine")


@pytest.mark.parametrize("client", HOOKED)
async def test_the_hooks_that_init_writes_are_tried_and_stop_what_is_forbidden(
    place: Terminal, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(place.home))
    monkeypatch.delenv("CODEX_HOME", raising=False)
    agent = "copilot" if client == "vscode" else client
    link = Link(agent=agent, command=tuple(own_command()), config=place.config)
    edits = hook_edits(client, link)
    for file in files_of(edits, place.folder):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(edited("", [one for one in edits if place_of(one.file, place.folder) == file]))
    code, found = await findings(place, "--agent", "claude-code")
    assert code == 0, found["wrong"]
    assert told(found["ok"], "hooks", "blocks when it fails")
    assert told(found["ok"], "replay: ", " hook in ", "was stopped")


async def test_a_hook_of_another_client_that_fails_open_is_a_finding(place: Terminal) -> None:
    file = place.home / ".codex" / "hooks.json"
    file.parent.mkdir()
    line = f"airlock hook --client codex --config {place.config}"
    file.write_text(
        json.dumps({"hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": line}]}]}})
    )
    code, found = await findings(place, "--agent", "claude-code", "--no-replay")
    assert code == 8
    assert told(found["wrong"], "PreToolUse", "hooks.json", "lets the call through when it fails")


async def test_a_command_hook_that_stops_everything_is_a_finding_with_its_reason(place: Terminal) -> None:
    file = place.folder / ".claude" / "settings.json"
    file.parent.mkdir()
    line = "airlock hook --client claude-code --url http://127.0.0.1:1 || exit 2"
    hook = {"type": "command", "command": line, "onFailure": "block"}
    file.write_text(json.dumps({"hooks": {"PreToolUse": [{"hooks": [hook]}]}}))
    code, found = await findings(place, "--agent", "claude-code")
    assert code == 8
    assert told(found["wrong"], "it stops every call", "out of reach")
