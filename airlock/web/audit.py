"""History over REST: one entry a call, or the raw events of the chain."""

from __future__ import annotations

import re

from starlette.datastructures import QueryParams
from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import UsageError
from airlock.ports import AuditFilter
from airlock.views import entry_shape, event_shape, moment
from airlock.web import schemas
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.queries import one
from airlock.web.routes import Asked, Parameter, Reply, Route

MOST = 10_000
FARTHEST = 10**15 - 1
USUAL = 100

_NUMBER = re.compile(r"[0-9]{1,5}\Z", re.ASCII)
_LOST_PLUS = re.compile(r" (?=\d\d:?\d\d\Z)", re.ASCII)


async def audit(asked: Asked) -> Response:
    """Entries, newest first; with `view=events` the raw events in their order."""
    query = asked.request.query_params
    wanted = _filter(query, asked.who.agent)
    view = one(query, "view") or "calls"
    after = _number(query, "after", 0, 0, None)
    store = asked.services.gate.store
    if view == "events":
        events = await store.events(after=after, limit=wanted.limit, wanted=wanted)
        return JsonAnswer([event_shape(event) for event in events])
    if view != "calls":
        raise UsageError("`view` must be `calls` or `events`")
    return JsonAnswer([entry_shape(entry) for entry in await store.entries(wanted)])


def _number(query: QueryParams, name: str, usual: int, least: int, most: int | None) -> int:
    text = one(query, name)
    if not text:
        return usual
    limit = FARTHEST if most is None else most
    if not (_NUMBER.match(text) if most else text.isascii() and text.isdigit() and len(text) < 16):
        raise UsageError(f"`{name}` must be a whole number from {least} to {limit}")
    value = int(text)
    if not least <= value <= limit:
        raise UsageError(f"`{name}` must be a whole number from {least} to {limit}")
    return value


def _since(query: QueryParams) -> int | None:
    text = one(query, "since")
    # A `+` that was not percent-encoded arrives as a space.
    return moment(_LOST_PLUS.sub("+", text)) if text else None


def _filter(query: QueryParams, bound: str) -> AuditFilter:
    agent = one(query, "agent")
    if bound and agent not in {"", bound}:
        raise HttpError(403, f"a credential of agent `{bound}` sees only its own history")
    return AuditFilter(
        agent=bound or agent,
        tool=one(query, "tool"),
        since=_since(query),
        limit=_number(query, "limit", USUAL, 1, MOST),
    )


ROUTES = (
    Route(
        method="GET",
        path="/audit",
        summary="What was decided and how it came out, newest first",
        description="An empty parameter is as good as none. A credential bound to an agent sees its own.",
        scopes=frozenset({Scope.AUDIT_READ}),
        serve=audit,
        parameters=(
            Parameter(name="agent", place="query", schema=schemas.TEXT, description="Only this agent's."),
            Parameter(
                name="tool", place="query", schema=schemas.TEXT, description="Only this tool, exactly."
            ),
            Parameter(
                name="since",
                place="query",
                schema=schemas.or_empty(schemas.TIME),
                description="At or after this ISO 8601 time.",
            ),
            Parameter(
                name="limit",
                place="query",
                schema=schemas.or_empty({"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL}),
                description="At most so many.",
            ),
            Parameter(
                name="view",
                place="query",
                schema={"type": "string", "enum": ["calls", "events", ""], "default": "calls"},
                description="One entry a call, or the raw events of the chain, oldest first.",
            ),
            Parameter(
                name="after",
                place="query",
                schema=schemas.or_empty({"type": "integer", "minimum": 0, "maximum": FARTHEST}),
                description="With `view=events`: only those with a larger sequence number.",
            ),
        ),
        replies={
            200: Reply(
                "entries, or events",
                {"oneOf": [schemas.listed(schemas.ENTRY), {**schemas.listed(schemas.EVENT), "minItems": 1}]},
            ),
            400: Reply("a parameter is malformed", schemas.ERROR),
        },
    ),
)
