"""Traces: every evaluation, newest first; one with its events; whether its history holds; as JSON or CSV."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock import audit
from airlock.errors import NoSuchRequest, UsageError
from airlock.ports_faces import Record, RecordFilter
from airlock.web import schemas
from airlock.web.compat.asking import KIND, Kept, records_of
from airlock.web.compat.pages import page_reply, page_shape
from airlock.web.compat.query import page, page_parameters
from airlock.web.compat.sidclaw.approvals import MOST, USUAL
from airlock.web.compat.sidclaw.faults import ERROR, MALFORMED, NOT_FOUND
from airlock.web.compat.sidclaw.polling import ID
from airlock.web.compat.sidclaw.seeing import EVERY_TRACE, SEE_TRACES, check_sees, found, sees, sees_all
from airlock.web.compat.sidclaw.traceshapes import TRACE, chain_of, final_outcome, trace_shape
from airlock.web.compat.sidclaw.words import FACE, OUTCOMES
from airlock.web.errors import SECURITY_HEADERS, HttpError, JsonAnswer
from airlock.web.queries import one
from airlock.web.routes import Asked, Parameter, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

CHUNK = 200
MOST_READ = 10_000
"""How many traces are looked through for a filter or an export."""
COLUMNS = tuple(
    name for name in TRACE["properties"] if name not in {"context_snapshot", "metadata", "events"}
)


async def listing(asked: Asked) -> Response:
    """A page of traces, newest first."""
    wanted = page(asked.request.query_params, usual=USUAL, most=MOST)
    filtered = _wanted(asked)
    records = records_of(asked.services)
    if filtered is None:
        every = RecordFilter(
            face=FACE, kind=KIND, owner=_owner(asked), limit=wanted.limit, offset=wanted.offset
        )
        total = await records.count_records(every)
        rows = [one async for one in _with_questions(asked.services, await records.find_records(every))]
    else:
        found = [one async for one in _newest(asked) if filtered(one)]
        total, rows = len(found), found[wanted.offset : wanted.offset + wanted.limit]
    shapes = [await trace_shape(asked.services, kept) for kept in rows]
    return JsonAnswer(page_shape(shapes, total, wanted))


def _wanted(asked: Asked) -> Callable[[Kept], bool] | None:
    """What the query leaves out; None when it leaves out nothing that the database does not."""
    query, who = asked.request.query_params, asked.who
    agent_id, outcome = one(query, "agent_id"), one(query, "outcome")
    if outcome and outcome not in OUTCOMES:
        raise UsageError(f"`outcome` must be one of {', '.join(OUTCOMES)}")
    if not agent_id and not outcome and not who.bound:
        return None
    return lambda kept: (
        sees(who, kept, EVERY_TRACE)
        and agent_id in {"", kept.record.body.get("agent_id")}
        and outcome in {"", final_outcome(kept)}
    )


def _owner(asked: Asked) -> str:
    """Whose traces: "" for everyone's."""
    return "" if sees_all(asked.who, EVERY_TRACE) else asked.who.identity


async def _newest(asked: Asked) -> AsyncIterator[Kept]:
    """The newest traces that this credential may see, at most MOST_READ."""
    records, owner = records_of(asked.services), "" if asked.who.bound else _owner(asked)
    for offset in range(0, MOST_READ, CHUNK):
        wanted = RecordFilter(face=FACE, kind=KIND, owner=owner, limit=CHUNK, offset=offset)
        rows = await records.find_records(wanted)
        async for kept in _with_questions(asked.services, rows):
            yield kept
        if len(rows) < CHUNK:
            return


async def _with_questions(services: Services, rows: Sequence[Record]) -> AsyncIterator[Kept]:
    for record in rows:
        if record.body["effect"] != "ask":
            yield Kept(record=record)
            continue
        with contextlib.suppress(NoSuchRequest):  # its question went with the history of its age
            yield Kept(record=record, request=await services.gate.request(record.link))


async def show(asked: Asked) -> Response:
    """One trace with its events."""
    return JsonAnswer(await trace_shape(asked.services, await _one(asked), events=True))


async def _one(asked: Asked) -> Kept:
    reference = str(asked.request.path_params["id"])
    kept = await found(asked.services, reference)
    check_sees(asked.who, kept, EVERY_TRACE, reference)
    return kept


async def verify(asked: Asked) -> Response:
    """Whether the history of one trace is as it was written, in the words of both of SidClaw's pages.

    It checks the events of this trace; `airlock audit verify` walks the whole chain.
    """
    kept = await _one(asked)
    events = await chain_of(asked.services, kept)
    broken = next((event for event in events if not audit.holds(event)), None)
    sound = sum(audit.holds(event) for event in events)
    return JsonAnswer(
        {
            "trace_id": str(asked.request.path_params["id"]),
            "valid": broken is None,
            "verified": broken is None,
            "event_count": len(events),
            "total_events": len(events),
            "verified_events": sound,
            "broken_at": None if broken is None else str(broken.seq),
        }
    )


async def export(asked: Asked) -> Response:
    """All traces that this credential sees; 413 where there are too many to read at once."""
    form = one(asked.request.query_params, "format") or "json"
    if form not in {"json", "csv"}:
        raise UsageError("`format` must be `json` or `csv`")
    filtered, rows = _wanted(asked), list[dict[str, Any]]()
    if await records_of(asked.services).count_records(RecordFilter(face=FACE, kind=KIND)) > MOST_READ:
        raise HttpError(413, f"more than {MOST_READ} traces: read them page by page")
    async for kept in _newest(asked):
        if filtered is None or filtered(kept):
            rows.append(await trace_shape(asked.services, kept))
    return JsonAnswer({"data": rows}) if form == "json" else _csv(rows)


def _csv(rows: list[dict[str, Any]]) -> Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
    return Response(text.getvalue(), headers=SECURITY_HEADERS, media_type="text/csv")


def _cell(value: Any) -> Any:
    """A spreadsheet would run what begins like a formula: an agent chose the text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


FILTERS = (
    Parameter(name="agent_id", place="query", schema=schemas.TEXT, description="Only this agent's."),
    Parameter(
        name="outcome",
        place="query",
        schema=schemas.or_empty({"type": "string", "enum": list(OUTCOMES)}),
        description="Only those that came to this.",
    ),
)
FORMAT = Parameter(
    name="format",
    place="query",
    schema=schemas.or_empty({"type": "string", "enum": ["json", "csv"]}),
    description="`json`, the usual one, or `csv`.",
)
VERIFIED = schemas.record(
    {
        "trace_id": schemas.TEXT,
        "valid": schemas.BOOLEAN,
        "verified": schemas.BOOLEAN,
        "event_count": schemas.COUNT,
        "total_events": schemas.COUNT,
        "verified_events": schemas.COUNT,
        "broken_at": schemas.TEXT_OR_NULL,
    }
)

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/traces",
        summary="Every evaluation, newest first",
        scopes=SEE_TRACES,
        serve=listing,
        parameters=(*FILTERS, *page_parameters(USUAL, MOST)),
        error=ERROR,
        replies={
            200: page_reply(TRACE),
            400: MALFORMED,
        },
    ),
    Route(
        method="GET",
        path="/api/v1/traces/export",
        summary="All traces as JSON or CSV",
        scopes=EVERY_TRACE,
        serve=export,
        parameters=(*FILTERS, FORMAT),
        error=ERROR,
        replies={
            200: Reply("the traces", schemas.record({"data": schemas.listed(TRACE)})),
            400: MALFORMED,
            413: Reply("too many for one answer", ERROR),
        },
    ),
    Route(
        method="GET",
        path="/api/v1/traces/{id}",
        summary="One trace with its events",
        scopes=SEE_TRACES,
        serve=show,
        parameters=(ID,),
        error=ERROR,
        replies={200: Reply("the trace", TRACE), 404: NOT_FOUND},
    ),
    Route(
        method="GET",
        path="/api/v1/traces/{id}/verify",
        summary="Whether the history of one trace is as it was written",
        scopes=SEE_TRACES,
        serve=verify,
        parameters=(ID,),
        error=ERROR,
        replies={200: Reply("what was found", VERIFIED), 404: NOT_FOUND},
    ),
)
