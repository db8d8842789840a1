"""Is it alive, is it ready, how much waits, what was counted."""

from __future__ import annotations

from starlette.responses import Response

from airlock import __version__
from airlock.apikeys import Scope
from airlock.config import ServerConfig
from airlock.errors import StoreError
from airlock.views import iso
from airlock.web import schemas
from airlock.web.errors import SECURITY_HEADERS, JsonAnswer
from airlock.web.metrics import MEDIA, Family, exposition, gauge
from airlock.web.routes import Asked, Reply, Route, always
from airlock.web.services import Services

READ = frozenset({Scope.READ})


async def health(asked: Asked) -> Response:
    """All of it for whoever may read; `{status, timestamp}` for the public where the config says so."""
    services = asked.services
    now = services.clock()
    try:
        waiting = await services.waiting.count()
        status = "ok"
    except StoreError:
        waiting, status = 0, "degraded"
    code = 200 if status == "ok" else 503
    if asked.credential is None:
        return JsonAnswer({"status": status, "timestamp": iso(now)}, code)
    full = {
        "status": status,
        "uptime": uptime(services),
        "pending_hitl": waiting,
        "log_bytes": services.gate.store.log_bytes(),
        "version": __version__,
        "timestamp": iso(now),
    }
    return JsonAnswer({**services.facts(), **full}, code)


async def ready(asked: Asked) -> Response:
    """Whether calls are taken: no more while the process ends."""
    stopping = asked.services.closing.asked.is_set()
    return JsonAnswer({"status": "stopping" if stopping else "ready"}, 503 if stopping else 200)


async def metrics(asked: Asked) -> Response:
    """Counts for Prometheus."""
    services = asked.services
    log_bytes = services.gate.store.log_bytes()
    own = [
        gauge("airlock_uptime_seconds", "Seconds since the start.", [({}, uptime(services))]),
        gauge("airlock_parked_hooks", "Hooks that wait for a person.", [({}, services.closing.open)]),
        gauge("airlock_event_listeners", "Open event streams.", [({}, services.feed.listeners)]),
        gauge("airlock_log_bytes", "The size of the database's log.", [({}, log_bytes)]),
        await _pending(services),
    ]
    text = exposition([*services.metrics.families(), *own])
    return Response(text, headers=SECURITY_HEADERS, media_type=MEDIA)


async def _pending(services: Services) -> Family:
    counts = await services.waiting.by_agent()
    samples = [({"agent": agent}, float(count)) for agent, count in sorted(counts.items())]
    return gauge("airlock_pending_requests", "Requests that wait for a person.", samples)


def uptime(services: Services) -> int:
    """Whole seconds since the start."""
    return max(0, services.clock() - services.started_at) // 1000


def _public_health(server: ServerConfig) -> bool:
    return server.public_health


ROUTES = (
    Route(
        method="GET",
        path="/health",
        summary="Health, uptime, version, and how many requests wait",
        description=(
            "Without a credential it is 401, or `{status, timestamp}` where `server.public_health` is on."
        ),
        scopes=READ,
        public=_public_health,
        serve=health,
        replies={
            200: Reply("well", schemas.HEALTH),
            503: Reply("the database cannot be used", {"anyOf": [schemas.HEALTH, schemas.ERROR]}),
        },
    ),
    Route(
        method="GET",
        path="/ready",
        summary="Whether calls are taken",
        public=always,
        serve=ready,
        replies={
            200: Reply("ready", schemas.READY),
            503: Reply("the process ends", {"anyOf": [schemas.READY, schemas.ERROR]}),
        },
    ),
    Route(
        method="GET",
        path="/metrics",
        summary="Counts for Prometheus",
        scopes=READ,
        serve=metrics,
        replies={200: Reply("the exposition text", media="text/plain")},
    ),
)
