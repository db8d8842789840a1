"""`airlock demo`: the whole story in one terminal, with the real process and a server that harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from airlock.cli.authority import local_identity
from airlock.cli.exits import Exit
from airlock.cli.frame import Command, Frame, here, wait_for
from airlock.cli.init import own_command
from airlock.cli.lines import Line, Span, Tone, line, span
from airlock.cli.render import put_json, put_lines
from airlock.cli.replay import Client, connected, ran, text_of_result
from airlock.cli.show import card
from airlock.errors import UpstreamError
from airlock.ids import now_ms
from airlock.model import ApprovalRequest, JsonObject, Resolution
from airlock.ports import AuditEntry, AuditFilter
from airlock.values import dataclass
from airlock.views import entry_shape
from airlock.visible import bounded

if TYPE_CHECKING:
    from airlock.runtime import Runtime

POLICY = """\
database: sqlite:///airlock.db
providers:
  demo: {type: builtin}                       # a small server of Airlock's own: notes and pretend money
agents:
  claude-code:
    allow: ["demo/echo", "demo/list_notes", "demo/read_note"]
    ask: ["demo/write_note"]
rules:
  - id: no-large-payments
    tool: demo/transfer
    args: {amount: {gt: 100}}
    effect: deny
    reason: payments over 100 are not for agents
  - {id: small-payments, tool: demo/transfer, effect: ask, risk: high}
approvals: {timeout: 10m}
"""

NOTE = {"name": "plan", "text": "Ship on Friday.\nTell nobody.\n"}
PATIENCE = 600.0


@click.command(cls=Command, example="airlock demo")
def demo() -> int:
    """See an allowed, an asked and a denied call, with the real thing. Leaves nothing behind."""
    return wait_for(_demo(here()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of the story and what came of it."""

    tool: str
    ran: bool
    told: str


class Story:
    """Plays the agent, and where there is no terminal the person as well."""

    def __init__(self, frame: Frame, client: Client, runtime: Runtime) -> None:
        self._quiet = frame.json
        self._alone = frame.json or not (sys.stdin.isatty() and sys.stdout.isatty())
        self._client = client
        self._runtime = runtime
        self.steps: list[Step] = []

    async def play(self) -> None:
        """The three calls, in the order in which they are easiest to understand."""
        self._say("", span("1  a call that the policy allows", Tone.HEAD))
        await self._call("demo/list_notes", {})
        self._say("", span("2  a call that must ask you", Tone.HEAD))
        await self._asked("demo/write_note", NOTE)
        self._say("", span("3  a call that the policy denies", Tone.HEAD))
        await self._call("demo/transfer", {"to": "eve", "amount": 5000})

    def _say(self, *rows: Span | str) -> None:
        if not self._quiet:
            put_lines(line(row) for row in rows)

    async def _call(self, tool: str, arguments: JsonObject) -> None:
        self._say(f"   the agent calls {tool} {json.dumps(arguments) if arguments else ''}".rstrip())
        self._told(tool, await self._client.call(tool.replace("/", "__"), arguments).result())

    async def _asked(self, tool: str, arguments: JsonObject) -> None:
        waits = asyncio.Event()
        pending = self._client.call(tool.replace("/", "__"), arguments, lambda _: waits.set())
        self._say(f"   the agent calls {tool}, and waits:")
        request = await self._question(waits)
        if not self._quiet:
            put_lines([line(""), *card(request, now_ms()), line("")])
        approve = await self._answer(request)
        resolution = Resolution(
            approve=approve, identity=local_identity(), via="demo", note="" if approve else "not now"
        )
        await self._runtime.gate.resolve(request.id, resolution)
        self._told(tool, await pending.result(PATIENCE))

    async def _question(self, waits: asyncio.Event) -> ApprovalRequest:
        async with asyncio.timeout(20):
            await waits.wait()
        rows = await self._runtime.gate.pending()
        if not rows:
            raise UpstreamError("the call that must ask did not ask")
        return rows[0]

    async def _answer(self, request: ApprovalRequest) -> bool:
        """What the person says: the code for yes, nothing for no; a mistyped code is asked again."""
        if self._alone:
            self._say(f"   nobody is at a terminal, so the demo answers: airlock approve {request.code}")
            return True
        asks = "type the code to approve it, or press enter to deny it"
        while True:
            sys.stdout.write(f"   {asks}: ")
            sys.stdout.flush()
            typed = (await _line_typed()).strip().upper()
            if typed.removeprefix("AIRLOCK APPROVE").strip() == request.code:
                return True
            if typed in {"", "N", "NO", "DENY", f"AIRLOCK DENY {request.code}"}:
                return False
            asks = f"that is not it: type {request.code} to approve it, or press enter to deny it"

    def _told(self, tool: str, answer: JsonObject) -> None:
        step = Step(tool=tool, ran=ran(answer), told=text_of_result(answer))
        self.steps.append(step)
        mark = span("it ran", Tone.GOOD) if step.ran else span("it did not run", Tone.BAD)
        if not self._quiet:
            put_lines([line("   ", mark, f"; the agent reads: {bounded(step.told, 300)}")])


async def _line_typed() -> str:
    """A line from the terminal. Read on the loop: a thread that waits in `readline` would outlive Ctrl-C."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ready.set)
    try:
        await ready.wait()
        return sys.stdin.readline()
    finally:
        loop.remove_reader(sys.stdin.fileno())


async def _demo(frame: Frame) -> int:
    async with _stage() as (client, runtime):
        story = Story(frame, client, runtime)
        await story.play()
        entries = await _settled(runtime)
        report = await runtime.store.verify()
    steps = story.steps
    told = [step.ran for step in steps]
    good = report.sound and told[0] and not told[2]
    if frame.json:
        shapes = [{"tool": one.tool, "ran": one.ran, "told": one.told} for one in steps]
        put_json({"ok": good, "steps": shapes, "audit": [entry_shape(one) for one in entries]})
    else:
        put_lines(_end(len(entries), report.events))
    return Exit.DONE if good else Exit.FOUND_WRONG


async def _settled(runtime: Runtime) -> list[AuditEntry]:
    """The history once the outcomes are in it: they are written just after the agent was answered."""
    entries = await runtime.store.entries(AuditFilter())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            while any(one.result is None for one in entries):
                await asyncio.sleep(0.02)
                entries = await runtime.store.entries(AuditFilter())
    return entries


def _end(calls: int, events: int) -> list[Line]:
    return [
        line(""),
        line(span(f"   {calls} calls are in the audit, a chain of {events} events that holds", Tone.DIM)),
        line("   next: airlock init puts Airlock in front of the servers that you use"),
    ]


@asynccontextmanager
async def _stage() -> AsyncIterator[tuple[Client, Runtime]]:
    """A client of a real `airlock stdio`, and its database opened here; all in a folder that goes away."""
    from airlock.loader.file import load
    from airlock.runtime import opened

    with tempfile.TemporaryDirectory(prefix="airlock-demo-") as name, _own_state(Path(name) / "state"):
        path = Path(name) / "airlock.yaml"
        path.write_text(POLICY, encoding="utf-8")
        words = [*own_command(), "stdio", "--agent", "claude-code", "--config", str(path)]
        async with connected(words, env=dict(os.environ)) as client:
            await client.initialize()
            await client.tools()
            async with opened(load(path), road="cli", notify=False) as runtime:
                yield client, runtime


@contextmanager
def _own_state(folder: Path) -> Iterator[None]:
    """A state directory of its own, so that nothing of the demo is ever found by other commands."""
    before = os.environ.get("AIRLOCK_STATE_DIR")
    os.environ["AIRLOCK_STATE_DIR"] = str(folder)
    try:
        yield
    finally:
        with contextlib.suppress(KeyError):
            del os.environ["AIRLOCK_STATE_DIR"]
        if before is not None:
            os.environ["AIRLOCK_STATE_DIR"] = before
