"""The HARP Integrations Gateway: encrypted artifacts, signed decisions.

An artifact is a request like any other: `harp/TYPE` in the policy, in the queue with a code, in history.
With `compat: {harp: {approver: true}}` Airlock is the other end of every pairing: it decrypts what a paired
client sends, shows it to people, and signs what they decide. Without, it relays what it cannot read.
"""

from __future__ import annotations

from starlette.datastructures import Headers

from airlock.config import FaceConfig
from airlock.web.compat.face import Face
from airlock.web.compat.harp import approvers, artifacts, dnd, exchanges, pairing, presence, public
from airlock.web.compat.harp.faults import render
from airlock.web.compat.harp.words import FACE

CLAIMS = (
    "/echo",
    "/v1/artifacts",
    "/v1/exchanges",
    "/v1/acks",
    "/v1/decisions",
    "/v1/approvers",
    "/v1/pairing",
    "/v1/presence",
    "/v1/policy/dnd",
    "/v1/consent",
    "/v1/integrations",
)


def credentials(headers: Headers) -> list[str]:
    """The user's token, `X-PAT` before `Authorization`; the app's secret where neither is sent."""
    if "x-pat" in headers:
        return [f"Bearer {one}" for one in headers.getlist("x-pat")]
    if "authorization" in headers:
        return headers.getlist("authorization")
    return [f"Bearer {one}" for one in headers.getlist("x-client-secret")]


def make_face(_: FaceConfig) -> Face:
    """The face."""
    return Face(
        name=FACE,
        routes=(
            *public.ROUTES,
            *artifacts.ROUTES,
            *exchanges.ROUTES,
            *approvers.ROUTES,
            *pairing.ROUTES,
            *presence.ROUTES,
            *dnd.ROUTES,
        ),
        claims=CLAIMS,
        render=render,
        credentials=credentials,
    )
