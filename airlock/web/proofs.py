"""Proof packs over REST: all that shows what happened to one call, whatever road it came on."""

from __future__ import annotations

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import NoSuchRequest
from airlock.model import JsonObject
from airlock.proof.pack import FORMAT, prove, signer
from airlock.web import schemas
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route


async def proof(asked: Asked) -> Response:
    """The pack of the call, decision or question with this id."""
    return JsonAnswer(await pack_of(asked, str(asked.request.path_params["id"])))


async def pack_of(asked: Asked, reference: str) -> JsonObject:
    """A signed pack; NoSuchRequest when history has no such call, HttpError 503 where no texts are kept."""
    services = asked.services
    if services.records is None:
        raise HttpError(503, "this database keeps no records")
    try:
        return await prove(
            services.gate.store,
            services.records,
            signer(services.gate),
            reference,
            by=asked.who.identity,
            now=services.clock(),
        )
    except NoSuchRequest:
        raise NoSuchRequest(f"no call `{reference[:64]}` is in history") from None


_OBJECT = {"type": "object"}
PACK = schemas.record(
    {
        "format": {"const": FORMAT},
        "made_at": schemas.TIME,
        "made_by": schemas.TEXT,
        "airlock": schemas.TEXT,
        "action": _OBJECT,
        "decisions": schemas.listed(_OBJECT),
        "approvals": schemas.listed(_OBJECT),
        "outcome": {"type": ["object", "null"]},
        "policies": schemas.listed(schemas.record({"revision": schemas.TEXT, "text": schemas.TEXT_OR_NULL})),
        "consulted": schemas.listed(
            schemas.record({"name": schemas.TEXT, "digest": schemas.TEXT, "text": schemas.TEXT_OR_NULL})
        ),
        "chain": _OBJECT,
        "signature": schemas.record(
            dict.fromkeys(("algorithm", "key_id", "public_key", "value"), schemas.TEXT)
        ),
    }
)
CHECKED = "Checked by `airlock audit verify`, or without Airlock (docs/proof-packs.md)."

ROUTES = (
    Route(
        method="GET",
        path="/audit/{id}/proof",
        summary="All that shows what happened to one call, signed",
        description=CHECKED,
        scopes=frozenset({Scope.AUDIT_READ}),
        people=True,
        serve=proof,
        parameters=(
            Parameter(
                name="id",
                place="path",
                schema=schemas.TEXT,
                description="The id of a call, of its decision as `GET /audit` gives it, or of its question.",
            ),
        ),
        replies={200: Reply("the pack", PACK), 404: Reply("history has no such call", schemas.ERROR)},
    ),
)
