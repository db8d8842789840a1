"""The history: listed, checked, written out."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sqlite3

import pytest

from airlock.canonical import parse
from airlock.model import Outcome, Proceed
from tests.support.terminal import Terminal, agent_call, parked

pytestmark = pytest.mark.anyio

ENTRY = ["id", "agent_id", "tool", "args", "result", "duration_ms", "hitl_outcome", "created_at"]


async def lived(terminal: Terminal) -> None:
    """Three calls: one allowed and run, one denied, one asked and approved."""
    async with parked(terminal.config) as calls:
        gate, config = calls.runtime.gate, calls.runtime.config
        allowed = await gate.authorize(agent_call(config, "demo/echo", {"text": "=1+1"}))
        assert isinstance(allowed, Proceed)
        await gate.complete(allowed, Outcome.SUCCESS)
        await gate.authorize(agent_call(config, "demo/delete_note", {"name": "x"}))
        request = await calls.ask("demo/write_note", {"name": "plan"})
        assert (await terminal.quick("approve", request.code)).code == 0
        await calls.verdict()


async def test_the_list_as_json_has_the_shape_of_the_rest_api(terminal: Terminal) -> None:
    await lived(terminal)
    rows = (await terminal.quick("audit", "--json")).json
    assert [row["tool"] for row in rows] == ["demo/write_note", "demo/delete_note", "demo/echo"]
    assert all(list(row)[: len(ENTRY)] == ENTRY for row in rows)
    asked, denied, allowed = rows
    assert (asked["hitl_outcome"], denied["result"], allowed["result"]) == ("approved", "denied", "success")
    assert isinstance(allowed["duration_ms"], int)
    assert parse(allowed["args"]) == {"text": "=1+1"}
    assert denied["hitl_outcome"] is None


async def test_a_call_is_said_to_wait_until_a_person_has_answered(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        request = await calls.ask("demo/write_note", {"name": "plan"})
        assert "\twaiting\t" in (await terminal.quick("audit")).out
        assert (await terminal.quick("approve", request.code)).code == 0
        await calls.verdict()
        assert "\trunning\t" in (await terminal.quick("audit")).out


async def test_the_list_is_filtered_by_agent_tool_time_and_number(terminal: Terminal) -> None:
    await lived(terminal)
    everything = (await terminal.quick("audit", "list", "--json")).json
    only = (await terminal.quick("audit", "--tool", "demo/echo", "--agent", "claude-code", "--json")).json
    since = (await terminal.quick("audit", "list", "--since", everything[1]["created_at"], "--json")).json
    first = (await terminal.quick("audit", "--limit", "1", "--json")).json
    assert [row["tool"] for row in only] == ["demo/echo"]
    later = [row["id"] for row in everything if row["created_at"] >= everything[1]["created_at"]]
    assert [row["id"] for row in since] == later
    assert [row["id"] for row in first] == [everything[0]["id"]]
    assert (await terminal.quick("audit", "--limit", "0")).code == 2
    assert (await terminal.quick("audit", "--since", "yesterday")).code == 2


async def test_verify_finds_an_edited_row_and_ends_with_eight(terminal: Terminal) -> None:
    await lived(terminal)
    sound = await terminal.quick("audit", "verify", "--json")
    assert (sound.code, sound.json["ok"]) == (0, True)
    with sqlite3.connect(terminal.folder / "airlock.db") as database:
        database.execute("UPDATE event SET body = replace(body, 'plan', 'plot') WHERE body LIKE '%plan%'")
    database.close()
    broken = await terminal.quick("audit", "verify")
    assert broken.code == 8
    assert "broken" in broken.err
    assert (await terminal.quick("audit", "verify", "--json")).json["broken_at"] is not None


async def test_every_event_is_written_out_as_json_lines(terminal: Terminal) -> None:
    await lived(terminal)
    ended = await terminal.quick("audit", "export")
    events = [json.loads(line) for line in ended.out.splitlines()]
    report = (await terminal.quick("audit", "verify", "--json")).json
    assert [one["seq"] for one in events] == list(range(1, report["events"] + 1))
    assert events[-1]["hash"] == report["last_hash"]
    assert all(one["prev"] == before["hash"] for before, one in itertools.pairwise(events))


async def test_every_event_is_one_document_with_json(terminal: Terminal) -> None:
    empty = await terminal.quick("audit", "export", "--json")
    verified = await terminal.quick("audit", "verify")
    await lived(terminal)
    lines = await terminal.quick("audit", "export")
    ended = await terminal.quick("audit", "export", "--json")
    assert (empty.code, empty.json) == (0, [])
    assert verified.out.endswith(": the chain is empty\n")
    assert ended.json == [json.loads(line) for line in lines.out.splitlines()]


async def test_a_spreadsheet_gets_no_formula_from_an_agent(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        await calls.runtime.gate.authorize(agent_call(calls.runtime.config, "=cmd|' /C calc'!A0/x", {}))
    file = terminal.folder / "out.csv"
    ended = await terminal.quick("audit", "export", "--format", "csv", "--output", str(file), "--json")
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert ended.json["events"] == len(rows)
    assert rows[0]["tool"].startswith("'=")
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_copy_of_the_database_is_whole_and_never_overwrites(terminal: Terminal) -> None:
    await lived(terminal)
    copy = terminal.folder / "copy.db"
    assert (await terminal.quick("db", "backup", str(copy))).code == 0
    assert (await terminal.quick("db", "backup", str(copy))).code == 2
    with sqlite3.connect(copy) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM event").fetchone()[0] > 3
    database.close()
