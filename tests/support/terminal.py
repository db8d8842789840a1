"""`airlock` as a person runs it: a process of its own, with an environment of which nothing is left over."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airlock.cli.main import run
from airlock.cli.shells import MARKERS
from airlock.config import Config
from airlock.ids import make_id
from airlock.loader.file import load
from airlock.model import ApprovalRequest, Call, Origin, Principal, Proceed, Refuse
from airlock.runtime import Runtime, opened

POLICY = """
database: sqlite:///airlock.db
providers:
  demo: {type: builtin}
agents:
  claude-code:
    allow: ["demo/echo", "demo/list_notes"]
    ask: ["demo/write_note", "demo/send_email", "fs/*"]
    deny: ["demo/delete_note"]
people:
  alice: {local: alice}
  bob: {local: bob}
rules:
  - {id: big, agent: [claude-code], tool: demo/transfer, args: {amount: {gt: 100}}, effect: ask,
     quorum: 2, risk: high, reason: "large payments need two people"}
tests:
  - {agent: claude-code, tool: demo/echo, expect: allow}
"""

SECONDS = 60.0

LEFT_OUT = {name for name, _ in MARKERS} | {"AIRLOCK_CONFIG", "XDG_CONFIG_HOME", "NO_COLOR", "CODEX_HOME"}
"""Variables that would make a test depend on who runs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a process left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its stdout, which must be one JSON document."""
        return json.loads(self.out)


def plain_environment(state: Path, home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """A person's environment: no marker of an agent, a home and a state directory of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    return {
        **kept,
        "AIRLOCK_STATE_DIR": str(state),
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        **(more or {}),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """A place to run `airlock` from: a folder, a home, a state directory."""

    folder: Path
    state: Path
    home: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The config of this place."""
        return self.folder / "airlock.yaml"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of its processes."""
        return plain_environment(self.state, self.home, {**self.more, **(more or {})})

    async def run(
        self, *words: str, stdin: str = "", cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Ended:
        """One command, to its end."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "airlock", *words],
            cwd=cwd or self.folder,
            env=self.environment(env),
            input=stdin.encode(),
            capture_output=True,
            start_new_session=True,
            timeout=SECONDS,
            check=False,
        )
        return Ended(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())

    async def quick(self, *words: str) -> Ended:
        """One command in this process, in a thread: for what does not depend on being a process."""
        out, err = io.StringIO(), io.StringIO()
        before = {name: os.environ.get(name) for name in [*LEFT_OUT, "HOME"]}
        for name in before:
            os.environ.pop(name, None)
        os.environ["HOME"] = str(self.home)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                async with asyncio.timeout(SECONDS):
                    code = await asyncio.to_thread(run, ["--config", str(self.config), *words])
        finally:
            os.environ.pop("HOME")
            os.environ.update({name: value for name, value in before.items() if value is not None})
        return Ended(code=code, out=out.getvalue(), err=err.getvalue())


def agent_call(config: Config, tool: str, arguments: Mapping[str, Any], agent: str = "claude-code") -> Call:
    """A call as a client in some project makes it."""
    provider, _, name = tool.partition("/")
    return Call(
        id=make_id(),
        principal=Principal(name=agent, identity=f"agent:{agent}"),
        provider=provider,
        name=name,
        arguments=arguments,
        origin=Origin(
            workspace=config.workspace,
            session="session-1",
            cwd=str(config.file.parent),
            client="claude-code 2.1.328",
        ),
    )


@dataclass(slots=True, kw_only=True)
class Parked:
    """Calls that wait for a person, in this process."""

    runtime: Runtime
    tasks: list[asyncio.Task[Proceed | Refuse]] = field(default_factory=list)

    async def ask(self, tool: str, arguments: Mapping[str, Any] | None = None) -> ApprovalRequest:
        """Park one call, and return its request once it is in the queue."""
        call = agent_call(self.runtime.config, tool, arguments or {})
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def told(wait: Any) -> None:
            if not asked.done():
                asked.set_result(wait.request.id)

        self.tasks.append(asyncio.create_task(self.runtime.gate.authorize(call, on_wait=told)))
        async with asyncio.timeout(SECONDS):
            return await self.runtime.gate.request(await asked)

    async def verdict(self, place: int = 0) -> Proceed | Refuse:
        """What became of the call."""
        async with asyncio.timeout(SECONDS):
            return await self.tasks[place]


@contextlib.asynccontextmanager
async def parked(config: Path) -> AsyncIterator[Parked]:
    """A process with parked calls, as `airlock stdio` is one."""
    async with opened(load(config), road="stdio", notify=False) as runtime:
        here = Parked(runtime=runtime)
        try:
            yield here
        finally:
            for task in here.tasks:
                task.cancel()
            await asyncio.gather(*here.tasks, return_exceptions=True)
