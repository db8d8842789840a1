"""Presence: which enforcers live. A heartbeat counts for ten minutes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from airlock.errors import Conflict
from airlock.ports_faces import Record, RecordFilter
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.asking import records_of
from airlock.web.compat.harp.faults import ERROR, MALFORMED, NOT_FOUND, refused
from airlock.web.compat.harp.pairing import owner_of
from airlock.web.compat.harp.words import (
    DECIDE,
    FACE,
    ID,
    SUBMIT,
    TEXT,
    TEXT_OR_NULL,
    identifier,
    name,
    wanted,
)
from airlock.web.errors import JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route

if TYPE_CHECKING:
    from airlock.web.services import Services

KIND = "presence"
LIFE_MS = 600_000
MOST = 1_000
MOST_OF_ONE = 100


async def heartbeat(asked: Asked) -> Response:
    """An enforcer lives."""
    services, body = asked.services, asked.body
    enforcer = identifier(body.get("enforcerId"), "enforcerId")
    said = {
        "enforcer": enforcer,
        "label": name(body, "enforcerLabel"),
        "workspace": name(body, "workspaceName"),
    }
    await _beat(services, owner_of(services, asked.who), enforcer, said)
    return JsonAnswer({"status": "ok", "enforcerId": enforcer, "expiresAt": iso(services.clock() + LIFE_MS)})


async def _beat(services: Services, owner: str, enforcer: str, said: dict[str, Any]) -> None:
    records, now = records_of(services), services.clock()
    key = hashlib.sha256(f"{owner}\0{enforcer}".encode()).hexdigest()
    old = await records.get_record(FACE, KIND, key)
    record = Record(
        face=FACE,
        kind=KIND,
        id=key,
        link=enforcer,
        owner=owner,
        version=1 if old is None else old.version + 1,
        created_at=now,
        updated_at=now,
        body=said,
    )
    drop = await _oldest(services, owner) if old is None else []
    try:
        await records.put_records([record], drop=drop)
    except Conflict:
        return  # another heartbeat of the same moment


async def _oldest(services: Services, owner: str) -> list[Record]:
    """What makes room for another enforcer of one key."""
    wanted = RecordFilter(face=FACE, kind=KIND, owner=owner, oldest_first=True, limit=MOST_OF_ONE)
    held = await records_of(services).find_records(wanted)
    return held[:1] if len(held) == MOST_OF_ONE else []


async def everyone(asked: Asked) -> Response:
    """The enforcers that live, the latest first."""
    return JsonAnswer({"enforcers": [_shape(one) for one in await _living(asked.services, None)]})


async def one_enforcer(asked: Asked) -> Response:
    """One of them."""
    enforcer = str(asked.request.path_params["enforcerId"])
    found = await _living(asked.services, (enforcer,))
    if not found:
        raise refused(404, "not_found", "no such enforcer is present")
    return JsonAnswer(_shape(found[0]))


async def _living(services: Services, links: tuple[str, ...] | None) -> list[Record]:
    now = services.clock()
    wanted = RecordFilter(face=FACE, kind=KIND, links=links, limit=MOST)
    found = await records_of(services).find_records(wanted)
    return [one for one in found if now - one.updated_at < LIFE_MS]


def _shape(record: Record) -> dict[str, Any]:
    return {
        "enforcerId": record.body["enforcer"],
        "enforcerDeviceId": record.body["enforcer"],
        "status": "online",
        "transport": "poll",
        "enforcerLabel": record.body["label"],
        "workspaceName": record.body["workspace"],
        "lastSeenAt": iso(record.updated_at),
        "expiresAt": iso(record.updated_at + LIFE_MS),
    }


ENFORCER = schemas.record(
    {
        "enforcerId": TEXT,
        "enforcerDeviceId": TEXT,
        "status": {"const": "online"},
        "transport": {"const": "poll"},
        "enforcerLabel": TEXT,
        "workspaceName": TEXT,
        "lastSeenAt": schemas.TIME,
        "expiresAt": schemas.TIME,
    }
)

ROUTES = (
    Route(
        method="POST",
        path="/v1/presence/heartbeat",
        summary="Say that an enforcer lives",
        scopes=SUBMIT,
        serve=heartbeat,
        body=wanted({"enforcerId": ID}, workspaceName=TEXT_OR_NULL, enforcerLabel=TEXT_OR_NULL),
        error=ERROR,
        replies={
            200: Reply(
                "noted",
                schemas.record({"status": {"const": "ok"}, "enforcerId": TEXT, "expiresAt": schemas.TIME}),
            ),
            400: MALFORMED,
        },
    ),
    Route(
        method="GET",
        path="/v1/presence/enforcers",
        summary="The enforcers that live",
        scopes=DECIDE,
        people=True,
        serve=everyone,
        error=ERROR,
        replies={200: Reply("they", schemas.record({"enforcers": schemas.listed(ENFORCER)}))},
    ),
    Route(
        method="GET",
        path="/v1/presence/enforcers/{enforcerId}",
        summary="One enforcer that lives",
        scopes=DECIDE,
        people=True,
        serve=one_enforcer,
        parameters=(
            Parameter(name="enforcerId", place="path", schema=TEXT, description="The enforcer's id."),
        ),
        error=ERROR,
        replies={200: Reply("it", ENFORCER), 404: NOT_FOUND},
    ),
)
