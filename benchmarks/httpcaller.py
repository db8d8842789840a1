"""A client for measuring over HTTP: keep-alive connections by hand, one request in flight on each."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.caller import PATIENCE_S, TWENTY, Silent

START_S: Final = 90.0
"""How long a server may take until it answers its first request."""

LEGACY: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
BOTH: Final = "application/json, text/event-stream"
PREFIX: Final = "io.modelcontextprotocol/"
INFO: Final = {"name": "bench", "version": "1"}


class Connection:
    """One connection and the answer that is arriving on it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self._need = 0
        self._body = 0

    def send(self, data: bytes) -> None:
        """One request; the answer before it has come."""
        self._data, self._need = b"", 0
        self.socket.sendall(data)

    def read(self) -> bytes | None:
        """What is there now; the whole answer once it is complete."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise Silent(f"the server hung up: {self._data[:300]!r}")
        self._data = self._data + piece if self._data else piece
        if not self._need and not self._measure():
            return None
        if self._need > 0:
            return self._data if len(self._data) >= self._need else None
        return self._data if self._data.endswith(b"0\r\n\r\n") else None

    def whole(self) -> bytes:
        """Wait for the answer."""
        while True:
            found = self.read()
            if found is not None:
                return found

    def _measure(self) -> bool:
        """How long the answer will be: so many bytes, or -1 for chunks; False while that is not known."""
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._data[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            self._need = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
        elif b"\r\ntransfer-encoding: chunked" in head:
            self._need = -1
        else:
            self._need = end + 4
        return True

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


class HttpCaller:
    """One server behind a port and its only client; `process` is the one in the middle, for its CPU."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        port: int,
        *,
        path: str = "/mcp",
        era: str = LEGACY,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        began: float = 0.0,
        ready: Callable[[], None] | None = None,
    ) -> None:
        self.process = process
        self.era = era
        self._port = port
        self._path = path
        self._more = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        self._id = 0
        self._sessions: list[bytes] = [b""]
        self._turn = 0
        self._parked: list[Connection] = []
        self._tools: list[str] = []
        self._size = len(TWENTY)
        began = began or time.perf_counter()
        self._wait()
        if ready is not None:
            ready()
        self.greet()
        self.start = time.perf_counter() - began
        self._tool = self._named("echo")
        self.load(self._size)

    # -- greeting ------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Until somebody listens there."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Silent(f"the program ended with {self.process.returncode}")
            with contextlib.suppress(OSError):
                Connection(self._port).close()
                return
            time.sleep(0.02)
        raise Silent("nobody listens on its port")

    def greet(self) -> None:
        """Open a session, in the legacy era, and learn the tools."""
        if self.era == LEGACY:
            answer = self._ask(
                "initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": INFO}
            )
            self._sessions[0] = _header(answer, b"mcp-session-id")
            self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, self._sessions[0])
        found = _message(self._ask("tools/list", {}))
        self._tools = [tool["name"] for tool in found["result"]["tools"]]

    def _named(self, ending: str) -> str:
        return next(name for name in self._tools if name.endswith(ending))

    def more_sessions(self, count: int) -> None:
        """Open so many sessions in all; calls go through them in turn."""
        while len(self._sessions) < count:
            self._sessions.insert(0, b"")
            self.greet()

    # -- calls ---------------------------------------------------------------------------------------

    def load(self, size: int) -> None:
        """From now on calls carry a text of so many bytes."""
        self._size = size
        text = (TWENTY * (size // len(TWENTY) + 1))[:size]
        body = self._frame(0, "tools/call", {"name": self._tool, "arguments": {"text": text, "n": 0}})
        self._first, self._rest = body.split(b'"id":0', 1)
        self._first += b'"id":'
        self._heads = [
            self._head("tools/call", self._tool, one).partition(b"Content-Length: ")[0] + b"Content-Length: "
            for one in self._sessions
        ]

    def _call(self) -> bytes:
        self._id += 1
        # Put together by hand: the client's own time is measured too.
        number = b"%d" % self._id
        self._turn = (self._turn + 1) % len(self._heads)
        length = len(self._first) + len(number) + len(self._rest)
        return b"%b%d\r\n\r\n%b%b%b" % (self._heads[self._turn], length, self._first, number, self._rest)

    def latencies(self, count: int) -> list[float]:
        """Seconds for each of so many calls, one after the other."""
        taken = []
        with self._connected(1) as (connection,):
            for _ in range(count):
                call = self._call()
                before = time.perf_counter()
                connection.send(call)
                answer = connection.whole()
                taken.append(time.perf_counter() - before)
                self._check(answer)
        return taken

    def rate(self, count: int, flight: int) -> float:
        """Calls a second with so many in flight, each on a connection of its own."""
        with self._connected(flight) as connections, contextlib.closing(select.epoll()) as poll:
            for one in connections:
                poll.register(one.socket.fileno(), select.EPOLLIN)
            return count / self._fly({one.socket.fileno(): one for one in connections}, poll, count)

    def _fly(self, flying: dict[int, Connection], poll: select.epoll, count: int) -> float:
        """Seconds for so many calls, one in flight on each connection."""
        before = time.perf_counter()
        for one in flying.values():
            one.send(self._call())
        sent, seen = len(flying), 0
        while seen < count:
            ready = poll.poll(PATIENCE_S)
            if not ready:
                raise Silent(f"no answer for {PATIENCE_S:g} s")
            for number, _ in ready:
                answer = flying[number].read()
                if answer is None:
                    continue
                self._check(answer)
                seen += 1
                if sent < count:
                    flying[number].send(self._call())
                    sent += 1
        return time.perf_counter() - before

    def park(self, count: int) -> None:
        """Make so many calls that nobody will answer."""
        for number in range(count):
            params = {"name": self._named("ask"), "arguments": {"n": number}}
            one = Connection(self._port)
            one.send(self._whole(self._frame(f"p{number}", "tools/call", params), self._sessions[0]))
            self._parked.append(one)
        time.sleep(count / 200)  # they are on their way into the queue
        self.latencies(1)

    # -- what it uses --------------------------------------------------------------------------------

    def cpu(self) -> float:
        """CPU seconds of the process itself so far; 0 where the system does not say."""
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def pss(self) -> float:
        """Megabytes of the process itself, shared pages in proportion; 0 where the system does not say."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def close(self) -> None:
        """Hang up and end it."""
        for one in self._parked:
            one.close()
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    # -- frames --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _connected(self, count: int) -> Iterator[list[Connection]]:
        """Fresh connections for one turn: servers close those that idle while others are measured."""
        found = [Connection(self._port) for _ in range(count)]
        try:
            yield found
        finally:
            for one in found:
                one.close()

    def _ask(self, method: str, params: dict[str, Any]) -> bytes:
        return self._post(json.loads(self._frame(method, method, params)), self._sessions[0])

    def _post(self, frame: dict[str, Any], session: bytes) -> bytes:
        with self._connected(1) as (one,):
            one.send(self._whole(json.dumps(frame, separators=(",", ":")).encode(), session))
            answer = one.whole()
        if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
            raise Silent(f"it refused `{frame['method']}`: {answer[:500]!r}")
        return answer

    def _frame(self, frame_id: object, method: str, params: dict[str, Any]) -> bytes:
        if self.era == MODERN:
            names = {"protocolVersion": MODERN, "clientCapabilities": {}, "clientInfo": INFO}
            params = {**params, "_meta": {PREFIX + name: value for name, value in names.items()}}
        frame = {"jsonrpc": "2.0", "id": frame_id, "method": method, "params": params}
        return json.dumps(frame, separators=(",", ":")).encode()

    def _whole(self, body: bytes, session: bytes) -> bytes:
        frame = json.loads(body)
        name = (frame.get("params") or {}).get("name", "")
        head = self._head(frame["method"], name, session)
        return head.replace(b"Content-Length: 0", b"Content-Length: %d" % len(body)) + body

    def _head(self, method: str, name: str, session: bytes) -> bytes:
        lines = [
            f"POST {self._path} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Content-Type: application/json",
            f"Accept: {BOTH}",
        ]
        lines += [f"{name}: {value}" for name, value in self._more.items()]
        if method != "initialize":
            lines.append(f"MCP-Protocol-Version: {self.era}")
        if self.era == MODERN:
            lines += [f"Mcp-Method: {method}", *([f"Mcp-Name: {name}"] if name else [])]
        if session:
            lines.append(f"Mcp-Session-Id: {session.decode()}")
        return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()

    def _check(self, answer: bytes) -> None:
        if b"twenty bytes" not in answer or not answer.startswith(b"HTTP/1.1 200"):
            raise Silent(f"a call failed: {answer[:500]!r}")


def _header(answer: bytes, name: bytes) -> bytes:
    for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def _message(answer: bytes) -> Any:
    """The last message of an answer, be it JSON or a stream of events in chunks."""
    body = answer.partition(b"\r\n\r\n")[2]
    start = body.rfind(b'{"jsonrpc"') if body.rfind(b'{"jsonrpc"') >= 0 else body.find(b"{")
    return json.JSONDecoder().raw_decode(body[start:].decode())[0]
