"""What `airlock stdio` costs a call: `python -m benchmarks.stdio [--json FILE] [--turns N] [--peers NAME …]`.

One client, one echo server, and between them nothing (direct), a hop that only parses and passes on, or
Airlock with rules with argument conditions and every decision committed to the audit log before the call
is forwarded. All are measured in turns, and of each way the best turn counts: what it costs when the
machine does nothing else meanwhile. Read the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import programs
from benchmarks.caller import Caller
from benchmarks.peers import PEERS, install

RULES: Final = 50
TURNS: Final = 5
WIDTH: Final = 100
DIRECT: Final = "direct"
FLOOR: Final = "hop, streams"
LEAST: Final = "hop, least"
COMMITS: Final = "hop, commits"
AIRLOCK: Final = f"airlock, {RULES} rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is asked in one turn."""

    one_by_one: int = 600
    many: int = 6_000
    flights: tuple[int, ...] = (16, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn of one way took: milliseconds, calls a second by flight, microseconds of CPU."""

    p50: float
    p99: float
    rates: Mapping[int, float]
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One way at its best: times, rates, and both as ratios to the floor's."""

    p50_ms: float
    added_ms: float
    p99_ms: float
    cpu_us: float
    rates: Mapping[int, float]
    added_by_floor: float
    rate_by_floor: Mapping[int, float]
    start_s: float
    pss_mb: float


def turn(way: Caller, load: Load) -> Turn:
    """Measure one way once."""
    taken = sorted(way.latencies(load.one_by_one))
    rates = {1: len(taken) / sum(taken)}
    cpu = 0.0
    for flight in load.flights:
        before = way.cpu()
        rates[flight] = way.rate(load.many, flight)
        if flight == load.flights[0]:
            cpu = (way.cpu() - before) / load.many * 1e6
    p50, p99 = statistics.median(taken) * 1e3, taken[int(len(taken) * 0.99)] * 1e3
    return Turn(p50=p50, p99=p99, rates=rates, cpu=cpu)


def measure(ways: Mapping[str, Caller], load: Load, turns: int) -> dict[str, Figures]:
    """The figures of every way; the first is the direct one, the second the floor."""
    for one in ways.values():
        one.latencies(100)
        one.rate(1_000, load.flights[-1])
    taken = [{name: turn(one, load) for name, one in ways.items()} for _ in range(turns)]
    return {name: figures(name, one, taken) for name, one in ways.items()}


def figures(name: str, way: Caller, taken: list[dict[str, Turn]]) -> Figures:
    """The turns of one way as one line."""
    direct, floor = (best(taken, one) for one in list(taken[0])[:2])
    own = best(taken, name)
    added = own.p50 - direct.p50
    return Figures(
        p50_ms=own.p50,
        added_ms=added,
        p99_ms=own.p99,
        cpu_us=own.cpu,
        rates=own.rates,
        added_by_floor=added / max(floor.p50 - direct.p50, 1e-6),
        rate_by_floor={flight: rate / floor.rates[flight] for flight, rate in own.rates.items()},
        start_s=way.start,
        pss_mb=way.pss(),
    )


def best(taken: list[dict[str, Turn]], name: str) -> Turn:
    """The best of each figure over the turns of one way."""
    own = [one[name] for one in taken]
    return Turn(
        p50=min(one.p50 for one in own),
        p99=min(one.p99 for one in own),
        rates={flight: max(one.rates[flight] for one in own) for flight in own[0].rates},
        cpu=min(one.cpu for one in own),
    )


@contextlib.contextmanager
def started(commands: Mapping[str, tuple[list[str], str]], folder: Path) -> Iterator[dict[str, Caller]]:
    """A client for each command line and tool; all are ended afterwards."""
    env = programs.environment(folder)
    ways: dict[str, Caller] = {}
    try:
        for name, (words, tool) in commands.items():
            ways[name] = Caller(words, tool, env)
        yield ways
    finally:
        for one in ways.values():
            one.close()


Commands = dict[str, tuple[list[str], str]]


def floors() -> Commands:
    """Nothing in the way, and the three hops."""
    return {
        DIRECT: (programs.echo(), "echo"),
        FLOOR: (programs.hop(programs.STREAMS), "echo"),
        LEAST: (programs.hop(programs.LEAST), "echo"),
        COMMITS: (programs.hop(programs.COMMITS), "echo"),
    }


def airlocks(folder: Path, rules: Mapping[str, int]) -> Commands:
    """Airlock with so many rules under each name."""
    found: Commands = {}
    for number, (name, count) in enumerate(rules.items()):
        config = programs.write_config(folder, f"airlock{number}", count)
        found[name] = (programs.airlock(config), "up__echo")
    return found


def peers(names: list[str], folder: Path, cache: Path) -> Commands:
    """Other proxies, installed where they are not yet."""
    found: Commands = {}
    for name in names:
        files = folder / name
        files.mkdir()
        found[name] = (PEERS[name].words(install(name, cache), files), "echo")
    return found


def by_rules(folder: Path, load: Load, turns: int) -> dict[str, Figures]:
    """What more rules and parked calls change."""
    counts = {"airlock, 1 rule": 1, AIRLOCK: RULES, "airlock, 500 rules": 500, "50 rules, 200 parked": RULES}
    with started({**floors(), **airlocks(folder, counts)}, folder) as ways:
        ways["50 rules, 200 parked"].park("up__ask", 200)
        return measure(ways, load, turns)


def by_size(folder: Path, turns: int, size: int = 20_000) -> dict[str, Figures]:
    """What large arguments and results change."""
    small = {name: one for name, one in floors().items() if name in {DIRECT, FLOOR}}
    # The others hold nobody back: with full pipes they wait for themselves.
    with started({**small, **airlocks(folder, {AIRLOCK: RULES})}, folder) as ways:
        for one in ways.values():
            one.load(size)
        return measure(ways, Load(one_by_one=200, many=1_000), turns)


def table(title: str, found: Mapping[str, Figures]) -> Table:
    """The figures, in less than 100 columns."""
    flights = list(next(iter(found.values())).rates)
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    shown.add_column("way", no_wrap=True)
    rates = [f"{one}/s" for one in flights]
    heads = ["p50 ms", "added", "× hop", "p99 ms", "CPU µs", *rates, "of hop"]
    for head in heads:
        shown.add_column(head, justify="right", no_wrap=True)
    for name, one in found.items():
        shown.add_row(
            name,
            f"{one.p50_ms:.3f}",
            f"{one.added_ms:.3f}",
            f"{one.added_by_floor:.2f}",
            f"{one.p99_ms:.2f}",
            f"{one.cpu_us:.0f}",
            *(f"{rate:,.0f}" for rate in one.rates.values()),
            f"{one.rate_by_floor[flights[-1]]:.2f}",
        )
    return shown


def page() -> Console:
    """Where tables are printed: 100 columns, also into a file."""
    return Console() if Console().width >= WIDTH else Console(width=WIDTH)


def plain(found: Mapping[str, Figures]) -> dict[str, object]:
    """The figures as JSON values."""
    return {name: asdict(one) for name, one in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--peers", nargs="*", default=[], choices=sorted(PEERS), help="measure these as well")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "airlock-benchmarks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = {
            **floors(),
            **airlocks(folder, {AIRLOCK: RULES}),
            **peers(options.peers, folder, options.cache),
        }
        with started(commands, folder) as ways:
            found = measure(ways, Load(), options.turns)
    page().print(table("a call over stdio; every decision committed first", found))
    if options.json:
        options.json.write_text(json.dumps(plain(found), indent=1) + "\n")


if __name__ == "__main__":
    main()
