"""Child processes: what they inherit, how they end, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from airlock.errors import UpstreamError
from airlock.proxy.pipes import LineReader
from airlock.proxy.upstream.process import Command, Process, Watcher
from support.processes import alive

pytestmark = pytest.mark.anyio

STAYS = "import signal, sys; {}; print('up', flush=True); signal.pause()"
IGNORES_TERM = STAYS.format("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
WAITS_FOR_EOF = "import sys; print('up', flush=True); sys.stdin.read(); print('bye', file=sys.stderr)"
LEAVES_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
"""


class Run:
    """A process under test and what it wrote."""

    def __init__(self, code: str, **more: object) -> None:
        self.exited = asyncio.Event()
        self.watcher = Watcher()
        command = Command(command=sys.executable, args=("-S", "-c", code), **more)  # type: ignore[arg-type]
        self.process = Process(command, name="x", on_exit=self.exited.set, watcher=self.watcher)
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.reader = LineReader(self.process.stdout, self._heard, lambda: None)

    def _heard(self, lines: list[bytes]) -> None:
        for line in lines:
            self.lines.put_nowait(line)

    async def line(self) -> str:
        async with asyncio.timeout(60):
            return (await self.lines.get()).decode()


@asynccontextmanager
async def run(code: str, **more: object) -> AsyncIterator[Run]:
    one = Run(code, **more)
    try:
        yield one
    finally:
        one.process._signal(signal.SIGKILL)
        await one.process.stop()
        one.reader.close()
        one.watcher.close()


async def until_gone(pid: int) -> None:
    """A bounded poll: nothing tells when somebody else's child ends."""
    async with asyncio.timeout(60):
        while alive(pid):
            await asyncio.sleep(0.02)


async def test_a_server_that_heeds_eof_is_never_signalled() -> None:
    async with run(WAITS_FOR_EOF) as one:
        await one.line()
        os.close(one.process.stdin)
        await one.process.stop(patience=20)
        assert one.process.exit_code == 0
        assert one.process.tail == ("bye",)


async def test_a_server_that_ignores_eof_gets_sigterm() -> None:
    async with run(STAYS.format("pass")) as one:
        await one.line()
        os.close(one.process.stdin)
        await one.process.stop(patience=2.5)  # as long as it may take to die, on a busy machine
        assert one.process.exit_code == -signal.SIGTERM
        assert one.process.epitaph() == "it was ended by SIGTERM"


async def test_a_server_that_ignores_sigterm_is_killed() -> None:
    async with run(IGNORES_TERM) as one:
        await one.line()
        os.close(one.process.stdin)
        await one.process.stop(patience=0.05)
        assert one.process.exit_code == -signal.SIGKILL


async def test_children_of_a_server_that_ended_by_itself_are_ended() -> None:
    async with run(LEAVES_A_CHILD) as one:
        child = int(await one.line())
        async with asyncio.timeout(60):
            await one.exited.wait()
        await one.process.stop()
        await until_gone(child)
        os.close(one.process.stdin)


async def test_a_child_gets_the_allowlist_and_the_config_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRLOCK_API_SECRET", "people")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    code = "import os; print(sorted(os.environ), os.environ['KEY'], flush=True)"
    async with run(code, env={"KEY": "v"}) as one:
        line = await one.line()
        names = set(eval(line[: line.index("]") + 1]))
        assert line.endswith(" v")
        allowed = {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "TMPDIR", "KEY", "LC_CTYPE"}
        assert names <= allowed
        os.close(one.process.stdin)


async def test_a_child_runs_in_the_directory_of_the_config_in_a_group_of_its_own(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd(), os.getpgrp() == os.getpid() == os.getsid(0), flush=True)"
    async with run(code, cwd=tmp_path) as one:
        assert await one.line() == f"{tmp_path.resolve()} True"
        os.close(one.process.stdin)


async def test_no_descriptor_of_ours_reaches_a_child(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), False)
        code = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:3], flush=True)"
        code += f"; print(os.path.exists('/proc/self/fd/{file.fileno()}'), flush=True)"
        async with run(code) as one:
            await one.line()
            assert await one.line() == "False"
            os.close(one.process.stdin)


async def test_secrets_are_masked_in_what_is_kept_of_stderr() -> None:
    code = "import os, sys; print('key is', os.environ['KEY'], '\\x1b[31mred', file=sys.stderr); sys.exit(3)"
    async with run(code, env={"KEY": "s3cr3t-value"}, secrets=("s3cr3t-value",)) as one:
        async with asyncio.timeout(60):
            await one.exited.wait()
        assert one.process.tail == ("key is …  [31mred",)
        assert one.process.epitaph() == "it ended with exit code 3"
        assert one.process.last_words() == "key is …  [31mred"
        os.close(one.process.stdin)


async def test_a_flood_on_stderr_keeps_only_the_end() -> None:
    code = (
        "import sys; sys.stderr.write('x' * 200_000 + '\\n')\nfor n in range(5000): print(n, file=sys.stderr)"
    )
    async with run(code) as one:
        async with asyncio.timeout(60):
            await one.exited.wait()
        assert len(one.process.tail) == 40
        assert one.process.tail[-1] == "4999"
        os.close(one.process.stdin)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (Command(command="no-such-command-here"), "command not found: `no-such-command-here` (install it"),
        (Command(command="uvx", env={"PATH": "/nonexistent"}), "command not found: `uvx` (install uv"),
        (
            Command(command=sys.executable, cwd=Path("/no/such")),
            "working directory `/no/such` does not exist",
        ),
        (Command(command="a\0b"), "cannot start"),
    ],
)
async def test_what_cannot_be_started_says_why_and_what_to_do(command: Command, says: str) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(UpstreamError) as caught:
        Process(command, name="x", on_exit=lambda: None)
    assert says in str(caught.value)
    assert len(list(Path("/dev/fd").iterdir())) == before


async def test_a_file_without_the_right_to_execute_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "script").chmod(0o644)
    with pytest.raises(UpstreamError, match="chmod"):
        Process(Command(command=str(tmp_path / "script")), name="x", on_exit=lambda: None)


async def test_a_script_without_an_interpreter_is_named(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo hello\n")
    (tmp_path / "script").chmod(0o755)
    with pytest.raises(UpstreamError, match="should name an interpreter"):
        Process(Command(command=str(tmp_path / "script")), name="x", on_exit=lambda: None)


PARENT = """
import asyncio, sys, uvloop
from airlock.proxy.upstream.process import Command, Process, Watcher

async def main():
    child = "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    child += "one = subprocess.Popen([sys.executable, '-S', '-c', 'import signal; signal.pause()']);"
    child += "print(one.pid, flush=True); signal.pause()"
    command = Command(command=sys.executable, args=("-S", "-c", child))
    process = Process(command, name="x", on_exit=lambda: None, watcher=Watcher())
    print(process.pid, open(process.stdout).readline().strip(), flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


async def test_a_killed_parent_takes_its_children_and_theirs_along() -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=subprocess.PIPE)
    assert parent.stdout
    async with asyncio.timeout(60):
        pids = [int(word) for word in (await parent.stdout.readline()).split()]
    assert all(alive(pid) for pid in pids)
    parent.kill()
    await parent.wait()
    for pid in pids:  # the first one ignores SIGTERM: it gets SIGKILL two seconds later
        await until_gone(pid)


async def test_the_watcher_spares_a_group_that_it_was_told_to_forget() -> None:
    bystander = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", STAYS.format("pass"), start_new_session=True, stdout=subprocess.PIPE
    )
    watcher = Watcher()
    watcher.add(bystander.pid)
    watcher.remove(bystander.pid)
    watcher.close()
    assert alive(bystander.pid)
    bystander.kill()
    await bystander.wait()
