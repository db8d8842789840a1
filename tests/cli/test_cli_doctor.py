"""`doctor` finds what is wrong and tries the doors; `demo` tells the story with the real process."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airlock.cli.hooktrial import denies
from airlock.cli.replay import connected, ran, text_of_result
from airlock.errors import UpstreamError
from airlock.home import state
from airlock.loader.file import load
from airlock.ports_faces import Record
from airlock.runtime import opened
from airlock.store.log import HELD_LOG, log_path
from airlock.store.sqlite import SQLiteStore
from tests.store.values import draft
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio


async def findings(terminal: Terminal, *words: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    ended = await terminal.run("doctor", "--json", *words)
    assert ended.out, ended.err
    by_check: dict[str, list[dict[str, Any]]] = {}
    for one in ended.json["findings"]:
        by_check.setdefault(one["check"], []).append(one)
    assert ended.json["ok"] == (ended.code == 0)
    return ended.code, by_check


def texts(found: dict[str, list[dict[str, Any]]], check: str, level: str) -> str:
    return " / ".join(one["text"] for one in found.get(check, []) if one["level"] == level)


def with_secret(terminal: Terminal) -> None:
    terminal.config.write_text("server: {api_secret: s3cret}\n" + terminal.config.read_text())
    terminal.config.chmod(0o600)
    state.trust(terminal.config)


async def test_a_good_set_up_passes_and_every_door_was_tried(terminal: Terminal) -> None:
    with_secret(terminal)
    code, found = await findings(terminal)
    assert code == 0, found
    tried = texts(found, "replay", "ok")
    assert "an unknown tool was stopped" in tried
    assert "the forbidden tool `demo__read_note` was stopped" in tried
    assert "did not run without an approval" in tried
    assert "the chain holds" in texts(found, "audit", "ok")
    assert "`demo` offers 7 tools" in texts(found, "servers", "ok")


async def test_the_question_that_the_replay_asks_is_withdrawn(terminal: Terminal) -> None:
    with_secret(terminal)
    await findings(terminal)
    assert (await terminal.quick("pending", "--json")).json == []


async def test_no_secret_is_a_finding_with_its_cure(terminal: Terminal) -> None:
    code, found = await findings(terminal, "--no-replay")
    assert code == 8
    assert "no `server.api_secret`" in texts(found, "secret", "wrong")
    assert found["secret"][0]["cure"]


async def test_servers_that_a_client_starts_past_airlock_are_named(terminal: Terminal) -> None:
    with_secret(terminal)
    (terminal.folder / ".mcp.json").write_text('{"mcpServers": {"git": {"command": "mcp-server-git"}}}')
    code, found = await findings(terminal, "--no-replay")
    assert code == 8
    assert "`git` past Airlock" in texts(found, "clients", "wrong")
    (cure,) = [one["cure"] for one in found["clients"]]
    assert "--write-client --force" in cure  # without it `init` leaves a config alone that is there


async def test_rego_policies_without_their_engine_are_a_finding(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_secret(terminal)
    terminal.config.write_text("compat: [firewall]\n" + terminal.config.read_text())
    state.trust(terminal.config)
    policy = Record(
        face="firewall", kind="policy", id="1", created_at=1, updated_at=1, body={"content": "package a"}
    )
    monkeypatch.setenv("AIRLOCK_STATE_DIR", str(terminal.state))
    async with opened(load(terminal.config), road="cli", notify=False) as runtime:
        await runtime.store.put_records([policy])
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    ended = await terminal.quick("doctor", "--json", "--no-replay")
    (found,) = [one for one in ended.json["findings"] if one["check"] == "rego"]
    assert (ended.code, found["level"]) == (8, "wrong")
    assert "Rego policies (1) deny every action" in found["text"]
    assert found["cure"] == "pip install 'airlock-gate[rego]'"


async def test_a_hook_that_lets_calls_through_when_it_fails_is_a_finding(terminal: Terminal) -> None:
    with_secret(terminal)
    settings = terminal.folder / ".claude" / "settings.json"
    settings.parent.mkdir()
    hook = {"type": "command", "command": "airlock hook --agent claude-code || exit 2"}
    settings.write_text(json.dumps({"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [hook]}]}}))
    code, found = await findings(terminal, "--no-replay")
    assert code == 8
    assert "lets the call through when it fails" in texts(found, "hooks", "wrong")
    hook["onFailure"] = "block"
    settings.write_text(json.dumps({"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [hook]}]}}))
    code, found = await findings(terminal, "--no-replay")
    assert code == 0, found
    assert "blocks when it fails" in texts(found, "hooks", "ok")


async def test_a_configured_hook_is_fed_a_forbidden_command(terminal: Terminal) -> None:
    with_secret(terminal)
    settings = terminal.folder / ".claude" / "settings.json"
    settings.parent.mkdir()
    line = f"airlock hook --client claude-code --agent claude-code --config {terminal.config} || exit 2"
    hook = {"type": "command", "command": line, "onFailure": "block"}
    settings.write_text(json.dumps({"hooks": {"PreToolUse": [{"hooks": [hook]}]}}))
    code, found = await findings(terminal)
    assert code == 0, found
    assert "a forbidden command was stopped" in texts(found, "replay", "ok")


async def test_a_hook_line_that_does_more_than_start_airlock_is_never_run(terminal: Terminal) -> None:
    with_secret(terminal)
    settings = terminal.folder / ".claude" / "settings.json"
    settings.parent.mkdir()
    for line in (
        "touch ran; airlock hook",
        "airlock hook --agent $(touch ran)",
        "sh -c 'touch ran' airlock hook",
    ):
        settings.write_text(json.dumps({"hooks": {"PreToolUse": [{"hooks": [{"command": line}]}]}}))
        await findings(terminal)
        assert not (terminal.folder / "ran").exists()


async def test_a_broken_server_and_a_wrong_config_are_findings(terminal: Terminal) -> None:
    with_secret(terminal)
    text = terminal.config.read_text()
    terminal.config.write_text(
        text.replace("providers:", "providers:\n  bad: {type: stdio, command: 'false'}")
    )
    code, found = await findings(terminal, "--config", str(terminal.config))
    assert code == 8
    assert "`bad` is broken" in texts(found, "servers", "wrong")
    terminal.config.write_text("agents: [")
    code, found = await findings(terminal, "--config", str(terminal.config))
    assert code == 8
    assert texts(found, "config", "wrong")


async def test_tools_that_no_rule_names_are_told_once_they_were_denied(terminal: Terminal) -> None:
    from tests.support.terminal import agent_call, parked

    with_secret(terminal)
    async with parked(terminal.config) as calls:
        await calls.runtime.gate.authorize(agent_call(calls.runtime.config, "file/read", {}))
    _, found = await findings(terminal, "--no-replay")
    assert "claude-code: file/read" in texts(found, "rules", "note")


async def test_a_database_that_others_can_read_is_a_finding(terminal: Terminal) -> None:
    with_secret(terminal)
    await findings(terminal, "--no-replay")
    (terminal.folder / "airlock.db").chmod(0o644)
    code, found = await findings(terminal, "--no-replay")
    assert code in {0, 8}
    assert code == 0 or "can be read by other users" in texts(found, "database", "wrong")


async def test_a_log_that_a_program_keeps_from_being_taken_in_is_a_finding(terminal: Terminal) -> None:
    with_secret(terminal)
    await findings(terminal, "--no-replay")
    path = terminal.folder / "airlock.db"
    store = await SQLiteStore.open(path)
    await store.record([draft()])
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        os.truncate(
            log_path(path), HELD_LOG + 1
        )  # as large as if it had been written; the end is not looked at
        code, found = await findings(terminal, "--no-replay")
    assert code == 8
    assert "has grown to 256 MiB, since a program has been reading" in texts(found, "database", "wrong")
    await store.close()


# The stand-in for a client must not take a yes for a no.


@pytest.mark.parametrize(
    ("frame", "passed"),
    [
        ({"result": {"content": [{"type": "text", "text": "done"}]}}, True),
        ({"result": {"isError": True, "content": [{"type": "text", "text": "no such file"}]}}, True),
        ({"result": {}}, True),
        ({"result": {"isError": True, "content": [{"type": "text", "text": "airlock: denied"}]}}, False),
        ({"result": {"isError": False, "content": [{"type": "text", "text": "airlock: denied"}]}}, True),
        ({"error": {"code": -32602, "message": "Unknown tool"}}, False),
    ],
)
async def test_only_a_recognisable_refusal_counts_as_stopped(frame: dict[str, Any], passed: bool) -> None:
    assert ran(frame) is passed
    assert isinstance(text_of_result(frame), str)


async def test_only_a_well_formed_deny_of_a_hook_counts_as_stopped() -> None:
    assert denies(b'{"hookSpecificOutput": {"permissionDecision": "deny"}}')
    for out in (b"", b"{}", b"nonsense", b'{"hookSpecificOutput": {"permissionDecision": "ask"}}', b"[]"):
        assert not denies(out)


async def test_a_command_that_is_no_server_is_an_error_and_no_hang() -> None:
    with pytest.raises(UpstreamError, match="ended"):
        async with (
            asyncio.timeout(60),
            connected([sys.executable, "-c", "raise SystemExit('broken')"]) as client,
        ):
            await client.initialize()


# The demo


async def test_the_demo_plays_both_roles_without_a_terminal_and_leaves_nothing(
    terminal: Terminal, tmp_path: Path
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    ended = await terminal.run("demo", "--json", env={"TMPDIR": str(temporary)})
    assert ended.code == 0, ended.err
    assert [step["ran"] for step in ended.json["steps"]] == [True, True, False]
    assert "payments over 100" in ended.json["steps"][2]["told"]
    outcomes = {row["tool"]: (row["result"], row["hitl_outcome"]) for row in ended.json["audit"]}
    assert outcomes == {
        "demo/list_notes": ("success", None),
        "demo/write_note": ("success", "approved"),
        "demo/transfer": ("denied", None),
    }
    assert list(temporary.iterdir()) == []
    assert not list(terminal.state.glob("databases/*"))


@pytest.mark.parametrize("approves", [True, False])
async def test_on_a_terminal_the_person_types_the_code(terminal: Terminal, approves: bool) -> None:
    seen = await asyncio.to_thread(_played, terminal, approves)
    assert ("wrote the note" in seen) is approves
    assert ("it did not run" in seen.split("2  a call")[1].split("3  a call")[0]) is not approves
    assert "chain of" in seen
    assert "that is not it: type" in seen


def _played(terminal: Terminal, approves: bool) -> str:
    environment = terminal.environment({"TERM": "dumb"})
    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(terminal.folder)
        os.execve(sys.executable, [sys.executable, "-m", "airlock", "demo"], environment)
    seen, typed = "", False
    try:
        while select.select([descriptor], [], [], 60)[0] and (data := os.read(descriptor, 65536)):
            seen += data.decode("utf-8", "replace")
            asked = re.search(r"([A-Z0-9]{6})  demo/write_note", seen)
            if not typed and asked and "type the code" in seen:
                os.write(descriptor, b"WR0NG\n" + (asked[1].lower() if approves else "").encode() + b"\n")
                typed = True
    except OSError:
        pass  # a terminal whose last program is gone reads as an error
    finally:
        os.close(descriptor)
    os.waitpid(pid, 0)
    return seen
