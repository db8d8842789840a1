"""What clients tell of a trace afterwards: how it came out, and, later, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import NoSuchRequest, UsageError
from airlock.model import Outcome, Status
from airlock.ports import Draft
from airlock.web.compat.asking import Kept, asker, records_of, report
from airlock.web.compat.query import mapping, text, whole
from airlock.web.compat.sidclaw.faults import ERROR, MALFORMED, NOT_FOUND, SETTLED
from airlock.web.compat.sidclaw.polling import ID
from airlock.web.compat.sidclaw.seeing import found
from airlock.web.compat.sidclaw.traceshapes import SPENT, trace_shape
from airlock.web.compat.sidclaw.webhooks import tell
from airlock.web.compat.sidclaw.words import FACE
from airlock.web.errors import SECURITY_HEADERS
from airlock.web.routes import Asked, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

ERRORS = ("timeout", "permission", "not_found", "runtime")
OUTCOME_WORDS = {"success": Outcome.SUCCESS, "error": Outcome.ERROR}
REPORT = frozenset({Scope.TRACES_WRITE, Scope.EVALUATE})
MOST_COUNT = 2**53
MOST_COST = 10**9


async def outcome(asked: Asked) -> Response:
    """How it came out, told once; the same again is as good as once, for clients that lost the answer."""
    services, who = asked.services, asked.who
    kept = await _own(asked)
    status = text(asked.body, "status", most=20, required=True)
    if status not in OUTCOME_WORDS:
        raise UsageError("`status` must be `success` or `error`")
    told, spent = services.gate.masked(_told(asked.body)), _spent(asked.body)
    before = kept.record.body
    if before.get("outcome") == status and before.get("told") == told:
        return _done()
    details = {**told, **spent} | ({} if allowed(kept) else {"ungoverned": True})
    following = await report(services, who, kept, OUTCOME_WORDS[status], details, told=told, spent=spent)
    await tell(services, "trace.completed", following.record.id, await trace_shape(services, following))
    return _done()


async def telemetry(asked: Asked) -> Response:
    """Tokens and cost that became known later."""
    services, kept = asked.services, await _own(asked)
    spent = {**kept.record.body.get("spent", {}), **_spent(asked.body)}
    summary = text(asked.body, "outcome_summary")
    told = {**kept.record.body.get("told", {}), **({"outcome_summary": summary} if summary else {})}
    record = kept.record
    following = replace(
        record,
        version=record.version + 1,
        updated_at=services.clock(),
        body={**record.body, "spent": spent, "told": told},
    )
    await records_of(services).put_records([following], events=[_event(services, kept, asked, spent)])
    return _done()


def allowed(kept: Kept) -> bool:
    """False when it ran although nobody had allowed it."""
    if kept.request is not None:
        return kept.request.status is Status.USED
    return bool(kept.record.body["effect"] == "allow")


async def _own(asked: Asked) -> Kept:
    """The trace, for the one that made it; NoSuchRequest for all others."""
    reference = str(asked.request.path_params["id"])
    kept = await found(asked.services, reference)
    if not asker(asked.who, kept.record):
        raise NoSuchRequest(f"no trace `{reference[:64]}` of yours")
    return kept


def _told(body: Mapping[str, Any]) -> dict[str, Any]:
    kind = text(body, "error_classification", most=40)
    if kind and kind not in ERRORS:
        raise UsageError(f"`error_classification` must be one of {', '.join(ERRORS)}")
    told: dict[str, Any] = {
        "outcome_summary": text(body, "outcome_summary"),
        "error_classification": kind,
        "exit_code": whole(body, "exit_code", None, least=-(2**31), most=2**32),
        "metadata": mapping(body, "metadata"),
    }
    return {name: value for name, value in told.items() if value not in ("", None, {})}


def _spent(body: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: whole(body, name, None, least=0, most=MOST_COUNT) for name in SPENT[:3]}
    spent = {**counts, "model": text(body, "model", most=200) or None, "cost_estimate": _cost(body)}
    return {name: value for name, value in spent.items() if value is not None}


def _cost(body: Mapping[str, Any]) -> float | int | None:
    value = body.get("cost_estimate")
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= MOST_COST:
        raise UsageError(f"`cost_estimate` must be a number from 0 to {MOST_COST}")
    return value


def _event(services: Services, kept: Kept, asked: Asked, spent: Mapping[str, Any]) -> Draft:
    return Draft(
        id=services.make_id(),
        kind="call.telemetry",
        at=services.clock(),
        call_id=kept.record.body["call"],
        request_id=kept.record.link,
        agent=kept.record.body["agent"],
        tool=f"{FACE}/{kept.record.body['name']}",
        body={"by": asked.who.identity, **spent},
    )


def _done() -> Response:
    return Response(status_code=204, headers=SECURITY_HEADERS)


_COUNT = {"type": ["integer", "null"], "minimum": 0, "maximum": MOST_COUNT}
_TEXT = {"type": ["string", "null"], "maxLength": 200}
_SPENT = {
    "tokens_in": _COUNT,
    "tokens_out": _COUNT,
    "tokens_cache_read": _COUNT,
    "model": _TEXT,
    "cost_estimate": {"type": ["number", "null"], "minimum": 0, "maximum": MOST_COST},
    "outcome_summary": {"type": ["string", "null"], "maxLength": 2_000},
}
OUTCOME_BODY = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": list(OUTCOME_WORDS)},
        "metadata": {"type": ["object", "null"]},
        "error_classification": {"enum": [*ERRORS, None]},
        "exit_code": {"type": ["integer", "null"], "minimum": -(2**31), "maximum": 2**32},
        **_SPENT,
    },
    "required": ["status"],
}
_REPLIES = {204: Reply("recorded"), 400: MALFORMED, 404: NOT_FOUND, 409: SETTLED}

ROUTES = (
    Route(
        method="POST",
        path="/api/v1/traces/{id}/outcome",
        summary="How it came out; told again in the same words it is 204 too, in others 409",
        scopes=REPORT,
        serve=outcome,
        parameters=(ID,),
        body=OUTCOME_BODY,
        error=ERROR,
        replies=_REPLIES,
    ),
    Route(
        method="PATCH",
        path="/api/v1/traces/{id}/telemetry",
        summary="Tokens and cost that became known later",
        scopes=REPORT,
        serve=telemetry,
        parameters=(ID,),
        body={"type": "object", "properties": _SPENT},
        error=ERROR,
        replies=_REPLIES,
    ),
)
