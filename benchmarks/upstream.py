"""What the upstream half costs: calls through `Supervised` and its peer, against a bare parse-and-pass hop.

    python -m benchmarks.upstream [--calls 20000]

Both talk to the same echo process over pipes. The bare hop reads a line, parses it, changes the id and passes
it on, as any proxy must. Read the ratios: the machine is shared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from airlock.config import ProviderConfig
from airlock.proxy.link import Facing
from airlock.proxy.pipes import LineReader, LineWriter
from airlock.proxy.upstream.factory import make_upstream
from airlock.proxy.upstream.process import Command, Process
from airlock.proxy.wire import decode, encode_line

ECHO = """
import json, sys
hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {}}
out = sys.stdout.buffer
for line in sys.stdin.buffer:
    frame = json.loads(line)
    if "id" in frame:
        result = hello if frame["method"] == "initialize" else {"content": [{"type": "text", "text": "ok"}]}
        out.write(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": result}).encode() + b"\\n")
        out.flush()
"""
ARGS = ("-S", "-c", ECHO)
PARAMS = {"name": "echo", "arguments": {"text": "hello hello hello hello"}, "_meta": {"progressToken": 7}}

Send = Callable[[Callable[[Any], None]], Any]


class Nobody:
    """Listens to nothing."""

    def state_changed(self, upstream: Any) -> None: ...

    def notified(self, upstream: Any, method: str, params: Any) -> None: ...

    def asked(self, upstream: Any, request_id: Any, method: str, params: Any) -> None: ...

    def withdrawn(self, upstream: Any, request_id: Any) -> None: ...


async def drive(send: Send, calls: int, in_flight: int) -> tuple[float, float, float]:
    """Calls a second, median microseconds of a call, CPU microseconds of this process for a call."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    times: list[float] = []
    left = [calls, calls]

    def one() -> None:
        left[0] -= 1
        start = time.perf_counter()

        def replied(_: Any) -> None:
            times.append(time.perf_counter() - start)
            left[1] -= 1
            if left[0] > 0:
                one()
            elif left[1] == 0:
                done.set_result(None)

        send(replied)

    began, used = time.perf_counter(), cpu()
    for _ in range(in_flight):
        one()
    await done
    elapsed = time.perf_counter() - began
    return calls / elapsed, statistics.median(times) * 1e6, (cpu() - used) / calls * 1e6


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Bare:
    """The least that a hop can do."""

    def __init__(self) -> None:
        self.waiting: dict[int, Callable[[Any], None]] = {}
        self.last = 0
        self.process = Process(Command(command=sys.executable, args=ARGS), name="bare", on_exit=lambda: None)
        self.writer = LineWriter(self.process.stdin, lambda _: None)
        self.reader = LineReader(self.process.stdout, self.read, lambda: None)

    def read(self, lines: list[bytes]) -> None:
        for line in lines:
            frame = decode(line)
            self.waiting.pop(frame["id"])(frame)

    def send(self, replied: Callable[[Any], None]) -> None:
        self.last += 1
        self.waiting[self.last] = replied
        frame = {"jsonrpc": "2.0", "id": self.last, "method": "tools/call", "params": PARAMS}
        self.writer.write(encode_line(frame))

    async def close(self) -> None:
        self.writer.close()
        self.reader.close()
        await self.process.stop()


async def main(calls: int) -> None:
    provider = ProviderConfig(name="echo", type="stdio", command=sys.executable, args=ARGS)
    upstream = make_upstream(provider, Nobody())
    upstream.start(Facing())
    assert await upstream.ready(30), upstream.state
    bare = Bare()

    def ours(replied: Callable[[Any], None]) -> None:
        upstream.request("tools/call", PARAMS, replied, lambda _: None)

    ways: dict[str, Send] = {"bare hop": bare.send, "upstream": ours}
    table = []
    for in_flight in (1, 16, 64):
        best: dict[str, tuple[float, float, float]] = {}
        for _ in range(3):
            for name, send in ways.items():
                found = await drive(send, calls, in_flight)
                best[name] = max(best.get(name, found), found)
        for name, (rate, median, used) in best.items():
            ratio, extra = rate / best["bare hop"][0], used - best["bare hop"][2]
            row = {"way": name, "in_flight": in_flight, "rate": rate, "median": median, "cpu": used}
            table.append({**row, "ratio": ratio})
            print(f"{name:9} {in_flight:3} in flight: {rate:8,.0f}/s ({ratio:.2f} of bare),", end=" ")
            print(f"median {median:6.0f} µs, CPU {used:5.1f} µs a call ({extra:+.1f})")
    print(json.dumps(table), file=sys.stderr)
    await upstream.close()
    await bare.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=20_000)
    asyncio.run(main(parser.parse_args().calls))
