"""The benchmarks run: a small turn of each way, a table that fits, a chart that is XML."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest

from benchmarks import hook, http, scale, start, stdio, tables, targets
from benchmarks.chart import Bars, draw

SMALL = stdio.Load(one_by_one=5, many=40, flights=(4, 8))


def test_every_way_is_measured_and_the_table_fits_a_hundred_columns(tmp_path: Path) -> None:
    commands = {**stdio.floors(), **stdio.airlocks(tmp_path, {stdio.AIRLOCK: 50})}
    with stdio.started(commands, tmp_path) as ways:
        ways[stdio.AIRLOCK].park("up__ask", 3)
        found = stdio.measure(ways, SMALL, 1)
    assert list(found) == [stdio.DIRECT, stdio.FLOOR, stdio.LEAST, stdio.COMMITS, stdio.AIRLOCK]
    assert all(one.p50_ms > 0 and set(one.rates) == {1, 4, 8} for one in found.values())
    page = stdio.page()
    with page.capture() as caught:
        page.print(stdio.table("a title", found))
    lines = caught.get().splitlines()
    assert all(len(line) <= stdio.WIDTH for line in lines)
    assert all(any(line.startswith(name) for line in lines) for name in found)
    assert "…" not in caught.get()


def test_large_calls_pass_every_way_that_holds_back(tmp_path: Path) -> None:
    with stdio.started(stdio.airlocks(tmp_path, {stdio.AIRLOCK: 1}), tmp_path) as ways:
        one = ways[stdio.AIRLOCK]
        one.load(20_000)
        assert one.rate(64, 32) > 0
        assert one.pss() >= 0


def test_every_way_over_http_is_measured_and_the_table_fits_a_hundred_columns() -> None:
    for over_http in (False, True):
        found, missing = http.calls(over_http=over_http, load=SMALL, turns=1, cache=None)
        assert list(found) == [stdio.DIRECT, http.FLOOR, http.AIRLOCK, http.MODERN_AIRLOCK]
        assert missing == {}
        assert all(one.p50_ms > 0 and set(one.rates) == {1, 4, 8} for one in found.values())
        page = stdio.page()
        with page.capture() as caught:
            page.print(stdio.table("a title", found))
        lines = caught.get().splitlines()
        assert all(len(line) <= stdio.WIDTH for line in lines)
        assert "…" not in caught.get()
        bars = [node for node in ET.fromstring(http.chart({"a": found})).iter() if node.tag.endswith("rect")]
        assert len(bars) == 3


def test_rules_parked_calls_sessions_and_sizes_are_measured_over_http() -> None:
    state = http.by_state(SMALL, 1, sessions=3, parked=2)
    assert list(state)[2:] == [
        "1 rule",
        "50 rules",
        "500 rules",
        "50 rules, an API key",
        "50 rules, 2 parked",
        "50 rules, 3 sessions",
    ]
    assert set(http.by_size(1, load=SMALL)) >= {"airlock, to stdio", "airlock, to HTTP"}


def test_the_start_of_airlock_is_shown_beside_the_interpreters() -> None:
    found = start.measure(1)
    assert start.AIRLOCK in found
    assert len(start.lines(found)) == len(found)


def test_the_chart_is_xml_with_a_bar_for_each_value() -> None:
    text = draw([Bars(title="a < b", values={"one": 1.0, "airlock, 50": 2.5}, form="{:.1f}")], "airlock,")
    tree = ET.fromstring(text)
    bars = [node for node in tree.iter() if node.tag.endswith("rect")]
    assert [bar.get("class") for bar in bars] == ["b", "o"]


def test_the_targets_are_held_against_what_was_found_and_fit_a_hundred_columns() -> None:
    def figures(rate: float, added: float) -> stdio.Figures:
        return stdio.Figures(
            p50_ms=added, added_ms=added, p99_ms=1.0, cpu_us=50.0, rates={1: rate, 16: rate, 64: rate},
            added_by_floor=added, rate_by_floor={1: 1.0, 16: 1.0, 64: rate / 30_000},
            start_s=0.1, pss_mb=20.0,
        )  # fmt: skip

    over_http = {
        stdio.DIRECT: figures(90_000, 0.1),
        http.FLOOR: figures(30_000, 1.0),
        http.AIRLOCK: figures(20_000, 1.2),
        "another": figures(8_000, 3.0),
    }
    found = [
        *targets.of_stdio({stdio.AIRLOCK: figures(20_000, 1.9), "agentbelay": figures(3_000, 9.0)}),
        *targets.of_growth("stdio", {"1 rule": figures(1, 1), "500 rules": figures(1, 1)}),
        *targets.of_http("HTTP→stdio", over_http),
        *targets.of_http("HTTP→HTTP", over_http),
        *targets.of_start({start.AIRLOCK: (0.1, 24.0), "python -c 'import asyncio'": (0.05, 0.0)}),
        *targets.of_hook({hook.PASS: (10, 11), hook.GATEWAY: (16, 17), hook.ALONE: (130, 140)}),
    ]
    missed = {one.name for one in found if not one.met}
    assert missed == {
        "stdio: added at the median, of what the hop adds",
        "HTTP→HTTP: of the best peer, 64 in flight",
        "hook in process, of `python -c pass`",
    }
    page = stdio.page()
    with page.capture() as caught:
        page.print(targets.table(found))
    lines = caught.get().splitlines()
    assert len(lines) == len(found) + 1
    assert all(len(line) <= stdio.WIDTH for line in lines)
    assert sum("MISSED" in line for line in lines) == len(missed)


def test_every_way_of_a_hook_is_timed() -> None:
    found = hook.measure(1)
    assert {hook.PASS, hook.GATEWAY, hook.ALONE} <= set(found)
    assert len(hook.lines(found)) == len(found)


def test_the_simulation_loses_no_call_and_finds_where_a_database_ends() -> None:
    known = scale.Database(name="known", begin_s=1e-3, event_s=1e-5)
    calm = scale.waits(known, 4, 50)
    assert len(calm) == sum(1 for one in range(4) for _ in scale.arrivals(one, 50 / 4, scale.SECONDS))
    assert calm[0] == pytest.approx(known.seconds(1))
    bound = scale.LARGEST / known.seconds(scale.LARGEST)
    assert 0.8 * bound < scale.most(known, 1) < 1.1 * bound
    # Each takes its turn: of so many that a round takes longer than a call may wait, few are in time.
    assert scale.most(known, 64) < 0.2 * bound


def test_the_tables_of_the_page_are_made_of_the_figures_beside_it() -> None:
    page = (tables.DOCS / "performance.md").read_text()
    assert tables.written(page, *tables.read()) == page, "run `python -m benchmarks.tables`"


def test_a_page_without_a_place_for_a_table_is_said_to_be_so() -> None:
    with pytest.raises(ValueError, match="no place for the table `start`"):
        tables.written((tables.DOCS / "performance.md").read_text().replace("/start", ""), *tables.read())
