"""What `airlock stdio` costs a call: `python benchmarks/stdio.py [--json FILE]`.

One client, one echo server, and between them nothing (direct), a bare Python hop that parses each line
and passes it on, or Airlock with 50 rules with argument conditions and every decision committed to the
audit log. All three are measured in turns, so that a busy machine slows them alike: read the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

ONE_BY_ONE: Final = 1_500
MANY: Final = 12_000
FLIGHTS: Final = (16, 64)
TURNS: Final = 3
RULES: Final = 50

ECHO: Final = """
import json, sys
read, write = sys.stdin.buffer, sys.stdout.buffer
TOOL = {"name": "echo", "inputSchema": {"type": "object"}}
while True:
    data = read.read1(65536)
    if not data:
        break
    while not data.endswith(b"\\n"):
        data += read.read1(65536)
    out = []
    for line in data.split(b"\\n"):
        if not line:
            continue
        frame = json.loads(line)
        method = frame.get("method")
        if method == "tools/call":
            text = frame["params"]["arguments"]["text"]
            result = {"content": [{"type": "text", "text": text}]}
        elif method == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                      "serverInfo": {"name": "echo", "version": "1"}}
        elif method == "tools/list":
            result = {"tools": [TOOL]}
        else:
            continue
        out.append(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}).encode() + b"\\n")
    write.write(b"".join(out))
    write.flush()
"""

HOP: Final = """
import asyncio, json, sys

async def pump(reader, writer):
    while line := await reader.readline():
        writer.write(json.dumps(json.loads(line)).encode() + b"\\n")
    writer.close()

async def main():
    loop = asyncio.get_running_loop()
    child = await asyncio.create_subprocess_exec(
        *sys.argv[1:], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    back = asyncio.create_task(pump(child.stdout, writer))
    await pump(reader, child.stdin)
    await child.wait()
    await back

asyncio.run(main())
"""


class Client:
    """Speaks raw frames over blocking pipes, with as many calls in flight as asked."""

    def __init__(self, words: list[str], tool: str, env: dict[str, str]) -> None:
        started = time.perf_counter()
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        self._rest = b""
        self._tool = tool
        self._id = 0
        info = {"name": "bench", "version": "1"}
        self._write(
            "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}, "i"
        )
        self._lines(1)
        self.start = time.perf_counter() - started
        self._send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        self._write("tools/list", {}, "l")
        self._lines(1)

    def _write(self, method: str, params: dict[str, Any], frame_id: Any) -> None:
        frame = {"jsonrpc": "2.0", "id": frame_id, "method": method, "params": params}
        self._send(json.dumps(frame).encode() + b"\n")

    def _send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._in, data) :]

    def _call(self) -> bytes:
        self._id += 1
        return (
            b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%s",'
            b'"arguments":{"text":"twenty bytes of text","n":%d}}}\n'
            % (self._id, self._tool.encode(), self._id)
        )

    def _lines(self, least: int) -> list[bytes]:
        lines: list[bytes] = []
        while len(lines) < least:
            data = os.read(self._out, 262_144)
            assert data, "the other end is gone"
            *more, self._rest = (self._rest + data).split(b"\n")
            lines += [line for line in more if b'"method"' not in line]
        return lines

    def latencies(self, count: int) -> list[float]:
        """Seconds for each of so many calls, one after the other."""
        taken = []
        for _ in range(count):
            call = self._call()
            before = time.perf_counter()
            self._send(call)
            lines = self._lines(1)
            taken.append(time.perf_counter() - before)
            assert b"twenty bytes" in lines[0], lines[0]
        return taken

    def rate(self, count: int, flight: int) -> float:
        """Calls a second with so many in flight."""
        before = time.perf_counter()
        self._send(b"".join(self._call() for _ in range(flight)))
        sent, seen = flight, 0
        while seen < count:
            lines = self._lines(1)
            assert all(b"twenty bytes" in line for line in lines)
            seen += len(lines)
            more = min(len(lines), count - sent)
            if more > 0:
                self._send(b"".join(self._call() for _ in range(more)))
                sent += more
        return count / (time.perf_counter() - before)

    def usage(self) -> tuple[float, float]:
        """CPU seconds so far and resident megabytes; zeros where the system does not say."""
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            ticks = int(fields[11]) + int(fields[12])
            return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return 0.0, 0.0

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def config(folder: Path) -> Path:
    """An Airlock config with rules that every call must be held against."""
    rules = [
        {
            "id": f"rule-{number}",
            "tool": "up/echo",
            "effect": "deny",
            "args": [
                {"text": {"regex": f"^forbidden word {number}$"}},
                {"n": {"lt": -number - 1}},
                {"text": {"in": [f"a{number}", f"b{number}"]}},
                {"path": {"under": f"/etc/{number}"}},
                {"text": {"glob": f"*secret{number}*"}},
            ][number % 5],
        }
        for number in range(RULES)
    ]
    text = {
        "database": f"sqlite:///{folder}/airlock.db",
        "providers": {
            "up": {"type": "stdio", "command": sys.executable, "args": ["-I", "-S", "-c", ECHO]},
        },
        "agents": {"bench": {"allow": ["up/*"]}},
        "rules": rules,
    }
    path = folder / "airlock.yaml"
    path.write_text(json.dumps(text))
    return path


@contextlib.contextmanager
def clients(folder: Path) -> Iterator[dict[str, Client]]:
    """The three ways to the echo server, all started."""
    echo = [sys.executable, "-I", "-S", "-c", ECHO]
    airlock = [sys.executable, "-m", "airlock", "stdio", "--agent", "bench", "--config", str(config(folder))]
    env = {**os.environ, "AIRLOCK_STATE_DIR": str(folder / "state")}
    ways = {
        "direct": Client(echo, "echo", env),
        "bare hop": Client([sys.executable, "-c", HOP, *echo], "echo", env),
        "airlock": Client(airlock, "up__echo", env),
    }
    try:
        yield ways
    finally:
        for one in ways.values():
            one.close()


def measure(ways: dict[str, Client], turns: int) -> dict[str, dict[str, float]]:
    """The figures of each way: medians over the turns, the best rate."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    rates: dict[tuple[str, int], list[float]] = {}
    used: dict[str, float] = dict.fromkeys(ways, 0.0)
    for one in ways.values():
        one.latencies(200)
    for _ in range(turns):
        for name, one in ways.items():
            taken[name] += one.latencies(ONE_BY_ONE)
        for flight in FLIGHTS:
            for name, one in ways.items():
                before = one.usage()[0]
                rates.setdefault((name, flight), []).append(one.rate(MANY, flight))
                used[name] += one.usage()[0] - before
    figures: dict[str, dict[str, float]] = {}
    for name, one in ways.items():
        ordered = sorted(taken[name])
        figures[name] = {
            "p50_ms": statistics.median(ordered) * 1e3,
            "p99_ms": ordered[int(len(ordered) * 0.99)] * 1e3,
            "start_s": one.start,
            "cpu_us": used[name] / (turns * MANY * len(FLIGHTS)) * 1e6,
            "rss_mb": one.usage()[1],
            **{f"rate_{flight}": max(rates[name, flight]) for flight in FLIGHTS},
        }
    for found in figures.values():
        found["added_p50_ms"] = found["p50_ms"] - figures["direct"]["p50_ms"]
        for flight in FLIGHTS:
            found[f"of_hop_{flight}"] = found[f"rate_{flight}"] / figures["bare hop"][f"rate_{flight}"]
    return figures


def show(figures: dict[str, dict[str, float]]) -> None:
    """A table on the terminal."""
    table = Table(title=f"a call over stdio; {RULES} rules with conditions, audit committed")
    columns = (
        "p50 ms",
        "added ms",
        "p99 ms",
        "start s",
        "CPU µs",
        "RSS MB",
        "16 /s",
        "of hop",
        "64 /s",
        "of hop",
    )
    table.add_column("way")
    for name in columns:
        table.add_column(name, justify="right")
    for name, found in figures.items():
        table.add_row(
            name,
            f"{found['p50_ms']:.3f}",
            f"{found['added_p50_ms']:.3f}",
            f"{found['p99_ms']:.3f}",
            f"{found['start_s']:.2f}",
            f"{found['cpu_us']:.0f}",
            f"{found['rss_mb']:.0f}",
            *(
                cell
                for flight in FLIGHTS
                for cell in (f"{found[f'rate_{flight}']:,.0f}", f"{found[f'of_hop_{flight}']:.2f}")
            ),
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, clients(Path(name)) as ways:
        figures = measure(ways, options.turns)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
