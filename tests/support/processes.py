"""A real `airlock stdio` process, and a client that speaks raw frames to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

SECONDS = 60
Json = dict[str, Any]


class Process:
    """The client's side of the pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.frames: list[Json] = []
        self.raw: list[bytes] = []
        self.meta: Json | None = None
        self._arrived = asyncio.Event()
        self._count = 0
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.raw.append(line)
            self.frames.append(json.loads(line))
            self._arrived.set()
        self._arrived.set()

    def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def send(self, method: str, params: Json | None = None, frame_id: Any = None) -> Any:
        """Send a request and return its id."""
        if frame_id is None:
            self._count += 1
            frame_id = self._count
        frame: Json = {"jsonrpc": "2.0", "id": frame_id, "method": method}
        self.write(json.dumps(frame if params is None else {**frame, "params": params}).encode() + b"\n")
        return frame_id

    def tell(self, method: str, params: Json | None = None) -> None:
        """Send a notification."""
        frame: Json = {"jsonrpc": "2.0", "method": method}
        self.write(json.dumps(frame if params is None else {**frame, "params": params}).encode() + b"\n")

    async def until(self, found: Callable[[], Any]) -> Any:
        """Wait until the frames hold something; what `found` returns."""
        async with asyncio.timeout(SECONDS):
            while not (value := found()):
                assert not self._reading.done(), f"stdout ended; {self.frames[-3:]}"
                self._arrived.clear()
                await self._arrived.wait()
        return value

    async def answer(self, frame_id: Any) -> Json:
        """The response to one request."""
        return await self.until(
            lambda: next((one for one in self.frames if "method" not in one and one["id"] == frame_id), None)
        )

    async def ask(self, method: str, params: Json | None = None) -> Json:
        """A request and its result."""
        found = await self.answer(self.send(method, params))
        assert "result" in found, found
        return found["result"]

    async def call(self, tool: str, arguments: Json | None = None) -> Json:
        """tools/call, and its result."""
        return await self.ask("tools/call", {"name": tool, "arguments": arguments or {}})

    async def initialize(self, name: str = "tester", **capabilities: Any) -> Json:
        """The legacy handshake."""
        info = {"name": name, "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info}
        result = await self.ask("initialize", params)
        self.tell("notifications/initialized")
        return result

    async def hears(self, method: str) -> Json:
        """Wait for a notification or request; its whole frame."""
        return await self.until(
            lambda: next((one for one in self.frames if one.get("method") == method), None)
        )

    async def hang_up(self) -> int:
        """Close stdin and wait for the end; the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end; the exit code."""
        async with asyncio.timeout(SECONDS):
            await self._reading
            return await self.process.wait()


@contextlib.asynccontextmanager
async def stdio(
    config: Path, agent: str = "tester", *, cwd: Path | None = None, switches: tuple[str, ...] = ()
) -> AsyncIterator[Process]:
    """A running `airlock stdio`; killed on the way out if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *command(config, agent, *switches),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=cwd,
        limit=64 * 1024 * 1024,
    )
    client = Process(process)
    try:
        yield client
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if process.stdin is not None:
            process.stdin.close()
        async with asyncio.timeout(SECONDS):
            await process.communicate() if client._reading.done() else await asyncio.gather(
                client._reading,
                process.wait(),
            )


def command(config: Path, agent: str = "tester", *switches: str) -> list[str]:
    """The command that a client's config would hold."""
    return [sys.executable, "-m", "airlock", "stdio", "--agent", agent, "--config", str(config), *switches]


def alive(pid: int) -> bool:
    """True while a process of that id runs; a zombie does not count."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # there is no /proc here, or it ended just now
        return not Path("/proc/self").exists()
    return stat.rpartition(")")[2].split()[0] != "Z"
