"""Every figure of docs/performance.md in one run: `python -m benchmarks`.

    python -m benchmarks [--turns N] [--quick] [--peers NAME …] [--write] [--targets]

Calls over stdio and over HTTP with different rules, parked calls and sizes, beside a direct call and a bare
hop; start-up and memory; then decisions, the store, hooks and waking. `--peers` also measures other proxies,
which are installed from PyPI and npm into places of their own. `--write` puts figures, charts and tables into
docs/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks import http, start, stdio, tables, targets
from benchmarks.chart import Bars, draw
from benchmarks.peers import PEERS
from benchmarks.stdio import Figures, Load

DOCS: Final = Path(__file__).parents[1] / "docs"
OTHERS: Final = ("decision", "store", "hook", "wake")
"""Programs of their own, whose output is shown as it is."""


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = arguments()
    if options.targets:
        sys.exit(hold(options))
    load = Load(one_by_one=200, many=2_000) if options.quick else Load()
    page = stdio.page()
    page.print(machine())
    found: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        calls = calls_of(Path(name), load, options)
    page.print(stdio.table("a call over stdio; every decision committed before it is forwarded", calls))
    with tempfile.TemporaryDirectory() as name:
        rules = stdio.by_rules(Path(name), load, options.turns)
    page.print(stdio.table("\nmore rules, and calls that wait for a person", rules))
    with tempfile.TemporaryDirectory() as name:
        large = stdio.by_size(Path(name), options.turns)
    page.print(stdio.table("\n20 kB of arguments and 20 kB of result", large))
    starting = start.measure(3 if options.quick else start.TURNS)
    page.print("\nstart-up and memory", *start.lines(starting), sep="\n", highlight=False)
    found |= {"calls": stdio.plain(calls), "rules": stdio.plain(rules), "large": stdio.plain(large)}
    if not options.quick:
        cache = options.cache if options.peers else None
        over_http = http.report(http.LOAD, options.turns, cache)
        if options.write:
            http.publish(over_http)
        found["http"] = json.loads(http.split(over_http)[0])
    found |= {"start": starting, "others": {} if options.quick else others(page.print)}
    if options.write:
        (DOCS / "performance.json").write_text(json.dumps(found, indent=1) + "\n")
        (DOCS / "performance.svg").write_text(chart(calls))
        tables.write()


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=stdio.TURNS, help="more turns, calmer ratios")
    parser.add_argument(
        "--targets", action="store_true", help="print only which targets are met, and 1 if not"
    )
    parser.add_argument("--quick", action="store_true", help="a look in under a minute")
    parser.add_argument("--peers", nargs="*", default=[], choices=sorted(PEERS), help="measure these as well")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "airlock-benchmarks")
    parser.add_argument("--write", action="store_true", help="write the figures, charts and tables of docs/")
    return parser.parse_args()


def hold(options: argparse.Namespace) -> int:
    """Print the targets beside what was found; 1 when one is missed."""
    page = stdio.page()
    page.print(machine())
    load, turns = (Load(one_by_one=60, many=600), 1) if options.quick else (Load(), options.turns)
    found = targets.measure(load, turns, options.cache if options.peers else None, options.peers)
    page.print(targets.table(found))
    return 0 if all(one.met for one in found) else 1


def machine() -> str:
    """Where it ran, in one line."""
    return (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )


def calls_of(folder: Path, load: Load, options: argparse.Namespace) -> dict[str, Figures]:
    """The first table: nothing, the hops, Airlock, and the peers that were asked for."""
    commands = {**stdio.floors(), **stdio.airlocks(folder, {stdio.AIRLOCK: stdio.RULES})}
    commands |= stdio.peers(options.peers, folder, options.cache)
    with stdio.started(commands, folder) as ways:
        return stdio.measure(ways, load, options.turns)


def others(show: Any) -> dict[str, list[str]]:
    """What the other programs say."""
    said: dict[str, list[str]] = {}
    for name in OTHERS:
        words = [sys.executable, "-m", f"benchmarks.{name}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
        said[name] = done.stdout.splitlines() or done.stderr.splitlines()[-3:]
        show(f"\n{name}", *said[name], sep="\n", highlight=False)
    return said


def chart(calls: dict[str, Figures]) -> str:
    """The first table as bars, without the direct way."""
    ways = {name: one for name, one in calls.items() if name != stdio.DIRECT}
    added = {name: max(0.0, one.added_ms) for name, one in ways.items()}
    rates = {name: one.rates[max(one.rates)] for name, one in ways.items()}
    return draw(
        [
            Bars(title="added to a call at the median, ms", values=added, form="{:.2f}"),
            Bars(title=f"calls a second, {max(Load().flights)} in flight", values=rates, form="{:,.0f}"),
        ],
        "airlock,",
    )


if __name__ == "__main__":
    main()
