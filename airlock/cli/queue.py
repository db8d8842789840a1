"""`airlock pending` and `airlock show`: what waits, shown in whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterable

import click

from airlock.cli.change import FileChange, changes
from airlock.cli.frame import Command, Frame, here, wait_for
from airlock.cli.lines import Line, Tone, line, span
from airlock.cli.places import Places, known_configs, nearest, open_places
from airlock.cli.render import complain, put, put_json, put_lines
from airlock.cli.show import card, headline
from airlock.errors import AirlockError
from airlock.ids import now_ms
from airlock.model import ApprovalRequest, Status
from airlock.views import request_shape

POLL_SECONDS = 0.2

PLACES_MS = 3_000
"""How often it looks for databases that were not known before."""


def diffs_of(request: ApprovalRequest) -> tuple[FileChange, ...]:
    """What the request would change in files, as far as its arguments say."""
    try:
        arguments = json.loads(request.arguments)
    except ValueError:
        return ()
    return changes(arguments, request.origin.cwd) if isinstance(arguments, dict) else ()


@click.command(cls=Command, example="airlock pending\nairlock pending --watch\nairlock pending --json")
@click.option("--agent", default="", metavar="NAME", help="Only what this agent asks.")
@click.option("--watch", is_flag=True, help="Go on, and print each request as it comes.")
def pending(agent: str, watch: bool) -> None:
    """Show what waits for a person: code, time left, who asks, the rule, the whole arguments."""
    wait_for(_pending(here(), agent, watch))


async def _pending(frame: Frame, agent: str, watch: bool) -> None:
    async with open_places(frame) as places:
        if watch:
            await _follow(places, frame, agent)
            return
        rows = await places.pending(agent)
        if not rows and (unknown := places.unknown(agent)):
            complain(unknown)
        if frame.json:
            put_json([request_shape(row) for row in rows])
        elif rows:
            put_lines(_cards(rows, full=False))
        else:
            put("nothing waits")


def _cards(rows: Iterable[ApprovalRequest], *, full: bool) -> Iterable[Line]:
    now = now_ms()
    for place, row in enumerate(rows):
        if place:
            yield line("")
        yield from card(row, now, full=full, diffs=diffs_of(row))


async def _follow(places: Places, frame: Frame, agent: str) -> None:
    """Print what waits, then each newcomer and each answer; one JSON object a line with `--json`."""
    known: dict[str, ApprovalRequest] = {}
    stamps: tuple[int, ...] = ()
    looked = now_ms()
    while True:
        if now_ms() - looked > PLACES_MS:
            looked = now_ms()
            with contextlib.suppress(AirlockError):
                places.add(nearest(known_configs(frame, quiet=True)))
        latest = tuple(runtime.store.stamp() for runtime in await places.runtimes())
        if latest != stamps or any(row.expires_at < now_ms() for row in known.values()):
            stamps = latest
            rows = {row.id: row for row in await places.pending(agent)}
            gone = [row for key, row in known.items() if key not in rows]
            for row in (row for key, row in rows.items() if key not in known):
                _announce(row, frame)
            for row in gone:
                _announce((await places.find(row.id))[1], frame)
            known = rows
        await asyncio.sleep(POLL_SECONDS)


def _announce(row: ApprovalRequest, frame: Frame) -> None:
    if frame.json:
        put(json.dumps(request_shape(row), ensure_ascii=False))
    elif row.status is Status.PENDING:
        put_lines([*_cards([row], full=False), line("")])
    else:
        by = f" by {row.decided_by}" if row.decided_by else ""
        put_lines([line(*headline(row, now_ms()), span(by, Tone.DIM))])
    sys.stdout.flush()


@click.command(cls=Command, example="airlock show K7QF2M --full")
@click.argument("code")
@click.option("--full", is_flag=True, help="Never cut the arguments, however long they are.")
def show(code: str, full: bool) -> None:
    """Show one request in whole, by code or id, whatever its state."""
    wait_for(_show(here(), code, full))


async def _show(frame: Frame, code: str, full: bool) -> None:
    async with open_places(frame) as places:
        _, request = await places.find(code)
    if frame.json:
        put_json(request_shape(request))
    else:
        put_lines(_cards([request], full=full))
