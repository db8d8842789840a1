"""`airlock gateway` as a process: one line when it is ready, and an end that loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gateway_process import BOUND, Process, hook, rest


def test_it_says_once_where_it_is_and_serves_there(process: Process) -> None:
    assert process.line == f"airlock gateway is ready on http://127.0.0.1:{process.port}\n"
    health = process.ask("GET", "/health")
    assert isinstance(health, dict)
    assert health["status"] == "ok"
    assert process.ask("POST", "/hook", hook("ls"))["hookSpecificOutput"]["permissionDecision"] == "allow"  # type: ignore[index]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_every_parked_hook_answered(
    process: Process, how: signal.Signals
) -> None:
    parked = [process.begin("POST", "/hook", hook(f"make {number}")) for number in range(5)]
    stream = process.begin("GET", "/events")
    while len(process.ask("GET", "/hitl/pending")) < len(parked):  # type: ignore[arg-type]
        pass
    process.running.send_signal(how)
    answers = [json.loads(rest(one)) for one in parked]
    assert {one["hookSpecificOutput"]["permissionDecision"] for one in answers} == {"deny"}
    rest(stream)
    assert process.running.wait(BOUND) == 0
    done = subprocess.run(
        [sys.executable, "-m", "airlock", "--config", str(process.config), "pending", "--json"],
        capture_output=True,
        timeout=BOUND,
        env=process.env,
        check=False,
    )
    assert len(json.loads(done.stdout)) == len(parked), done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "address already in use (another gateway may run there: name another port with --port)"),
        (("--host", "name.invalid"), "(name an address of this machine with --host)"),
        (("--host", "192.0.2.1"), "(name an address of this machine with --host)"),
    ],
)
def test_an_address_that_cannot_be_had_is_told_with_its_cure(
    process: Process, words: tuple[str, ...], told: str
) -> None:
    command = [sys.executable, "-m", "airlock", "--config", str(process.config), "gateway"]
    ended = subprocess.run(
        [*command, "--port", str(process.port), *words],
        capture_output=True,
        timeout=BOUND,
        env=process.env,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.decode().splitlines()[-1].endswith(told)


def test_it_says_where_it_is_as_json_for_programs(tmp_path: Path) -> None:
    started = Process(tmp_path, "--json")
    started.running.terminate()
    more, _ = started.running.communicate(timeout=BOUND)
    said = json.loads(started.line)
    assert said["ok"] is True
    assert said["address"].startswith("http://127.0.0.1:")
    assert more == b""


def test_on_every_address_without_a_name_it_says_that_nobody_else_is_answered(tmp_path: Path) -> None:
    started = Process(tmp_path, "--host", "0.0.0.0")
    started.running.terminate()
    _, said = started.running.communicate(timeout=BOUND)
    assert started.line.startswith("airlock gateway is ready")
    assert b"list the names that clients use in `server.allowed_hosts`" in said


def test_without_a_secret_it_listens_on_loopback_only_and_says_so(tmp_path: Path) -> None:
    config = tmp_path / "airlock.yaml"
    config.write_text(f"database: sqlite:///{tmp_path}/airlock.db\nagents: {{a: {{}}}}\n", encoding="utf-8")
    env = {**os.environ, "AIRLOCK_STATE_DIR": str(tmp_path / "state")}
    command = [sys.executable, "-m", "airlock", "--config", str(config), "gateway", "--port", "0"]
    refused = subprocess.run(
        [*command, "--host", "0.0.0.0"], capture_output=True, timeout=BOUND, env=env, check=False
    )
    assert refused.returncode == 2
    assert b"server.api_secret" in refused.stderr
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith(b"airlock gateway is ready")
        running.terminate()
        assert b"every program on this machine can approve" in running.stderr.read()
        assert running.wait(BOUND) == 0
