"""AgentGate: `/api/requests`, `/api/policies`, `/api/keys` and `/api/webhooks`, for its existing clients."""

from __future__ import annotations

from airlock.config import FaceConfig
from airlock.web.compat.agentgate import announcing, faults, hooks, keys, policies, requests
from airlock.web.compat.face import Face
from airlock.web.limiting import seconds_headers


def make_face(config: FaceConfig) -> Face:
    """The face, for a gateway whose config switches it on."""
    return Face(
        name=config.name,
        routes=(*requests.ROUTES, *policies.ROUTES, *keys.ROUTES, *hooks.ROUTES),
        claims=("/api/",),
        render=faults.render,
        limits=seconds_headers,
        announce=announcing.announce,
        sign=announcing.sign,
        retries=(2_000, 4_000),
        delivery_seconds=5.0,
        events=announcing.EVENTS,
    )
