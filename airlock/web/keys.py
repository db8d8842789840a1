"""API keys over REST: list, make, end. Whoever makes one gives no more than they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock.apikeys import Scope, parse_scopes
from airlock.errors import UsageError
from airlock.keyring import MOST_RATE, NAME, Keyring, Wish, key_shape
from airlock.web import schemas
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

MANAGE = frozenset({Scope.KEYS_MANAGE})


async def listing(asked: Asked) -> Response:
    """Every key, without its text."""
    return JsonAnswer([key_shape(key) for key in await keyring_of(asked.services).list()])


async def create(asked: Asked) -> Response:
    """A new key; its text is in this answer and nowhere else."""
    who = asked.who
    wish = _wish(asked.body)
    wish.check(asked.services.config.agents)
    made = await keyring_of(asked.services).create(wish, by=who.identity, within=who.scopes)
    return JsonAnswer({**key_shape(made.key), "key": made.text}, 201)


async def revoke(asked: Asked) -> Response:
    """A key ends at once."""
    key = await keyring_of(asked.services).revoke(str(asked.request.path_params["id"]), by=asked.who.identity)
    return JsonAnswer(key_shape(key))


def keyring_of(services: Services) -> Keyring:
    """The keys of this database; HttpError 503 for one that keeps none."""
    if services.keys is None:
        raise HttpError(503, "this database keeps no keys")
    return Keyring(services.keys, clock=services.clock, make_id=services.make_id)


def _wish(body: Mapping[str, Any]) -> Wish:
    name, scopes, agent, rate = (body.get(member) for member in ("name", "scopes", "agent", "rate"))
    if not isinstance(name, str):
        raise UsageError("`name` must be text")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise UsageError("`scopes` must be a list of scope names")
    if agent is not None and not isinstance(agent, str):
        raise UsageError("`agent` must be text")
    if rate is not None and (not isinstance(rate, int) or isinstance(rate, bool)):
        raise UsageError("`rate` must be a whole number of requests a minute")
    return Wish(name=name, scopes=parse_scopes(scopes), agent=agent or "", rate=rate)


KEY_BODY = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": NAME},
        "scopes": {**schemas.SCOPES, "minItems": 1},
        "agent": {
            "type": ["string", "null"],
            "description": "bind it to this agent: then it decides nothing",
        },
        "rate": {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_RATE},
    },
    "required": ["name", "scopes"],
}

ROUTES = (
    Route(
        method="GET",
        path="/keys",
        summary="All API keys, revoked ones too",
        scopes=MANAGE,
        people=True,
        serve=listing,
        replies={200: Reply("the keys", schemas.listed(schemas.KEY))},
    ),
    Route(
        method="POST",
        path="/keys",
        summary="Make an API key; its text is shown this once",
        scopes=MANAGE,
        people=True,
        serve=create,
        body=KEY_BODY,
        replies={201: Reply("made", schemas.NEW_KEY)},
    ),
    Route(
        method="DELETE",
        path="/keys/{id}",
        summary="End an API key at once",
        scopes=MANAGE,
        people=True,
        serve=revoke,
        parameters=(Parameter(name="id", place="path", schema=schemas.TEXT, description="The key's id."),),
        replies={
            200: Reply("ended", schemas.KEY),
            404: Reply("no key with this id works", schemas.ERROR),
        },
    ),
)
