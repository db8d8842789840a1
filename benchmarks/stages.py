"""Where the microseconds of a call go: `python -m benchmarks.stages [--write]`.

One client session with the real gate, policy (50 rules) and store, and a server that answers in the same
process: no pipes, no other programs. 64 calls come together; the best of many rounds counts. `--write` puts
the picture into docs/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from airlock.audit import text_of
from airlock.gate import Gate
from airlock.loader import file as loader
from airlock.policy import Policy
from airlock.proxy.front.stdio import seat_of
from airlock.proxy.router import Router
from airlock.proxy.session.calls import Calls
from airlock.proxy.session.session import Session
from airlock.proxy.upstream.stdio import StdioTransport
from airlock.proxy.upstream.supervise import Supervised
from airlock.proxy.wire import decode, encode_line
from airlock.queue.drafts import Scribe
from airlock.runtime import opened
from airlock.store.place import Place
from benchmarks import programs
from benchmarks.chart import Bars, draw

TOGETHER: Final = 64
ROUNDS: Final = 200
PICTURE: Final = Path(__file__).parents[1] / "docs" / "performance-stages.svg"


class Near(StdioTransport):
    """Reads and writes lines as ever; the server is this process."""

    async def open(self, sink: Any) -> None:
        """Nothing to start."""
        self._sink = sink
        self.sent: list[bytes] = []

    def send(self, frame: dict[str, Any]) -> None:
        """Keep the line; what is no call is answered at once."""
        self.sent.append(encode_line(frame))
        if frame["method"] != "tools/call":
            asyncio.get_running_loop().call_soon(self.answer)

    def answer(self) -> None:
        """Answer everything that was sent."""
        sent, self.sent = self.sent, []
        lines = [_answer(json.loads(line)) for line in sent]
        self._read([line for line in lines if line])

    async def close(self) -> None:
        """Nothing to end."""


def _answer(frame: dict[str, Any]) -> bytes:
    results: dict[str, Any] = {
        "tools/call": {"content": [{"type": "text", "text": "twenty bytes of text"}]},
        "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {}},
        "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
    }
    if "id" not in frame:
        return b""
    return json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": results[frame["method"]]}).encode()


class Watch:
    """Sums the time inside some functions, less what other watched ones take inside them."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    def over(self, owner: Any, name: str, stage: str) -> None:
        """Watch a method."""
        setattr(owner, name, self.around(getattr(owner, name), stage))

    def around(self, work: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """The same function, watched."""

        def watched(*args: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            began = time.perf_counter()
            try:
                return work(*args, **named)
            finally:
                took = time.perf_counter() - began
                self.spent[stage] += took - self._inner.pop()
                if self._inner:
                    self._inner[-1] += took

        return watched


async def rounds(folder: Path, watch: Watch) -> tuple[dict[str, float], float]:
    """The best microseconds of each stage, and of a whole call without watching."""
    config = loader.load(programs.write_config(folder, "stages", 50))
    lines: list[Near] = []
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    def make(provider: Any, events: Any) -> Supervised:
        def dial() -> Near:
            lines.append(Near(provider))
            return lines[-1]

        return Supervised(provider, events, dial)

    async with opened(config, road="stdio") as runtime:
        session = Session(
            send=lambda frame: answers.put_nowait(encode_line(frame)),
            gate=runtime.gate,
            router=Router(config, make),
            seat=seat_of(config, "bench"),
        )
        info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench"}}
        for method, params in (("initialize", info), ("tools/list", {})):
            session.receive({"jsonrpc": "2.0", "id": method, "method": method, "params": params})
            while b'"method":' in await answers.get():
                pass
        whole = min([await one_round(session, lines[0], number) for number in range(ROUNDS)])
        found: list[tuple[float, dict[str, float]]] = []
        place(watch)
        for number in range(ROUNDS):
            watch.spent.clear()
            taken = await one_round(session, lines[0], ROUNDS + number)
            found.append((taken, {stage: one / TOGETHER * 1e6 for stage, one in watch.spent.items()}))
        await session.close()
        return min(found, key=lambda one: one[0])[1], whole


def place(watch: Watch) -> None:
    """Watch the stages."""
    watch.over(Policy, "evaluate_plain", "judge: 50 rules")
    watch.over(Scribe, "decided", "draft the decision")
    watch.over(Scribe, "completed", "draft the outcome")
    watch.over(Place, "commit", "commit both events")
    watch.over(Gate, "submit_all_now", "gate")
    watch.over(Calls, "settle", "forward")
    watch.over(Calls, "replied", "answer")


async def one_round(session: Session, line: Near, number: int) -> float:
    """64 calls there and back; microseconds a call."""
    calls = [_call(number * TOGETHER + n) for n in range(TOGETHER)]
    await asyncio.sleep(0)
    began = time.perf_counter()
    session.receive_all(map(decode, calls))
    there = time.perf_counter() - began
    sent, line.sent = line.sent, []
    assert len(sent) == TOGETHER, "the fast path was not free"
    replies = [_answer(json.loads(one)) for one in sent]
    began = time.perf_counter()
    line._read(replies)  # noqa: SLF001 - what the pipe's reader calls
    session._calls.docket.record()  # noqa: SLF001 - what the timer calls
    took = there + time.perf_counter() - began
    return took / TOGETHER * 1e6


def _call(number: int) -> bytes:
    params = text_of({"name": "up__echo", "arguments": {"text": "twenty bytes of text", "n": number}})
    return f'{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{params}}}'.encode()


def main() -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"write docs/{PICTURE.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["AIRLOCK_STATE_DIR"] = f"{name}/state"
        stages, whole = asyncio.run(rounds(Path(name), Watch()))
    stages["read, look up, the rest"] = max(0.0, whole - sum(stages.values()))
    for stage, spent in sorted(stages.items(), key=lambda one: -one[1]):
        print(f"{stage:26} {spent:6.1f} µs")
    print(f"{'a call':26} {whole:6.1f} µs")
    if options.write:
        ordered = dict(sorted(stages.items(), key=lambda one: -one[1]))
        title = f"microseconds of one call of {TOGETHER} that come together: {whole:.0f} in all"
        PICTURE.write_text(draw([Bars(title=title, values=ordered, form="{:.1f}")], "commit"))


if __name__ == "__main__":
    main()
