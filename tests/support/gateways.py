"""A real gateway for tests: uvicorn in a thread of its own, on the loop of `airlock gateway`, over a real
SQLite file, and a plain client."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import uvicorn
import uvloop
from starlette.applications import Starlette

from airlock.gate import Gate
from airlock.ids import now_ms
from airlock.listener.connection import Connection
from airlock.web.app import build_app
from tests.support.gates import open_gate

T = TypeVar("T")

SECRET = "the-people-know-this-secret"
BOUND = 60.0
"""Seconds after which something has failed, however busy the machine is."""


class Server(uvicorn.Server):
    """uvicorn, told to drain the app before it closes connections, as the gateway does."""

    def install_signal_handlers(self) -> None:
        """A thread has no signals."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.config.app.state.drain()  # type: ignore[union-attr]
        await super().shutdown(sockets)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Gateway:
    """A running gateway, and how a test speaks to it."""

    port: int
    gate: Gate
    app: Starlette
    loop: asyncio.AbstractEventLoop
    server: Server
    thread: threading.Thread
    token: str | None = SECRET
    extra: dict[str, str] = field(default_factory=dict)

    def run(self, work: Awaitable[T]) -> T:
        """Run a coroutine on the gateway's own loop."""

        async def bounded() -> T:
            async with asyncio.timeout(BOUND):
                return await work

        return asyncio.run_coroutine_threadsafe(bounded(), self.loop).result(BOUND + 5)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "",
        headers: Mapping[str, str] | None = None,
        timeout: float = BOUND,
    ) -> Answer:
        """One request on a connection of its own. `token` "" means the gateway's usual one, None none."""
        sent = dict(headers or {})
        bearer = self.token if token == "" else token
        if bearer is not None:
            sent.setdefault("Authorization", f"Bearer {bearer}")
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.ask("POST", path, body, **more)

    def later(self, work: Callable[[], T]) -> Later[T]:
        """Begin something that may be held, in a thread."""
        return Later(work)

    def raw(self, data: bytes, *, timeout: float = BOUND) -> bytes:
        """Send bytes as they are, and read until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            pieces = []
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)  # the server may have had enough before the last byte
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    pieces.append(piece)
            return b"".join(pieces)

    def until(self, seen: Callable[[], T]) -> T:
        """Ask again and again until something true comes back."""
        deadline = now_ms() + BOUND * 1000
        waiting = threading.Event()
        while now_ms() < deadline:
            value = seen()
            if value:
                return value
            waiting.wait(0.01)
        raise AssertionError("it did not come to pass in time")

    def pending(self, count: int = 1) -> list[dict[str, Any]]:
        """The queue, once it has that many requests."""
        return self.until(lambda: (rows := self.get("/hitl/pending").json()) and len(rows) >= count and rows)

    def stop(self) -> None:
        """End the process's server, as SIGTERM does."""
        self.server.should_exit = True
        self.thread.join(BOUND)
        assert not self.thread.is_alive(), "the gateway did not end in time"


class Later(Generic[T]):
    """Something that runs in a thread; `result` waits for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._value: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._value = work()
        except BaseException as error:  # noqa: BLE001 - told to the test
            self._error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> T:
        self._thread.join(BOUND)
        assert not self._thread.is_alive(), "it did not end in time"
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


def free_socket() -> socket.socket:
    # A listener that names no protocol leaves asyncio without TCP_NODELAY: 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def open_gateway(folder: Path, policy: str, *, token: str | None = SECRET, **build: Any) -> Iterator[Gateway]:
    """A gateway with this config, over `folder`/airlock.db."""
    listener = free_socket()
    ready: threading.Event = threading.Event()
    made: dict[str, Any] = {}

    async def serve() -> None:
        async with open_gate(folder, policy, clock=build.get("clock", now_ms)) as gate:
            app = build_app(gate, keys=gate.store, **build)  # type: ignore[arg-type]
            config = uvicorn.Config(
                app,
                http=Connection,
                log_level="warning",
                lifespan="off",
                timeout_graceful_shutdown=15,
                access_log=False,
            )
            server = Server(config)
            made.update(gate=gate, app=app, server=server, loop=asyncio.get_running_loop())
            task = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started and not task.done():
                await asyncio.sleep(0.005)
            ready.set()
            await task

    def run() -> None:
        try:
            uvloop.run(serve())
        except BaseException as error:  # noqa: BLE001 - told to the test
            made["error"] = error
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(BOUND)
    if "error" in made:
        raise made["error"]
    gateway = Gateway(port=listener.getsockname()[1], thread=thread, token=token, **made)
    try:
        yield gateway
    finally:
        gateway.stop()
        listener.close()
        if "error" in made:
            raise made["error"]
