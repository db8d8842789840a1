"""A client in this process before a real session: a real gate, a real store, real server processes behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from airlock.config import Config
from airlock.gate import Gate
from airlock.ids import now_ms
from airlock.loader.file import loads
from airlock.model import Principal
from airlock.policy import compile_policy
from airlock.proxy.described import Descriptions
from airlock.proxy.router import Router
from airlock.proxy.session.client import Seat
from airlock.proxy.session.session import Session
from airlock.proxy.upstream.factory import make_upstream
from airlock.redaction import Redactor
from airlock.store.sqlite import SQLiteStore

SECONDS = 60
ODD = str(Path(__file__).parents[1] / "fixtures" / "odd_server.py")
PREFIX = "io.modelcontextprotocol/"
DECISION = "io.airlock/decision"
Json = dict[str, Any]


def odd(*switches: str, **more: Any) -> Json:
    """A provider that is the odd server."""
    return {"type": "stdio", "command": sys.executable, "args": [ODD, *switches], **more}


def policy(providers: Json, agent: Json | None = None, **more: Any) -> str:
    """A config as text; JSON is YAML."""
    lists = agent or {"allow": ["*/**", "resource:*/**", "prompt:*/**"]}
    return json.dumps({"providers": providers, "agents": {"tester": lists}, **more})


class Caller:
    """The client's side: sends frames, keeps what comes back."""

    def __init__(self) -> None:
        self.session: Session
        self.gate: Gate
        self.router: Router
        self.config: Config
        self.frames: list[Json] = []
        self.meta: Json | None = None
        self._arrived = asyncio.Event()
        self._count = 0

    def heard(self, frame: Json) -> None:
        """Take a frame of the session."""
        self.frames.append(json.loads(json.dumps(frame)))
        self._arrived.set()

    def send(self, method: str, params: Json | None = None, frame_id: Any = None) -> Any:
        """Send a request and return its id."""
        if frame_id is None:
            self._count += 1
            frame_id = self._count
        if self.meta is not None:
            params = {**(params or {}), "_meta": {**self.meta, **((params or {}).get("_meta") or {})}}
        frame: Json = {"jsonrpc": "2.0", "id": frame_id, "method": method}
        self.session.receive(frame if params is None else {**frame, "params": params})
        return frame_id

    def tell(self, method: str, params: Json | None = None) -> None:
        """Send a notification."""
        frame: Json = {"jsonrpc": "2.0", "method": method}
        self.session.receive(frame if params is None else {**frame, "params": params})

    def reply(self, frame_id: Any, result: Json) -> None:
        """Answer a request of the server."""
        self.session.receive({"jsonrpc": "2.0", "id": frame_id, "result": result})

    async def until(self, found: Callable[[], Any]) -> Any:
        """Wait until the frames hold something; what `found` returns."""
        async with asyncio.timeout(SECONDS):
            while not (value := found()):
                self._arrived.clear()
                await self._arrived.wait()
        return value

    def answers(self, frame_id: Any) -> list[Json]:
        """The responses to one request so far."""
        return [
            frame
            for frame in self.frames
            if "method" not in frame and frame["id"] == frame_id and type(frame["id"]) is type(frame_id)
        ]

    async def answer(self, frame_id: Any) -> Json:
        """The response to one request."""
        return (await self.until(lambda: self.answers(frame_id)))[0]

    async def ask(self, method: str, params: Json | None = None) -> Json:
        """A request and its result; an error is an AssertionError."""
        found = await self.answer(self.send(method, params))
        assert "result" in found, found
        return found["result"]

    async def fail(self, method: str, params: Json | None = None) -> Json:
        """A request and its error."""
        found = await self.answer(self.send(method, params))
        assert "error" in found, found
        return found["error"]

    async def call(self, tool: str, arguments: Json | None = None, meta: Json | None = None) -> Json:
        """tools/call, and its result."""
        return await self.ask("tools/call", call_params(tool, arguments, meta))

    def told(self, method: str) -> list[Json]:
        """The notifications and requests of that method so far, their params."""
        return [frame.get("params") or {} for frame in self.frames if frame.get("method") == method]

    async def hears(self, method: str, count: int = 1) -> list[Json]:
        """Wait for that many notifications or requests of that method; their params."""
        return await self.until(lambda: self.told(method) if len(self.told(method)) >= count else None)

    async def asked(self, method: str, count: int = 1) -> Json:
        """Wait for a request of the server; its whole frame."""

        def found() -> Json | None:
            frames = [one for one in self.frames if one.get("method") == method and "id" in one]
            return frames[count - 1] if len(frames) >= count else None

        return await self.until(found)

    async def initialize(
        self, version: str = "2025-11-25", name: str = "tester", **capabilities: Any
    ) -> Json:
        """The legacy handshake."""
        result = await self.ask(
            "initialize",
            {
                "protocolVersion": version,
                "capabilities": capabilities,
                "clientInfo": {"name": name, "version": "1"},
            },
        )
        self.tell("notifications/initialized")
        return result

    async def discover(self, name: str = "tester", **capabilities: Any) -> Json:
        """The modern handshake; every later request carries the envelope."""
        self.meta = {
            PREFIX + "protocolVersion": "2026-07-28",
            PREFIX + "clientCapabilities": capabilities,
            PREFIX + "clientInfo": {"name": name, "version": "1"},
        }
        return await self.ask("server/discover", {})

    async def entries(self) -> list[Any]:
        """The raw audit events, oldest first."""
        return await self.gate.store.events()

    async def recorded(self, found: Callable[[list[Any]], Any]) -> Any:
        """Wait until the audit events hold something; what `found` returns."""
        async with asyncio.timeout(SECONDS):
            while not (value := found(await self.entries())):
                await asyncio.sleep(0.005)  # polls a real database
        return value

    async def pending(self, count: int = 1) -> list[Any]:
        """The requests that wait for a person, once there are that many."""
        async with asyncio.timeout(SECONDS):
            while len(found := await self.gate.pending()) < count:
                await asyncio.sleep(0.005)  # polls a real database
        return found


def call_params(tool: str, arguments: Json | None = None, meta: Json | None = None) -> Json:
    """The params of tools/call."""
    params: Json = {"name": tool}
    if arguments is not None:
        params["arguments"] = arguments
    if meta is not None:
        params["_meta"] = meta
    return params


def text_of(result: Json) -> str:
    """The first text of a tool's result."""
    return result["content"][0]["text"]


@contextlib.asynccontextmanager
async def facing(
    folder: Path, text: str, *, kept: bool = False, waits: float = SECONDS
) -> AsyncIterator[Caller]:
    """A client before a session of agent `tester`; everything is closed on the way out.

    The first answer `waits` for servers that were never seen before: what it says of them is looked at,
    however slowly they start.
    """
    folder.mkdir(exist_ok=True)
    config = loads(text, folder / "airlock.yaml")
    store = await SQLiteStore.open(folder / "airlock.db", clock=now_ms)
    gate = Gate(
        policy=compile_policy(config),
        store=store,
        config=config,
        redactor=Redactor(config.audit.redact_fields, b"k" * 32),
        fingerprint_key=b"k" * 32,
    )
    caller = Caller()
    caller.gate, caller.config = gate, config
    caller.router = Router(config, make_upstream)
    caller.session = Session(
        send=caller.heard,
        gate=gate,
        router=caller.router,
        seat=Seat(
            principal=Principal(name="tester", identity="agent:tester"),
            workspace=config.workspace,
            session="s",
        ),
        descriptions=Descriptions(folder / "upstreams" if kept else None),
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("airlock.proxy.session.greeting.WAIT_SECONDS", waits)
            yield caller
    finally:
        await caller.session.close()
        await caller.router.close()
        await gate.close()
        await store.close()
