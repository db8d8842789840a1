"""What every client asks first: is somebody there, how do I sign in, may I."""

from __future__ import annotations

from starlette.responses import Response

from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat.harp.faults import ERROR
from airlock.web.compat.harp.words import FACE, SEE, TEXT
from airlock.web.errors import JsonAnswer
from airlock.web.routes import Asked, Reply, Route, always

CONSENT = schemas.record({"status": {"const": "approved"}, "appId": TEXT, "appName": TEXT})


async def echo(asked: Asked) -> Response:
    """The gateway's clock, which is UTC."""
    now = iso(asked.services.clock())
    return JsonAnswer({"utc": now, "local": now, "timezone": "UTC", "offsetMinutes": 0})


async def discovery(_: Asked) -> Response:
    """Keys only: there is no identity provider to sign in at."""
    return JsonAnswer({"idp": {"baseUrl": "", "clientId": ""}, "auth": {"patSupported": True}})


async def consent(asked: Asked) -> Response:
    """The key itself is the consent: people made it, and end it with `airlock keys revoke`."""
    who = asked.who
    return JsonAnswer({"status": "approved", "appId": who.identity, "appName": who.agent or FACE})


ROUTES = (
    Route(
        method="GET",
        path="/echo",
        summary="The gateway's clock",
        public=always,
        serve=echo,
        error=ERROR,
        replies={
            200: Reply(
                "the time",
                schemas.record(
                    {"utc": TEXT, "local": TEXT, "timezone": TEXT, "offsetMinutes": {"type": "integer"}}
                ),
            )
        },
    ),
    Route(
        method="GET",
        path="/v1/integrations/discovery",
        summary="How to sign in: with a personal access token",
        public=always,
        serve=discovery,
        error=ERROR,
        replies={
            200: Reply(
                "no identity provider, tokens",
                schemas.record(
                    {
                        "idp": schemas.record({"baseUrl": TEXT, "clientId": TEXT}),
                        "auth": schemas.record({"patSupported": {"const": True}}),
                    }
                ),
            )
        },
    ),
    *(
        Route(
            method="GET",
            path=path,
            summary="Whether this app may act for the user: a key that works is the consent",
            scopes=SEE,
            serve=consent,
            error=ERROR,
            replies={200: Reply("it may", CONSENT)},
        )
        for path in ("/v1/consent/status", "/v1/consents/check")
    ),
)
