"""SidClaw's webhooks: eight events, an HMAC of the raw body, five attempts. The queue behind it is shared."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airlock.ids import make_id
from airlock.views import iso
from airlock.web.compat.face import Happening, News, Parcel
from airlock.web.compat.sidclaw.shapes import approval_shape, around
from airlock.web.compat.sidclaw.words import FACE, dashed
from airlock.web.compat.webhooks import publish

if TYPE_CHECKING:
    from airlock.web.services import Services

EVENTS = (
    "approval.requested",
    "approval.approved",
    "approval.denied",
    "approval.expired",
    "trace.completed",
    "agent.suspended",
    "agent.revoked",
    "policy.updated",
)
TENANT = "airlock"
MINUTE = 60_000
RETRIES = (MINUTE, 5 * MINUTE, 30 * MINUTE, 120 * MINUTE)
"""The pauses after the first four of five attempts."""

_WORD = {
    "opened": "approval.requested",
    "approved": "approval.approved",
    "denied": "approval.denied",
    "expired": "approval.expired",
    "cancelled": "approval.expired",
}


async def announce(services: Services, happening: Happening) -> Sequence[News]:
    """What webhooks are told of a question, whatever road it came on or was decided on."""
    request = happening.request
    shape = approval_shape(request, await around(services, [request]), people=False)
    event = _WORD[happening.what]
    return (_news(event, f"{request.id} {happening.what} {happening.at}", happening.at, shape),)


async def tell(services: Services, event: str, key: str, data: Mapping[str, Any]) -> None:
    """Queue an event that is about no question for every webhook that wants it."""
    now = services.clock()
    await publish(services, FACE, [_news(event, f"{event} {key} {now}", now, data)])


def _news(event: str, key: str, at: int, data: Mapping[str, Any]) -> News:
    payload = {
        "id": dashed(hashlib.sha256(f"{event}\0{key}".encode()).hexdigest()[:32]),
        "event": event,
        "timestamp": iso(at),
        "tenant_id": TENANT,
        "data": dict(data),
    }
    return News(event=event, key=f"{event} {key}", payload=payload)


def test_news(services: Services) -> News:
    """A delivery that only says that deliveries arrive."""
    return _news("test", make_id(), services.clock(), {"message": "a test from airlock"})


def sign(parcel: Parcel) -> Mapping[str, str]:
    """The headers that SidClaw's verifier reads: the HMAC is of the body alone, as its clients compute it."""
    mark = hmac.new(parcel.secret.encode(), parcel.body, hashlib.sha256).hexdigest()
    return {
        "X-Webhook-ID": dashed(parcel.delivery),
        "X-Webhook-Timestamp": iso(parcel.at),
        "X-Webhook-Signature": f"sha256={mark}",
    }


def new_secret() -> str:
    """64 hexadecimal digits."""
    return secrets.token_hex(32)
