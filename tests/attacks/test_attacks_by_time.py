"""An agent that plays for time: a client whose hook answers too late runs the tool."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airlock.store.lock import lock_path
from tests.support.gateways import SECRET, open_gateway

POLICY = "agents: {claude-code: {allow: ['bash/*']}, gemini-cli: {allow: ['bash/*']}}\n"
PAYLOADS = {
    "claude-code": {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "ls"}},
    "gemini-cli": {
        "hook_event_name": "BeforeTool",
        "timestamp": "2026-01-01T00:00:00Z",
        "tool_name": "run_shell_command",
        "tool_input": {"command": "ls"},
    },
}


def hook(config: Path, client: str, timeout: str) -> subprocess.CompletedProcess[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRLOCK_")}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "airlock",
            "hook",
            "--client",
            client,
            "--config",
            str(config),
            "--timeout",
            timeout,
        ],
        input=json.dumps({**PAYLOADS[client], "cwd": "/"}).encode(),
        capture_output=True,
        timeout=60,
        env={**clean, "AIRLOCK_STATE_DIR": str(config.parent / "state")},
        check=False,
    )


@pytest.mark.parametrize("client", list(PAYLOADS))
def test_who_holds_the_databases_lock_gets_a_no_before_the_client_stops_waiting(
    tmp_path: Path, client: str
) -> None:
    """The lock is a plain file of this user's, which a shell can hold: `flock airlock.db.lock sleep 600`."""
    config = tmp_path / "airlock.yaml"
    config.write_text(f"database: sqlite:///{tmp_path}/airlock.db\n{POLICY}")
    free = hook(config, client, "20")
    assert (free.returncode, b"allow" in free.stdout) == (0, True), free
    with lock_path(tmp_path / "airlock.db").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for _ in range(5):
            ended = hook(config, client, "3")
            if ended.returncode != 1 or b"Timeout" not in ended.stderr:
                break  # else the machine gave it no time, and the last resort ended it
    answer = json.loads(ended.stdout)
    told = answer.get("hookSpecificOutput", answer)
    assert ended.returncode == 0
    assert told.get("permissionDecision", told.get("decision")) == "deny"
    assert b"in time" in ended.stdout


def test_the_gateway_says_no_before_the_client_stops_waiting_too(tmp_path: Path) -> None:
    policy = f"server: {{api_secret: {SECRET}}}\nagents: {{claude-code: {{ask: ['bash/*']}}}}\n"
    payload = json.dumps({**PAYLOADS["claude-code"], "cwd": "/"}).encode()
    with open_gateway(tmp_path, policy) as gateway, lock_path(tmp_path / "airlock.db").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        answer = gateway.post("/hook?timeout=2", payload)
    told = json.loads(answer.body)["hookSpecificOutput"]
    assert answer.status == 200
    assert (told["permissionDecision"], "in time" in told["permissionDecisionReason"]) == ("deny", True)


STUCK = """
import sys
from airlock.hooks.dialects import CLAUDE_CODE
from airlock.hookwatch import in_time
with in_time(CLAUDE_CODE.deny("too late"), 1.0):
    __import__("re").match("(a*)*b", "a" * 40)  # the engine holds the interpreter: no thread of ours runs
print("allowed")
"""


def test_a_process_that_is_stuck_in_computing_ends_without_an_answer() -> None:
    ended = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert b"allow" not in ended.stdout


ONE = """
from airlock.hooks.dialects import CLAUDE_CODE
from airlock.hookwatch import in_time
with in_time(CLAUDE_CODE.deny("too late"), 60.0):
    pass
print("allowed", end="")
"""


def test_an_answer_in_time_is_the_only_one() -> None:
    ended = subprocess.run([sys.executable, "-c", ONE], capture_output=True, timeout=60, check=True)
    assert ended.stdout == b"allowed"
