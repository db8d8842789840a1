"""What `airlock gateway` costs a call: `python -m benchmarks.http [--turns N] [--peers] [--json FILE]`.

One client with keep-alive connections, and behind the gateway a program (HTTP→stdio) or a server over HTTP
(HTTP→HTTP). Between them stands nothing, the floor (uvicorn and a bare ASGI app that parses a message and
passes it on), Airlock in both eras with rules, a credential and every decision committed before the call is
forwarded, and on request other gateways. All are measured in turns, and of each the best turn counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from rich.table import Table

from benchmarks import httpprograms, programs, stdio, tables
from benchmarks.caller import Silent
from benchmarks.chart import Bars, draw
from benchmarks.httpcaller import LEGACY, MODERN, HttpCaller
from benchmarks.httppeers import TO_PROGRAMS, TO_SERVERS, HttpPeer, Setting, home_of
from benchmarks.stdio import DIRECT, RULES, Figures, Load

FLOOR: Final = "floor, uvicorn"
AIRLOCK: Final = f"airlock, {RULES} rules"
MODERN_AIRLOCK: Final = "airlock, 2026-07-28"
LOAD: Final = Load(one_by_one=300, many=3_000)
LARGE: Final = Load(one_by_one=150, many=800)
SESSIONS: Final = 200
PARKED: Final = 200
DOCS: Final = Path(__file__).parents[1] / "docs"


class Stage:
    """The processes of one table, started one after the other and ended together."""

    def __init__(self, folder: Path) -> None:
        self.ways: dict[str, HttpCaller] = {}
        self.failed: dict[str, str] = {}
        self._folder = folder
        self._env = programs.environment(folder)
        self._log = (folder / "log.txt").open("ab")
        self._count = 0
        self.port = httpprograms.free_port()
        self._echo = self._start(httpprograms.echo(self.port))
        self.ways[DIRECT] = HttpCaller(self._echo, self.port)

    @property
    def url(self) -> str:
        """The server over HTTP."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(words, stdout=self._log, stderr=self._log, env=self._env)

    def floor(self, *, over_http: bool) -> None:
        """The bare gateway."""
        port = httpprograms.free_port()
        back = [str(self.port)] if over_http else programs.echo()
        self._add(FLOOR, httpprograms.floor(port, back), port)

    def airlock(
        self, name: str, *, over_http: bool, rules: int = RULES, era: str = LEGACY, keyed: bool = False
    ) -> HttpCaller:
        """A gateway of ours, and a client with the agent's token, or with an API key."""
        port = httpprograms.free_port()
        self._count += 1
        url = self.url if over_http else ""
        config = httpprograms.write_config(self._folder, f"http{self._count}", rules, url, token=not keyed)
        token = httpprograms.key(config, self._env) if keyed else httpprograms.TOKEN
        self._add(name, httpprograms.airlock(port, config), port, era=era, token=token)
        return self.ways[name]

    def peer(self, name: str, peer: HttpPeer, cache: Path, *, over_http: bool) -> None:
        """Another gateway; one that does not start or answer is noted, and left out."""
        files = self._folder / f"peer{len(self.ways) + len(self.failed)}"
        files.mkdir()
        port = httpprograms.free_port()
        url = self.url if over_http else ""
        setting = Setting(home=home_of(peer, cache), files=files, port=port, url=url)
        words = peer.words(setting)
        began = time.perf_counter()
        process = self._start(words)
        try:
            self.ways[name] = HttpCaller(
                process,
                port,
                path=peer.path,
                era=peer.era,
                token=peer.token,
                headers=peer.headers,
                began=began,
                ready=partial(peer.ready, setting) if peer.ready else None,
            )
        except (Silent, OSError, ValueError, KeyError, StopIteration) as error:
            self.failed[name] = str(error)[:200]
            _end(process)

    def _add(self, name: str, words: list[str], port: int, *, era: str = LEGACY, token: str = "") -> None:
        began = time.perf_counter()
        process = self._start(words)
        self.ways[name] = HttpCaller(process, port, era=era, token=token, began=began)

    def close(self) -> None:
        """End them, the server last."""
        for one in reversed(self.ways.values()):
            one.close()
        _end(self._echo)
        self._log.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A stage in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        found = Stage(Path(name))
        try:
            yield found
        finally:
            found.close()


def measure(on: Stage, load: Load, turns: int) -> dict[str, Figures]:
    """The figures of every way; the slow ones get as much to do as they can in about a second."""
    loads = {name: _fitting(one, load) for name, one in on.ways.items()}
    taken = [{name: stdio.turn(one, loads[name]) for name, one in on.ways.items()} for _ in range(turns)]
    return {name: stdio.figures(name, one, taken) for name, one in on.ways.items()}


def _fitting(way: HttpCaller, load: Load) -> Load:
    most = load.flights[-1]
    way.rate(2 * most, most)
    many = int(way.rate(2 * most, most))
    alone = int(0.3 / max(way.latencies(5)))
    return replace(
        load,
        one_by_one=min(load.one_by_one, max(20, alone)),
        many=min(load.many, max(2 * most, many)),
    )


def footprints(found: Mapping[str, Figures]) -> Table:
    """How long each took to start, and what it holds after its calls."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("way", no_wrap=True)
    shown.add_column("first answer, s", justify="right")
    shown.add_column("PSS, MB", justify="right")
    for name, one in found.items():
        shown.add_row(name, f"{one.start_s:.2f}", f"{one.pss_mb:.0f}")
    return shown


def calls(
    *, over_http: bool, load: Load, turns: int, cache: Path | None
) -> tuple[dict[str, Figures], dict[str, str]]:
    """One of the two main tables, and why some peers are not in it."""
    with stage() as on:
        on.floor(over_http=over_http)
        on.airlock(AIRLOCK, over_http=over_http)
        on.airlock(MODERN_AIRLOCK, over_http=over_http, era=MODERN)
        if cache is not None:
            for name, peer in (TO_SERVERS if over_http else TO_PROGRAMS).items():
                on.peer(name, peer, cache, over_http=over_http)
        return measure(on, load, turns), on.failed


def by_state(load: Load, turns: int, *, sessions: int = SESSIONS, parked: int = PARKED) -> dict[str, Figures]:
    """What rules, parked calls and open sessions change, HTTP→HTTP."""
    with stage() as on:
        on.floor(over_http=True)
        on.airlock("1 rule", over_http=True, rules=1)
        on.airlock("50 rules", over_http=True)
        on.airlock("500 rules", over_http=True, rules=500)
        on.airlock("50 rules, an API key", over_http=True, keyed=True)
        on.airlock(f"50 rules, {parked} parked", over_http=True).park(parked)
        on.airlock(f"50 rules, {sessions} sessions", over_http=True).more_sessions(sessions)
        return measure(on, load, turns)


def by_size(turns: int, *, load: Load = LARGE, size: int = 20_000) -> dict[str, Figures]:
    """What large arguments and results change, both ways of a server."""
    with stage() as on:
        on.floor(over_http=False)
        on.airlock("airlock, to stdio", over_http=False)
        on.airlock("airlock, to HTTP", over_http=True)
        for one in on.ways.values():
            one.load(size)
        return measure(on, load, turns)


def chart(found: Mapping[str, Mapping[str, Figures]]) -> str:
    """Both main tables as bars, without the direct way."""
    rows = []
    for title, table in found.items():
        flight = max(next(iter(table.values())).rates)
        values = {name: one.rates[flight] for name, one in table.items() if name != DIRECT}
        rows.append(Bars(title=f"{title}: calls a second, {flight} in flight", values=values, form="{:,.0f}"))
    return draw(rows, "airlock,")


def report(load: Load, turns: int, cache: Path | None) -> dict[str, object]:
    """Measure and print everything; the figures as JSON values."""
    page = stdio.page()
    main: dict[str, dict[str, Figures]] = {}
    missing: dict[str, dict[str, str]] = {}
    for title, over_http in (("HTTP→stdio", False), ("HTTP→HTTP", True)):
        main[title], missing[title] = calls(over_http=over_http, load=load, turns=turns, cache=cache)
        page.print(stdio.table(f"\n{title}; every decision committed before it is forwarded", main[title]))
        page.print(footprints(main[title]))
        for name, why in missing[title].items():
            page.print(f"{name} could not be measured: {why}", highlight=False, markup=False)
    state = by_state(load, turns)
    page.print(stdio.table("\nHTTP→HTTP with more rules, parked calls, sessions", state))
    large = by_size(turns)
    page.print(stdio.table("\n20 kB of arguments and 20 kB of result", large))
    found: dict[str, object] = {title: stdio.plain(one) for title, one in main.items()}
    found |= {"state": stdio.plain(state), "large": stdio.plain(large), "missing": missing}
    return {**found, "chart": chart(main)}


def split(found: dict[str, object]) -> tuple[str, str]:
    """A report as JSON text and as a picture."""
    values = dict(found)
    picture = str(values.pop("chart"))
    head = {"python": sys.version.split()[0], "cores": os.cpu_count()}
    return json.dumps({**head, **values}, indent=1) + "\n", picture


def publish(found: dict[str, object]) -> None:
    """Write docs/performance-http.json and .svg."""
    text, picture = split(found)
    (DOCS / "performance-http.json").write_text(text)
    (DOCS / "performance-http.svg").write_text(picture)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=stdio.TURNS, help="more turns, calmer ratios")
    parser.add_argument("--peers", action="store_true", help="install and measure other gateways as well")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "airlock-benchmarks")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--write", action="store_true", help="write the figures, chart and tables of docs/")
    options = parser.parse_args()
    began = time.monotonic()
    found = report(LOAD, options.turns, options.cache if options.peers else None)
    if options.json:
        options.json.write_text(split(found)[0])
    if options.write:
        publish(found)
        tables.write()
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
