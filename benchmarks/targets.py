"""Does Airlock hold what it aims at? One run, one table: `python -m benchmarks --targets`.

Each line is a ratio or a bound from docs/performance.md, found in this very run. Peers are held
against only where they were asked for. It ends with 1 when a target is missed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from benchmarks import hook, http, start, stdio
from benchmarks.stdio import Figures, Load

Tables = Mapping[str, Mapping[str, Figures]]

RULED: Final = (
    "agentbelay",
    "airlock-agent",
    "mcp-airlock 0.4.1",
    "mcp-policy-gateway 0.1",
    "bastiongate 0.14",
)
"""Peers that hold a call against rules on its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to hold: `found` may be at most, or with `least` must be at least, `bound`."""

    name: str
    found: float
    bound: float
    least: bool = False
    form: str = "{:.3g} ×"

    @property
    def met(self) -> bool:
        """True when it is held."""
        return self.found >= self.bound if self.least else self.found <= self.bound


def measure(load: Load, turns: int, cache: Path | None, peers: list[str]) -> list[Target]:
    """Everything that the targets speak of, in some minutes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = {**stdio.floors(), **stdio.airlocks(folder, {stdio.AIRLOCK: stdio.RULES})}
        commands |= stdio.peers(peers, folder, cache) if cache is not None else {}
        with stdio.started(commands, folder) as ways:
            calls = stdio.measure(ways, load, turns)
    with tempfile.TemporaryDirectory() as name:
        rules = stdio.by_rules(Path(name), load, turns)
    found = of_stdio(calls) + of_growth("stdio", rules)
    for title, over_http in (("HTTP→stdio", False), ("HTTP→HTTP", True)):
        table, _ = http.calls(over_http=over_http, load=http.LOAD, turns=turns, cache=cache)
        found += of_http(title, table)
    found += of_growth("HTTP", http.by_state(http.LOAD, turns))
    return [*found, *of_start(start.measure()), *of_hook(hook.measure(20)), *of_waking()]


def of_stdio(calls: Mapping[str, Figures]) -> list[Target]:
    """A call over stdio."""
    own = calls[stdio.AIRLOCK]
    last = max(own.rates)
    return [
        Target(name="stdio: added at the median, of what the hop adds", found=own.added_by_floor, bound=1.8),
        Target(
            name=f"stdio: calls a second of the hop's, {last} in flight",
            found=own.rate_by_floor[last],
            bound=0.4,
            least=True,
        ),
        Target(name="stdio: CPU a call, 16 in flight", found=own.cpu_us, bound=130, form="{:.0f} µs"),
        *(
            Target(name=f"stdio: of {name}, {last} in flight", found=own.rates[last] / one.rates[last],
                   bound=3, least=True)
            for name, one in calls.items() if name in RULED
        ),
    ]  # fmt: skip


def of_http(title: str, table: Mapping[str, Figures]) -> list[Target]:
    """A call over HTTP: against the floor, and against every peer that was measured."""
    own = table[http.AIRLOCK]
    last = max(own.rates)
    known = {stdio.DIRECT, http.FLOOR, http.AIRLOCK, http.MODERN_AIRLOCK}
    peers = [one for name, one in table.items() if name not in known]

    def lead(flight: int) -> float:
        return min(own.rates[flight] / one.rates[flight] for one in peers)

    if title == "HTTP→HTTP":
        name = f"{title}: of the best peer, {last} in flight"
        return [Target(name=name, found=lead(last), bound=3, least=True)] if peers else []
    floor = own.rate_by_floor[last]
    found = [Target(name=f"{title}: of the floor's, {last} in flight", found=floor, bound=0.5, least=True)]
    if peers:
        found += [
            Target(name=f"{title}: of the best peer, {flight} in flight", found=lead(flight),
                   bound=2 if flight == 16 else 1, least=True)
            for flight in own.rates
        ]  # fmt: skip
    return found


def of_growth(title: str, table: Mapping[str, Figures]) -> list[Target]:
    """CPU a call with many rules, parked calls or sessions, of that with one rule."""
    ours = [one.cpu_us for name, one in table.items() if "rule" in name]
    name = f"{title}: CPU a call with 500 rules, parked calls, sessions, of 1 rule's"
    return [Target(name=name, found=max(ours) / ours[0], bound=1.25)]


def of_start(found: Mapping[str, tuple[float, float]]) -> list[Target]:
    """Until the first answer, and what is held then."""
    seconds, megabytes = found[start.AIRLOCK]
    base = found["python -c 'import asyncio'"][0]
    return [
        Target(name="start to the first answer, of `import asyncio`", found=seconds / base, bound=3),
        Target(name="PSS of airlock stdio", found=megabytes, bound=45, form="{:.0f} MB"),
    ]


def of_hook(found: Mapping[str, tuple[float, float]]) -> list[Target]:
    """A hook as a process."""
    base = found[hook.PASS][0]
    return [
        Target(
            name="hook through the gateway, of `python -c pass`", found=found[hook.GATEWAY][0] / base, bound=2
        ),
        Target(name="hook in process, of `python -c pass`", found=found[hook.ALONE][0] / base, bound=4),
    ]


def of_waking() -> list[Target]:
    """A decision in one process, a call that waits in another."""
    words = [sys.executable, "-m", "benchmarks.wake", "--rounds", "60"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    late = re.search(r"p95 ([\d.]+) ms", done.stdout)
    quiet = re.findall(r"parked and quiet: ([\d.]+) %", done.stdout)
    alone = re.search(r"does nothing: ([\d.]+) %", done.stdout)
    assert late is not None, done.stdout
    assert alone is not None, done.stdout
    return [
        Target(
            name="a decision wakes a call elsewhere, p95", found=float(late[1]), bound=60, form="{:.0f} ms"
        ),
        Target(
            name="200 parked calls, of a loop that wakes as often",
            found=float(quiet[-1]) / float(alone[1]),
            bound=2,
        ),
    ]


def table(found: list[Target]) -> Table:
    """What was found beside what was wanted."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("target", "wanted", "found", ""):
        shown.add_column(head, justify="left" if head in {"target", ""} else "right", no_wrap=True)
    for one in found:
        wanted = f"{'≥' if one.least else '≤'} {one.form.format(one.bound)}"
        shown.add_row(one.name, wanted, one.form.format(one.found), "met" if one.met else "MISSED")
    return shown
