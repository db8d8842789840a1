"""Who may decide at a terminal: never an agent's shell, and with the PIN once one is set."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from airlock.cli import pins
from airlock.cli.authority import decider, local_identity
from airlock.cli.shells import MARKERS, agent_of
from airlock.errors import NotPermitted, UsageError
from airlock.model import Proceed
from tests.support.terminal import Terminal, parked

DECIDING = [
    ("approve", "ZZZZZZ"),
    ("deny", "ZZZZZZ"),
    ("undo", "ZZZZZZ"),
    ("pause",),
    ("resume",),
    ("grants", "revoke", "abc"),
    ("trust", "--yes"),
    ("pin", "set", "--pin-stdin"),
    ("pin", "clear", "--pin-stdin"),
]


@pytest.mark.parametrize("name", [name for name, _ in MARKERS])
def test_every_marker_of_an_agents_shell_is_noticed(name: str) -> None:
    assert name in agent_of({name: "1"})
    with pytest.raises(NotPermitted, match="may not decide"):
        decider(environment={name: "1"})
    assert decider(environment={name: ""}) == local_identity()


def test_a_persons_editor_terminal_is_no_agents_shell() -> None:
    assert agent_of({"TERM_PROGRAM": "vscode", "CURSOR_TRACE_ID": "x", "EDITOR": "vim", "CI": "true"}) == ""


def test_the_identity_is_the_kernels_and_not_a_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    before = local_identity()
    for name in ("USER", "LOGNAME", "USERNAME", "LNAME"):
        monkeypatch.setenv(name, "mallory")
    assert local_identity() == before


@pytest.mark.anyio
@pytest.mark.parametrize("words", DECIDING, ids=lambda words: words[0])
async def test_an_agents_shell_may_not_decide_anything(terminal: Terminal, words: tuple[str, ...]) -> None:
    async with parked(terminal.config):
        ended = await terminal.run(*words, stdin="1234\n", env={"CLAUDECODE": "1"})
    assert ended.code == 4
    assert "an agent's shell may not" in ended.err


@pytest.mark.anyio
async def test_an_agent_that_reads_the_code_still_cannot_use_it(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        seen = await terminal.run("pending", env={"CLAUDECODE": "1"})
        ended = await terminal.run("approve", request.code, env={"CLAUDECODE": "1"})
        assert not calls.tasks[0].done()
    assert request.code in seen.out
    assert ended.code == 4


# The PIN


def test_a_pin_is_kept_as_a_salted_hash_that_only_the_user_reads(state_of_its_own: Path) -> None:
    pins.set_pin("2468")
    file = state_of_its_own / "pin.json"
    assert file.stat().st_mode & 0o777 == 0o600
    first = file.read_text()
    assert "2468" not in first
    pins.set_pin("2468")
    assert file.read_text() != first
    pins.check("2468")
    with pytest.raises(NotPermitted, match="wrong"):
        pins.check("2469")


def test_wrong_pins_lock_it_for_a_while_even_for_the_right_one() -> None:
    pins.set_pin("2468")
    for _ in range(pins.TRIES):
        with pytest.raises(NotPermitted, match="wrong"):
            pins.check("0000")
    with pytest.raises(NotPermitted, match="locked"):
        pins.check("2468")


def test_a_short_pin_is_refused() -> None:
    with pytest.raises(UsageError):
        pins.set_pin("123")
    assert not pins.is_set()


def test_a_pin_file_that_cannot_be_read_permits_nothing(state_of_its_own: Path) -> None:
    (state_of_its_own / "pin.json").write_text("{}")
    with pytest.raises(Exception, match="cannot be read"):
        pins.check("2468")


@pytest.mark.anyio
async def test_with_a_pin_deciding_without_a_terminal_is_refused(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        pins.set_pin("2468")
        alone = await terminal.run("approve", request.code)
        wrong = await terminal.run("approve", request.code, "--pin-stdin", stdin="1111\n")
        agent = await terminal.run(
            "approve", request.code, "--pin-stdin", stdin="2468\n", env={"CLAUDECODE": "1"}
        )
        right = await terminal.run("approve", request.code, "--pin-stdin", stdin="2468\n")
        assert isinstance(await calls.verdict(), Proceed)
    assert (alone.code, wrong.code, agent.code, right.code) == (4, 4, 4, 0)


@pytest.mark.anyio
async def test_the_pin_is_set_and_cleared_from_stdin_with_the_old_one_first(terminal: Terminal) -> None:
    assert (await terminal.run("pin", "set", "--pin-stdin", stdin="2468\n")).code == 0
    assert (await terminal.run("pin", "set", "--pin-stdin", stdin="1111\n9999\n")).code == 4
    assert (await terminal.run("pin", "set", "--pin-stdin", stdin="2468\n1357\n")).code == 0
    assert (await terminal.run("pin", "clear", "--pin-stdin", stdin="2468\n")).code == 4
    assert (await terminal.run("pin", "clear", "--pin-stdin", "--json", stdin="1357\n")).json == {
        "pin": False
    }


@pytest.mark.anyio
async def test_a_pin_typed_on_the_terminal_decides_also_in_an_agents_shell(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        pins.set_pin("2468")
        import asyncio

        code, seen = await asyncio.to_thread(
            _typed, terminal, ["approve", request.code], b"2468\n", {"CLAUDECODE": "1"}
        )
        assert isinstance(await calls.verdict(), Proceed)
    assert code == 0
    assert b"PIN:" in seen
    assert b"2468" not in seen


def _typed(terminal: Terminal, words: list[str], text: bytes, env: dict[str, str]) -> tuple[int, bytes]:
    """Run a command on a terminal of its own, and type when it asks; its exit code and all it showed."""
    environment = terminal.environment(env)
    pid, descriptor = pty.fork()
    if pid == 0:  # the child becomes the program at once
        os.chdir(terminal.folder)
        os.execve(sys.executable, [sys.executable, "-m", "airlock", *words], environment)
    seen, typed = b"", False
    until = time.monotonic() + 60
    try:
        while time.monotonic() < until:
            ready, _, _ = select.select([descriptor], [], [], 1)
            if not ready:
                continue
            try:
                data = os.read(descriptor, 4096)
            except OSError:
                break
            if not data:
                break
            seen += data
            if not typed and b"PIN:" in seen:
                os.write(descriptor, text)
                typed = True
        else:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), seen
