"""How long a client waits for its first answer, and what an idle process holds: `python -m benchmarks.start`.

Beside the interpreter alone, asyncio alone and the MCP SDK alone, in turns. The first start of `airlock
stdio` creates the database; it is not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks import programs
from benchmarks.caller import Caller

TURNS: Final = 9

PROGRAMS: Final = {
    "python -c pass": "pass",
    "python -c 'import asyncio'": "import asyncio",
    "python -c 'import mcp'": "import mcp",
}
AIRLOCK: Final = "airlock stdio, first answer"


def alone(code: str) -> Callable[[], tuple[float, float]]:
    """Runs this code; seconds, and nothing to say of memory."""

    def run() -> tuple[float, float]:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL)
        return time.perf_counter() - began, 0.0

    return run


def answering(folder: Path) -> Callable[[], tuple[float, float]]:
    """Starts `airlock stdio`; seconds until it answered `initialize`, and its megabytes after one call."""
    config = programs.write_config(folder, "start", 50)

    def run() -> tuple[float, float]:
        one = Caller(programs.airlock(config), "up__echo", programs.environment(folder))
        try:
            one.latencies(20)
            return one.start, one.pss()
        finally:
            one.close()

    return run


def measure(turns: int = TURNS) -> dict[str, tuple[float, float]]:
    """For each program the best seconds and the least megabytes."""
    with tempfile.TemporaryDirectory() as name:
        ways = {title: alone(code) for title, code in PROGRAMS.items()}
        ways[AIRLOCK] = answering(Path(name))
        for one in ways.values():
            one()
        taken = {title: [one() for _ in range(turns)] for title, one in ways.items()}
    return {title: (min(s for s, _ in found), min(mb for _, mb in found)) for title, found in taken.items()}


def lines(found: Mapping[str, tuple[float, float]]) -> list[str]:
    """The figures as text."""
    base = found["python -c 'import asyncio'"][0]
    return [
        f"{title:30} {seconds:6.3f} s   {seconds / base:5.2f} × asyncio" + (f"   {mb:5.1f} MB" if mb else "")
        for title, (seconds, mb) in found.items()
    ]


def main() -> None:
    """Measure and print."""
    found = measure()
    print("\n".join(lines(found)))
    if "--json" in sys.argv:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
