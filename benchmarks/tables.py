"""The tables of docs/performance.md, made of the figures beside it: `python -m benchmarks.tables`.

Each stands between `<!-- NAME -->` and `<!-- /NAME -->`. `python -m benchmarks --write` writes them with the
figures; a test holds the page to these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import PEERS

DOCS: Final = Path(__file__).parents[1] / "docs"
OURS: Final = "airlock, 50 rules"
DIRECT: Final = "direct"

Figures = Mapping[str, Mapping[str, Any]]
"""Of each way what `stdio.Figures` holds, as JSON has it."""

STATES: Final = {
    "airlock, 1 rule": "1 rule",
    "airlock, 50 rules": "50 rules on the tool that is called",
    "airlock, 500 rules": "500 rules on the tool that is called",
    "50 rules, 200 parked": "50 rules, and 200 parked calls",
    "hop, streams": "hop, streams, in the same turns",
}
HTTP_STATES: Final = {
    "1 rule": "1 rule",
    "50 rules": "50 rules",
    "500 rules": "500 rules",
    "50 rules, 200 parked": "50 rules, 200 parked calls",
    "50 rules, 200 sessions": "50 rules, 200 open sessions, each with a connection of its own to the server",
    "50 rules, an API key": "50 rules, with an API key",
}
LARGE: Final = {
    "airlock, 50 rules": "50 rules, 20 kB there and 20 kB back",
    "hop, streams": "hop, streams, 20 kB there and 20 kB back",
}
HTTP_LARGE: Final = {
    "airlock, to HTTP": "20 kB there and 20 kB back",
    "floor, uvicorn": "floor, 20 kB there and 20 kB back",
}
_HOOK: Final = re.compile(r"(?P<what>.*?)\s{2,}(?P<took>[\d.]+ ms)\s+(?P<times>[\d.]+) × pass")


def written(page: str, stdio: Mapping[str, Any], http: Mapping[str, Any]) -> str:
    """The page with its tables as these figures have them; ValueError where it has no place for one."""
    tables = {
        "calls": _calls("way", stdio["calls"], added=True),
        "state": _states(stdio["rules"], STATES) + _states(stdio["large"], LARGE)[2:],
        "start": _starts(stdio["start"]),
        "hook": _hooks(stdio["others"]["hook"]),
        "http-to-stdio": _calls("HTTP→stdio", http["HTTP→stdio"], added=False),
        "http-to-http": _calls("HTTP→HTTP", http["HTTP→HTTP"], added=False),
        "http-state": _states(http["state"], HTTP_STATES) + _states(http["large"], HTTP_LARGE)[2:],
    }
    for name, rows in tables.items():
        before, start, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not start or not end:
            raise ValueError(f"the page has no place for the table `{name}`")
        page = "".join([before, start, *(f"{row}\n" for row in rows), end, after])
    return page


def _row(cells: Iterable[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _head(*names: str) -> list[str]:
    return [_row(names), f"|{'---|' * len(names)}"]


def _calls(title: str, found: Figures, *, added: bool) -> list[str]:
    """A row for each way; what it adds to the direct one, or what it holds in memory."""
    flights = next(iter(found.values()))["rates"]
    loads = ["one by one" if int(flight) == 1 else f"{flight} in flight" for flight in flights]
    middle, last = (["added"], []) if added else ([], ["PSS"])
    rows = _head(title, "p50", *middle, "CPU a call", *loads, *last)
    for name, one in found.items():
        cells = [_named(name), f"{one['p50_ms']:.3f} ms"]
        if added:
            cells.append("" if name == DIRECT else f"{one['added_ms']:.3f} ms")
        cells += [f"{one['cpu_us']:.0f} µs", *(f"{rate:,.0f}/s" for rate in one["rates"].values())]
        if not added:
            cells.append(f"{one['pss_mb']:.0f} MB")
        rows.append(_row(f"**{cell}**" for cell in cells) if name == OURS else _row(cells))
    return rows


def _named(way: str) -> str:
    """A way, and of another proxy over stdio the version too."""
    version = re.search(r"\d[\d.]*", PEERS[way].package) if way in PEERS else None
    return f"{way} {version[0]}" if version else way


def _states(found: Figures, names: Mapping[str, str]) -> list[str]:
    """What changes with rules, parked calls and size, at the highest load."""
    rows = _head("", "p50", "CPU a call", "64 in flight")
    for name, shown in names.items():
        if name in found:
            one = found[name]
            most = list(one["rates"].values())[-1]
            rows.append(_row([shown, f"{one['p50_ms']:.3f} ms", f"{one['cpu_us']:.0f} µs", f"{most:,.0f}/s"]))
    return rows


def _starts(found: Mapping[str, Any]) -> list[str]:
    base = found["python -c 'import asyncio'"][0]
    rows = _head("", "", "× asyncio")
    for name, (seconds, _) in sorted(found.items(), key=lambda one: one[1][0]):
        rows.append(_row([f"`{name}`", f"{seconds:.3f} s", f"{seconds / base:.1f}"]))
    return rows


def _hooks(said: Iterable[str]) -> list[str]:
    rows = _head("a hook", "best of a run", "× pass")
    for one in filter(None, map(_HOOK.match, said)):
        rows.append(_row([one["what"], one["took"], f"{float(one['times']):.1f}"]))
    return rows


def read(folder: Path = DOCS) -> tuple[Any, Any]:
    """The figures over stdio and over HTTP that stand beside the page."""
    stdio, http = ((folder / f"performance{part}.json").read_text() for part in ("", "-http"))
    return json.loads(stdio), json.loads(http)


def write(folder: Path = DOCS) -> None:
    """Bring the page up to the figures beside it."""
    page = folder / "performance.md"
    page.write_text(written(page.read_text(), *read(folder)))


if __name__ == "__main__":
    write()
