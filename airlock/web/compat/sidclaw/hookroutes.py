"""SidClaw's webhooks over REST: register (the secret is shown once), change, try, see what was delivered."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import NoSuchRequest, UsageError
from airlock.ports_faces import Record
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.query import flag, page, page_parameters, text
from airlock.web.compat.sidclaw.approvals import MOST, USUAL
from airlock.web.compat.sidclaw.faults import ERROR, MALFORMED, NOT_FOUND, SETTLED
from airlock.web.compat.sidclaw.polling import ID
from airlock.web.compat.sidclaw.webhooks import EVENTS, new_secret, test_news
from airlock.web.compat.sidclaw.words import FACE, dashed, plain
from airlock.web.compat.stored import change, drop, kept, one_kept
from airlock.web.compat.webhooks import (
    EVERYTHING,
    KIND,
    MOST_URL,
    check_events,
    check_url,
    deliveries,
    enqueue,
    register,
)
from airlock.web.errors import SECURITY_HEADERS, JsonAnswer
from airlock.web.routes import Asked, Reply, Route

MANAGE = frozenset({Scope.WEBHOOK_MANAGE})


async def listing(asked: Asked) -> Response:
    """Every webhook, without its secret."""
    return JsonAnswer({"data": [hook_shape(one) for one in await kept(asked.services, FACE, KIND)]})


async def create(asked: Asked) -> Response:
    """A new webhook; its secret is in this answer and nowhere else."""
    secret = new_secret()
    record = await register(
        asked.services,
        FACE,
        url=check_url(text(asked.body, "url", most=MOST_URL, required=True)),
        events=check_events(asked.body.get("events"), EVENTS),
        secret=secret,
        by=asked.who.identity,
        beside={"description": text(asked.body, "description")},
    )
    return JsonAnswer({**hook_shape(record), "secret": secret}, 201)


async def show(asked: Asked) -> Response:
    """One webhook."""
    return JsonAnswer(hook_shape(await _one(asked)))


async def update(asked: Asked) -> Response:
    """Another address, other events, or off; the secret stays."""
    old, sent = await _one(asked), asked.body
    body = dict(old.body)
    if "url" in sent:
        body["url"] = check_url(text(sent, "url", most=MOST_URL, required=True))
    if "events" in sent:
        body["events"] = check_events(sent["events"], EVENTS)
    if "description" in sent:
        body["description"] = text(sent, "description")
    body["enabled"] = flag(sent, "is_active", usual=bool(body["enabled"]))
    told = {"url": body["url"].partition("?")[0], "events": body["events"], "enabled": body["enabled"]}
    made = await change(asked.services, old, body, by=asked.who.identity, told=told)
    return JsonAnswer(hook_shape(made))


async def delete(asked: Asked) -> Response:
    """Tell it nothing any more."""
    await drop(asked.services, await _one(asked), by=asked.who.identity)
    return Response(status_code=204, headers=SECURITY_HEADERS)


async def delivered(asked: Asked) -> Response:
    """What was sent to it, or is still to be, newest first."""
    wanted = page(asked.request.query_params, usual=USUAL, most=MOST)
    rows = await deliveries(asked.services, await _one(asked), wanted.limit, wanted.offset)
    return JsonAnswer({"data": [delivery_shape(row) for row in rows]})


async def test(asked: Asked) -> Response:
    """Queue a delivery that only says that deliveries arrive."""
    hook = await _one(asked)
    if not hook.body["enabled"]:
        raise UsageError("the webhook is off: set `is_active` first")
    await enqueue(asked.services, [(hook, test_news(asked.services))])
    return JsonAnswer({"queued": True}, 202)


async def _one(asked: Asked) -> Record:
    try:
        return await one_kept(asked.services, FACE, KIND, plain(str(asked.request.path_params["id"])))
    except NoSuchRequest:
        raise NoSuchRequest("no webhook with this id") from None


def hook_shape(hook: Record) -> dict[str, Any]:
    """One webhook on the wire: never its secret."""
    return {
        "id": dashed(hook.id),
        "url": hook.body["url"],
        "events": hook.body["events"],
        "description": hook.body.get("description", ""),
        "is_active": hook.body["enabled"],
        "created_at": iso(hook.created_at),
        "updated_at": iso(hook.updated_at),
    }


def delivery_shape(row: Record) -> dict[str, Any]:
    """One delivery on the wire."""
    at = row.body["delivered_at"]
    return {
        "id": dashed(row.id),
        "event": row.body["event"],
        "status": row.body["state"],
        "attempts": row.body["attempts"],
        "http_status": row.body["status"],
        "error": row.body["error"] or None,
        "created_at": iso(row.created_at),
        "delivered_at": None if at is None else iso(at),
        "next_attempt_at": None if row.due_at is None else iso(row.due_at),
    }


_EVENTS = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "string", "enum": [*EVENTS, EVERYTHING]},
}
_URL = {
    "type": "string",
    "minLength": 1,
    "maxLength": MOST_URL,
    "format": "uri",
    "pattern": r"^https://[a-z]{1,20}\.example$",
}
BODY_FIELDS = {
    "url": _URL,
    "events": _EVENTS,
    "description": {"type": ["string", "null"], "maxLength": 2_000},
}
HOOK = schemas.record(
    {
        "id": schemas.TEXT,
        "url": schemas.TEXT,
        "events": schemas.TEXTS,
        "description": schemas.TEXT,
        "is_active": schemas.BOOLEAN,
        "created_at": schemas.TIME,
        "updated_at": schemas.TIME,
    }
)
NEW_HOOK = schemas.record({**HOOK["properties"], "secret": schemas.TEXT})
DELIVERY = schemas.record(
    {
        "id": schemas.TEXT,
        "event": schemas.TEXT,
        "status": {"type": "string", "enum": ["pending", "delivered", "failed"]},
        "attempts": schemas.COUNT,
        "http_status": schemas.COUNT_OR_NULL,
        "error": schemas.TEXT_OR_NULL,
        "created_at": schemas.TIME,
        "delivered_at": schemas.TIME_OR_NULL,
        "next_attempt_at": schemas.TIME_OR_NULL,
    }
)
_ONE = {200: Reply("the webhook", HOOK), 400: MALFORMED, 404: NOT_FOUND, 409: SETTLED}
_PATH = "/api/v1/webhooks/{id}"


def _route(method: str, path: str, summary: str, serve: Any, replies: Any, **more: Any) -> Route:
    return Route(
        method=method,
        path=path,
        summary=summary,
        scopes=MANAGE,
        people=True,
        serve=serve,
        error=ERROR,
        replies=replies,
        parameters=(*((ID,) if "{id}" in path else ()), *more.pop("parameters", ())),
        **more,
    )


def _data(schema: schemas.Schema) -> schemas.Schema:
    return schemas.record({"data": schemas.listed(schema)})


ROUTES = (
    _route("GET", "/api/v1/webhooks", "Every webhook", listing, {200: Reply("them", _data(HOOK))}),
    _route(
        "POST",
        "/api/v1/webhooks",
        "Register a webhook; its secret is shown this once",
        create,
        {201: Reply("made", NEW_HOOK), 400: MALFORMED, 409: SETTLED},
        body={"type": "object", "properties": BODY_FIELDS, "required": ["url", "events"]},
    ),
    _route("GET", _PATH, "One webhook", show, _ONE),
    _route(
        "PATCH",
        _PATH,
        "Change a webhook",
        update,
        _ONE,
        body={"type": "object", "properties": {**BODY_FIELDS, "is_active": schemas.BOOLEAN}},
    ),
    _route("DELETE", _PATH, "Tell it nothing any more", delete, {204: Reply("gone"), 404: NOT_FOUND}),
    _route(
        "GET",
        f"{_PATH}/deliveries",
        "What was delivered, newest first",
        delivered,
        {200: Reply("the deliveries", _data(DELIVERY)), 400: MALFORMED, 404: NOT_FOUND},
        parameters=page_parameters(USUAL, MOST),
    ),
    _route(
        "POST",
        f"{_PATH}/test",
        "Send a test",
        test,
        {202: Reply("queued", schemas.record({"queued": schemas.BOOLEAN})), 400: MALFORMED, 404: NOT_FOUND},
    ),
)
