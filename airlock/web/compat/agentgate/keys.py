"""AgentGate's `/api/keys`, and `/api/api-keys`, where its later clients look for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import NoSuchRequest, UsageError
from airlock.keyring import MOST_RATE, NAME, Wish
from airlock.views import moment
from airlock.web import schemas
from airlock.web.compat import query as read
from airlock.web.compat.agentgate import faults, shapes
from airlock.web.compat.agentgate.requests import MALFORMED, is_wrapped
from airlock.web.compat.agentgate.words import FACE, own_id
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.keys import keyring_of
from airlock.web.routes import Asked, Parameter, Reply, Route

MANAGE = frozenset({Scope.ADMIN, Scope.KEYS_MANAGE})
SCOPES = (
    Scope.ADMIN,
    Scope.REQUEST_CREATE,
    Scope.REQUEST_READ,
    Scope.REQUEST_DECIDE,
    Scope.WEBHOOK_MANAGE,
)
USUAL_RATE = 60


async def listing(asked: Asked) -> Response:
    """The keys that were made for this API and still work."""
    now = asked.services.clock()
    keys = [key for key in await keyring_of(asked.services).list() if key.face == FACE and key.works(now)]
    rows = [shapes.key_shape(key) for key in keys]
    return JsonAnswer({"keys": rows} if is_wrapped(asked) else rows)


async def create(asked: Asked) -> Response:
    """A new key; its text is in this answer and nowhere else."""
    wish = _wish(asked.body, asked.services.clock())
    wish.check(asked.services.config.agents)
    made = await keyring_of(asked.services).create(wish, by=asked.who.identity, within=asked.who.scopes)
    return JsonAnswer({**shapes.key_shape(made.key), "key": made.text}, 201)


async def revoke(asked: Asked) -> Response:
    """A key ends at once."""
    key_id = own_id("key", str(asked.request.path_params["id"]))
    try:
        ended = await keyring_of(asked.services).revoke(key_id, by=asked.who.identity)
    except NoSuchRequest:
        raise HttpError(404, "API key not found") from None
    return JsonAnswer({"success": True, "id": ended.id})


def _wish(body: Mapping[str, Any], now: int) -> Wish:
    scopes = body.get("scopes")
    if not isinstance(scopes, list) or not scopes or not all(scope in SCOPES for scope in scopes):
        raise UsageError(f"`scopes` must be a list out of {', '.join(SCOPES)}")
    usual = None if "rateLimit" in body else USUAL_RATE
    ends = read.text(body, "expiresAt", most=60)
    expires_at = moment(ends) if ends else None
    if expires_at is not None and expires_at <= now:
        raise UsageError("`expiresAt` must be in the future")
    return Wish(
        name=read.text(body, "name", most=100, required=True),
        scopes=frozenset(map(Scope, scopes)),
        agent=read.text(body, "agentId", most=200),
        rate=read.whole(body, "rateLimit", usual, least=1, most=MOST_RATE),
        face=FACE,
        owner=read.text(body, "owner", most=100),
        expires_at=expires_at,
    )


BODY = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": NAME},
        "scopes": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": list(SCOPES)}},
        "rateLimit": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": MOST_RATE,
            "description": f"requests a minute; {USUAL_RATE} unless given, null for Airlock's own limit",
        },
        "agentId": {"type": ["string", "null"], "description": "bind it to this agent of the config"},
        "owner": {"type": ["string", "null"], "description": "who answers for it"},
        "expiresAt": {"type": ["string", "null"], "format": "date-time"},
    },
    "required": ["name", "scopes"],
}


def _routes(path: str) -> tuple[Route, ...]:
    return (
        Route(
            method="GET",
            path=path,
            summary="The working keys of this API (AgentGate)",
            scopes=MANAGE,
            people=True,
            serve=listing,
            error=faults.SHAPE,
            replies={200: Reply("the keys", shapes.either("keys", shapes.KEY))},
        ),
        Route(
            method="POST",
            path=path,
            summary="Make a key; its text is shown this once (AgentGate)",
            scopes=MANAGE,
            people=True,
            serve=create,
            body=BODY,
            error=faults.SHAPE,
            replies={201: Reply("made", shapes.NEW_KEY), 400: MALFORMED},
        ),
        Route(
            method="DELETE",
            path=f"{path}/{{id}}",
            summary="End a key at once (AgentGate)",
            scopes=MANAGE,
            people=True,
            serve=revoke,
            parameters=(
                Parameter(name="id", place="path", schema=schemas.TEXT, description="The key's id."),
            ),
            error=faults.SHAPE,
            replies={200: Reply("ended", shapes.DONE), 404: Reply("no such key works", faults.SHAPE)},
        ),
    )


ROUTES = (*_routes("/api/keys"), *_routes("/api/api-keys"))
