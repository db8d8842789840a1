"""Where several processes on one database come to their end: `python -m benchmarks.scale`. A simulation.

Calls come to each process at random. A process that has any takes the one lock of the chain in its turn and
commits up to 256 of them, their decisions and as many outcomes, in one transaction; a call waits until its
decision is committed. How long a transaction takes is given: for SQLite as docs/performance.md finds it, for
a database on another machine as it is assumed here. Nothing else that a call costs is counted.
"""

from __future__ import annotations

import argparse
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Final

from rich.table import Table

from airlock.store.group import LARGEST
from benchmarks import stdio

SECONDS: Final = 1.0
LATE_S: Final = 0.05
"""A call that waits longer for its commit is late; of an overload of a twentieth they come within SECONDS."""

PROCESSES: Final = (1, 4, 16, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What a transaction takes: some seconds for itself, and some for each event in it."""

    name: str
    begin_s: float
    event_s: float

    def seconds(self, calls: int) -> float:
        """One transaction that holds so many decisions, and as many outcomes."""
        return self.begin_s + 2 * calls * self.event_s


DATABASES: Final = (
    Database(name="SQLite, one machine (measured)", begin_s=20e-6, event_s=5e-6),
    Database(name="shared, 1 ms away (assumed)", begin_s=1e-3, event_s=10e-6),
    Database(name="shared, 5 ms away (assumed)", begin_s=5e-3, event_s=10e-6),
)


def arrivals(process: int, rate: float, seconds: float) -> Iterator[tuple[float, int]]:
    """When calls come to one process."""
    chance, now = random.Random(process), 0.0
    while (now := now + chance.expovariate(rate)) < seconds:
        yield now, process


def waits(database: Database, processes: int, rate: float, seconds: float = SECONDS) -> list[float]:
    """How long each call waited for its commit, shortest first; `rate` is that of all processes together."""
    coming = deque(merge(*(arrivals(one, rate / processes, seconds) for one in range(processes))))
    here: list[deque[float]] = [deque() for _ in range(processes)]
    turns: deque[int] = deque()
    now, found = 0.0, []
    while coming or turns:
        if not turns:
            now = max(now, coming[0][0])
        while coming and coming[0][0] <= now:
            came, process = coming.popleft()
            if not here[process]:
                turns.append(process)
            here[process].append(came)
        process = turns.popleft()
        taken = [here[process].popleft() for _ in range(min(LARGEST, len(here[process])))]
        now += database.seconds(len(taken))
        found += [now - came for came in taken]
        if here[process]:
            turns.append(process)
    return sorted(found)


def at(found: list[float], share: float) -> float:
    """So many of the waits are at most this long."""
    return found[int(len(found) * share)]


def most(database: Database, processes: int) -> float:
    """The most calls a second of which 99 in 100 wait less than LATE_S, to a tenth."""
    rate = 100.0
    while at(waits(database, processes, rate * 1.1), 0.99) < LATE_S:
        rate *= 1.1
    return rate


def main() -> None:
    """Simulate and print."""
    form = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=form).parse_args()
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("database", no_wrap=True)
    for head in ("processes", "most calls/s", "p50 ms at half", "p99 ms at half"):
        shown.add_column(head, justify="right", no_wrap=True)
    for database in DATABASES:
        for processes in PROCESSES:
            rate = most(database, processes)
            half = [one * 1e3 for one in waits(database, processes, rate / 2)]
            cells = f"{processes}", f"{rate:,.0f}", f"{at(half, 0.5):.2f}", f"{at(half, 0.99):.2f}"
            shown.add_row(database.name, *cells)
    stdio.page().print(shown)


if __name__ == "__main__":
    main()
