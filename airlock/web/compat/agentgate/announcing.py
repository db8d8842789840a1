"""What AgentGate's webhooks are told, and how that is signed.

{"event": "request.decided", "timestamp": "…", "data": {the request}}
X-AgentGate-Signature: sha256=HEX, HMAC-SHA-256 with the webhook's secret over TIMESTAMP.BODY
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airlock.model import JsonObject, Status
from airlock.views import iso
from airlock.web.compat.agentgate.shapes import request_shape
from airlock.web.compat.agentgate.words import FACE, status_of
from airlock.web.compat.asking import Kept, foreign
from airlock.web.compat.face import Happening, News, Parcel

if TYPE_CHECKING:
    from airlock.web.services import Services

EVENTS = (
    "request.created",
    "request.decided",
    "request.approved",
    "request.denied",
    "request.expired",
    "request.confirmed",
)


async def announce(services: Services, happening: Happening) -> Sequence[News]:
    """News of a question, on whatever road it was asked and decided."""
    request = happening.request
    if happening.what == "opened":
        request = replace(request, status=Status.PENDING, decided_at=None, decided_by="", note="")
    elif happening.what == "approved":
        request = replace(request, status=Status.APPROVED)
    record = happening.record or foreign(FACE, request)
    kept = Kept(record=record, request=request)
    shape = await request_shape(services, kept)
    return _news(shape, happening.at, created=happening.what == "opened")


def _news(shape: JsonObject, at: int, *, created: bool) -> Sequence[News]:
    status, identity = shape["status"], shape["id"]
    if created:
        return (_one("request.created", f"created:{identity}", shape, at),)
    if status == "expired":
        return (_one("request.expired", f"decided:{identity}", shape, at),)
    names = ("request.decided", f"request.{status}")
    return tuple(_one(name, f"decided:{identity}", shape, at) for name in names)


def _one(event: str, key: str, shape: JsonObject, at: int) -> News:
    return News(event=event, key=key, payload={"event": event, "timestamp": iso(at), "data": shape})


async def settled(services: Services, kept: Kept) -> Sequence[News]:
    """News of a request that the policies decided at once."""
    shape = await request_shape(services, kept)
    pending = {**shape, "status": "pending", "decidedAt": None, "decidedBy": None, "decisionReason": None}
    at = kept.record.created_at
    return (*_news(pending, at, created=True), *_news(shape, at, created=False))


async def confirmed(services: Services, kept: Kept) -> Sequence[News]:
    """News of an outcome."""
    assert status_of(kept) == "approved"  # noqa: S101 - only such can be confirmed
    shape = await request_shape(services, kept)
    key = f"confirmed:{shape['id']}"
    return (_one("request.confirmed", key, shape, kept.record.updated_at),)


def sign(parcel: Parcel) -> Mapping[str, str]:
    """The headers of one delivery. The moment is signed too, so that an old one cannot be sent again."""
    at = str(parcel.at // 1000)
    mark = hmac.new(parcel.secret.encode(), f"{at}.".encode() + parcel.body, hashlib.sha256).hexdigest()
    return {
        "X-AgentGate-Signature": f"sha256={mark}",
        "X-AgentGate-Timestamp": at,
        "X-AgentGate-Event": parcel.event,
        "X-AgentGate-Delivery": parcel.delivery,
    }
