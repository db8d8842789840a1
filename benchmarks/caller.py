"""A client for measuring: raw frames over pipes, as many calls in flight as asked, and what a server uses."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any, Final

PATIENCE_S: Final = 30.0
TWENTY: Final = "twenty bytes of text"


class Silent(Exception):
    """The server ended, or answered nothing for PATIENCE_S."""


class Caller:
    """One server process and its only client. `start` is the time from its start to its first answer."""

    def __init__(self, words: list[str], tool: str, env: dict[str, str]) -> None:
        began = time.perf_counter()
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._in, False)
        self._unsent = b""
        self._rest = b""
        self._id = 0
        self._tool = tool
        self.load(len(TWENTY))
        info = {"name": "bench", "version": "1"}
        greeting = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
        self.ask("initialize", greeting)
        self.start = time.perf_counter() - began
        self._send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        self.ask("tools/list", {})

    def ask(self, method: str, params: dict[str, Any]) -> bytes:
        """A request other than a call, and its answer."""
        frame = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
        self._send(json.dumps(frame).encode() + b"\n")
        return self._answers()[0]

    def load(self, size: int) -> None:
        """From now on calls carry a text of so many bytes."""
        text = (TWENTY * (size // len(TWENTY) + 1))[:size]
        frame = self._frame(0, self._tool, text=text, n=0)
        _, self._middle, self._end = frame.replace(b'"n":0', b'"id":0').split(b'"id":0')

    def park(self, tool: str, count: int) -> None:
        """Make so many calls that nobody will answer."""
        for number in range(count):
            self._send(self._frame(f"p{number}", tool, n=number))
        self.latencies(1)

    def latencies(self, count: int) -> list[float]:
        """Seconds for each of so many calls, one after the other."""
        taken = []
        for _ in range(count):
            call = self._call()
            before = time.perf_counter()
            self._send(call)
            lines = self._answers()
            taken.append(time.perf_counter() - before)
            self._check(lines)
        return taken

    def rate(self, count: int, flight: int) -> float:
        """Calls a second with so many in flight."""
        before = time.perf_counter()
        self._send(b"".join(self._call() for _ in range(flight)))
        sent, seen = flight, 0
        while seen < count:
            lines = self._answers()
            self._check(lines)
            seen += len(lines)
            more = min(len(lines), count - sent)
            if more > 0:
                self._send(b"".join(self._call() for _ in range(more)))
                sent += more
        return count / (time.perf_counter() - before)

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
        """End it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _frame(self, frame_id: object, tool: str, **arguments: object) -> bytes:
        params = {"name": tool, "arguments": arguments}
        frame = {"jsonrpc": "2.0", "id": frame_id, "method": "tools/call", "params": params}
        return json.dumps(frame, separators=(",", ":")).encode() + b"\n"

    def _call(self) -> bytes:
        self._id += 1
        # Put together by hand: the client's own time is measured too.
        return b'{"jsonrpc":"2.0","id":%d%b"n":%d%b' % (self._id, self._middle, self._id, self._end)

    def _check(self, lines: list[bytes]) -> None:
        for line in lines:
            assert b"twenty bytes" in line, line[:300]

    def _send(self, data: bytes) -> None:
        self._unsent += data
        self._flush()

    def _flush(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._in, self._unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            raise Silent("the server is gone") from None

    def _answers(self) -> list[bytes]:
        """The next answers, at least one; what the server says besides is passed over."""
        while True:
            if self._unsent:
                self._exchange()
            elif not select.select([self._out], [], [], PATIENCE_S)[0]:
                raise Silent(f"no answer for {PATIENCE_S:g} s")
            data = os.read(self._out, 1 << 20)
            if not data:
                raise Silent("the server is gone")
            *lines, self._rest = (self._rest + data).split(b"\n")
            answers = [line for line in lines if b'"method":' not in line]
            if answers:
                return answers

    def _exchange(self) -> None:
        """Write until there is something to read: neither end waits for the other for ever."""
        while True:
            readable, writable, _ = select.select([self._out], [self._in], [], PATIENCE_S)
            if writable and self._unsent:
                self._flush()
            if readable:
                return
            if not writable:
                raise Silent(f"no answer for {PATIENCE_S:g} s")
            if not self._unsent:
                select.select([self._out], [], [], PATIENCE_S)
                return
