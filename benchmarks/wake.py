"""How fast a parked call goes on after a decision in another process, and what waiting costs.

python -m benchmarks.wake [--rounds 100] [--parked 200]

Prints the time from the commit in the deciding process to the Proceed in the waiting one (both read the
machine's monotonic clock), and the CPU share of a process while calls are parked and nothing happens.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from airlock.gate import Gate
from airlock.model import Resolution, Wait
from airlock.queue.lobby import POLL_MS
from support.gates import POLICY, call, open_gate

QUIET_SECONDS = 5.0
LIMITS = "approvals: {max_pending: 1000, timeout: 1h}\n"


async def park(gate: Gate, number: int) -> tuple[asyncio.Task[float], str]:
    """One parked call; its task ends with the moment it went on."""
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def run() -> float:
        def noted(waiting: Wait) -> None:
            seen.put_nowait(waiting.request.code)

        await gate.authorize(call("demo/write_note", n=number), on_wait=noted)
        return time.monotonic()

    task = asyncio.create_task(run())
    return task, await seen.get()


async def measure(folder: Path, rounds: int, parked: int) -> None:
    async with AsyncExitStack() as stack:
        gate = await stack.enter_async_context(open_gate(folder, LIMITS + POLICY))
        decider = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.wake", "--decide", str(folder),
            cwd=Path(__file__).parents[1],
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert decider.stdin is not None
        assert decider.stdout is not None
        waits: list[float] = []
        for number in range(rounds):
            task, code = await park(gate, number)
            decider.stdin.write(f"{code}\n".encode())
            committed = float(await decider.stdout.readline())
            waits.append((await task - committed) * 1000)
        decider.stdin.close()
        await decider.wait()
        waits.sort()
        p50, p95 = statistics.median(waits), waits[int(len(waits) * 0.95)]
        print(f"woken after p50 {p50:.1f} ms, p95 {p95:.1f} ms, max {waits[-1]:.1f} ms ({rounds} decisions)")
        for count in (1, parked):
            tasks = [await park(gate, 10_000 + n) for n in range(count)]
            before = time.process_time()
            await asyncio.sleep(QUIET_SECONDS)
            share = (time.process_time() - before) / QUIET_SECONDS * 100
            print(f"{count} parked and quiet: {share:.2f} % of a core")
            for task, _ in tasks:
                task.cancel()
            await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)
        share = await waking_alone()
        print(f"a loop that wakes as often and does nothing: {share:.2f} % of a core")


async def waking_alone() -> float:
    """What waking itself costs here, in % of a core: much of it is the machine's."""
    before, wakes = time.process_time(), int(QUIET_SECONDS * 1000 / POLL_MS)
    for _ in range(wakes):
        await asyncio.sleep(POLL_MS / 1000)
    return (time.process_time() - before) / QUIET_SECONDS * 100


async def decide(folder: Path) -> None:
    """Approve each code read from stdin; print when its transaction was committed."""
    async with open_gate(folder, LIMITS + POLICY) as gate:
        while line := await asyncio.to_thread(sys.stdin.readline):
            await gate.resolve(line.strip(), Resolution(approve=True, identity="local:alice"))
            print(time.monotonic(), flush=True)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=100)
    options.add_argument("--parked", type=int, default=200)
    options.add_argument("--decide", metavar="FOLDER", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.decide:
        asyncio.run(decide(Path(chosen.decide)))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), chosen.rounds, chosen.parked))


if __name__ == "__main__":
    main()
