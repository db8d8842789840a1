"""`airlock audit`: what happened, and whether the record of it still holds."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TextIO

import click

from airlock.cli.exits import Exit
from airlock.cli.frame import Frame, Group, here, wait_for
from airlock.cli.places import open_places
from airlock.cli.render import complain, put, put_json, put_table
from airlock.cli.show import local_time
from airlock.errors import UsageError, why
from airlock.model import JsonObject
from airlock.ports import AuditEntry, AuditFilter, ChainReport
from airlock.views import entry_shape, event_shape, moment

PAGE = 1000
EVENT_FIELDS = ("seq", "id", "kind", "at", "call_id", "request_id", "agent", "tool", "body", "prev", "hash")


def iso_time(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """An ISO 8601 option in milliseconds."""
    return None if value is None else moment(value)


@click.group(
    cls=Group,
    default="list",
    lazy={"proof": "airlock.cli.proofs:proof", "key": "airlock.cli.proofs:key"},
    example="airlock audit --agent claude-code --limit 20\nairlock audit verify",
)
def audit() -> None:
    """What was asked, what was decided, and how it came out."""


@audit.command("list", example="airlock audit list --tool git/git_commit --since 2026-04-01T12:00:00Z")
@click.option("--agent", default="", metavar="NAME", help="Only this agent.")
@click.option("--tool", default="", metavar="NAME", help="Only this tool, by its whole name.")
@click.option("--since", callback=iso_time, metavar="ISO", help="Only from this moment on.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many."
)
def list_(agent: str, tool: str, since: int | None, limit: int) -> None:
    """One row a call, newest first."""
    wait_for(_list(here(), AuditFilter(agent=agent, tool=tool, since=since, limit=limit)))


async def _list(frame: Frame, wanted: AuditFilter) -> None:
    async with open_places(frame) as places:
        found = [one for runtime in await places.runtimes() for one in await runtime.store.entries(wanted)]
        many = len(places.databases) > 1
        if not found and (unknown := places.unknown(wanted.agent)):
            complain(unknown)
    # Within one database the order is that of its sequence; only several need the clock to be merged.
    rows = sorted(found, key=lambda one: one.created_at, reverse=True) if many else found
    rows = rows[: wanted.limit]
    if frame.json:
        put_json([entry_shape(row) for row in rows])
    elif rows:
        put_table(("when", "agent", "tool", "result", "took", "person", "rule", "arguments"), map(_row, rows))
    else:
        put("nothing recorded")


def _row(row: AuditEntry) -> tuple[str, ...]:
    took = "" if row.duration_ms is None else f"{row.duration_ms} ms"
    person = " ".join(filter(None, (row.hitl_outcome, row.decided_by)))
    asked = row.request_id and not row.hitl_outcome
    short = row.args if len(row.args) <= 120 else f"{row.args[:117]}…"
    return (
        local_time(row.created_at),
        row.agent_id,
        row.tool,
        row.result or ("waiting" if asked else "running"),
        took,
        person,
        row.rule,
        short,
    )


@audit.command(
    example="airlock audit verify\nairlock audit verify --head saved-head.json\n"
    "airlock audit verify pack.json --key airlock.pub"
)
@click.argument("file", required=False, default="", metavar="[PACK]")
@click.option(
    "--head",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Check against a copy of the head that was kept elsewhere.",
)
@click.option(
    "--key",
    "trusted",
    default="",
    metavar="KEY",
    help="The public key that must have signed the pack: in hex, its fingerprint, or a file. Else our own.",
)
def verify(file: str, head: Path | None, trusted: str) -> int:
    """Walk the chain: was an event edited, removed, inserted or cut off? With a proof pack: does it hold?"""
    if not file and trusted:
        raise UsageError("`--key` is for a proof pack: name its file")
    if file and head is not None:
        raise UsageError("`--head` is for the chain, a proof pack has a head of its own: leave one out")
    if file:
        from airlock.cli.proofs import verify_pack

        return verify_pack(file, trusted)
    return wait_for(_verify(here(), head))


async def _verify(frame: Frame, head: Path | None) -> int:
    if head is not None and not head.is_file():
        raise UsageError(f"there is no head at `{head}`: name the copy that was kept")
    reports: list[tuple[str, ChainReport]] = []
    async with open_places(frame) as places:
        runtimes = await places.runtimes()
        if head is not None and len(runtimes) > 1:
            raise UsageError("a head belongs to one database: name its config with `--config FILE`")
        for runtime in runtimes:
            report = await runtime.store.verify(head)
            reports.append((runtime.config.database, report))
    if frame.json:
        shapes = [_report_shape(database, report) for database, report in reports]
        put_json(shapes[0] if len(shapes) == 1 else shapes)
    else:
        for database, report in reports:
            _say(database, report)
    return Exit.DONE if all(report.sound for _, report in reports) else Exit.FOUND_WRONG


def _report_shape(database: str, report: ChainReport) -> JsonObject:
    return {
        "ok": report.sound,
        "database": database,
        "events": report.events,
        "first_seq": report.first_seq,
        "last_seq": report.last_seq,
        "last_hash": report.last_hash,
        "broken_at": report.broken_at,
        "problem": report.problem or None,
    }


def _say(database: str, report: ChainReport) -> None:
    if report.sound and not report.events:
        put(f"{database}: the chain is empty")
    elif report.sound:
        put(f"{database}: the chain of {report.events} events holds")
        put(f"head: {report.last_seq} {report.last_hash}")
    else:
        where = "" if report.broken_at is None else f" at event {report.broken_at}"
        complain(f"{database}: the chain is broken{where}: {report.problem or 'a hash does not fit'}")


@audit.command(example="airlock audit export --format jsonl --output history.jsonl")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "json"]), default="jsonl", show_default=True
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Not to stdout."
)
@click.option("--agent", default="", metavar="NAME", help="Only this agent.")
@click.option("--tool", default="", metavar="NAME", help="Only this tool, by its whole name.")
@click.option("--since", callback=iso_time, metavar="ISO", help="Only from this moment on.")
def export(*, form: str, output: Path | None, agent: str, tool: str, since: int | None) -> None:
    """Write the raw events out, oldest first, with their hashes."""
    if here().json and output is None:
        if form == "csv":
            raise UsageError("`--json` and `--format csv` are two forms: leave one out")
        form = "json"
    wait_for(_export(here(), form, output, AuditFilter(agent=agent, tool=tool, since=since)))


async def _export(frame: Frame, form: str, output: Path | None, wanted: AuditFilter) -> None:
    count = 0
    async with open_places(frame) as places:
        with target(output) as stream, _writer(form, stream) as write:
            for runtime in await places.runtimes():
                async for event in _events(runtime.store, wanted):
                    write(event)
                    count += 1
    if output is not None and frame.json:
        put_json({"ok": True, "events": count, "file": str(output)})
    elif output is not None:
        put(f"{count} events written to {output}")


def target(output: Path | None) -> AbstractContextManager[TextIO]:
    """Where a listing goes: to stdout, or into a file for the user alone."""
    if output is None:
        return nullcontext(sys.stdout)
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write `{output}`: {why(error)}") from None
    return os.fdopen(descriptor, "w", newline="", encoding="utf-8")


async def _events(store: Any, wanted: AuditFilter) -> AsyncIterator[JsonObject]:
    after = 0
    while page := await store.events(after=after, limit=PAGE, wanted=wanted):
        for event in page:
            yield event_shape(event)
        after = page[-1].seq


@contextmanager
def _writer(form: str, target: TextIO) -> Iterator[Callable[[Mapping[str, Any]], object]]:
    if form == "csv":
        rows = csv.writer(target)
        rows.writerow(EVENT_FIELDS)
        yield lambda event: rows.writerow([_cell(event[name]) for name in EVENT_FIELDS])
    elif form == "jsonl":
        yield lambda event: target.write(json.dumps(event, ensure_ascii=False) + "\n")
    else:
        marks = chain(["[\n"], repeat(",\n"))
        yield lambda event: target.write(next(marks) + json.dumps(event, ensure_ascii=False))
        target.write("[]\n" if next(marks) == "[\n" else "\n]\n")


def _cell(value: Any) -> Any:
    """A spreadsheet would run a text that begins like a formula: a quote in front keeps it text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
