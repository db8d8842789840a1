"""AgentGate's `/api/webhooks`."""

from __future__ import annotations

import secrets

from starlette.responses import Response

from airlock.apikeys import Scope
from airlock.errors import NoSuchRequest, UsageError
from airlock.ports_faces import Record
from airlock.views import iso
from airlock.web import schemas
from airlock.web.compat import query as read
from airlock.web.compat import stored, webhooks
from airlock.web.compat.agentgate import faults, shapes
from airlock.web.compat.agentgate.announcing import EVENTS
from airlock.web.compat.agentgate.requests import CONFLICT, MALFORMED, is_wrapped
from airlock.web.compat.agentgate.words import FACE, own_id, public_id
from airlock.web.compat.asking import records_of
from airlock.web.compat.face import News
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.routes import Asked, Parameter, Reply, Route

MANAGE = frozenset({Scope.WEBHOOK_MANAGE})
MOST_SECRET = 256
USUAL_PAGE, MOST_PAGE = 50, 500


async def listing(asked: Asked) -> Response:
    """All webhooks, without their secrets."""
    rows = [shapes.webhook_shape(one) for one in await stored.kept(asked.services, FACE, webhooks.KIND)]
    return JsonAnswer({"webhooks": rows} if is_wrapped(asked) else rows)


async def create(asked: Asked) -> Response:
    """A new webhook; its secret is in this answer and nowhere else."""
    body = asked.body
    url = webhooks.check_url(read.text(body, "url", most=webhooks.MOST_URL, required=True))
    events = webhooks.check_events(body.get("events"), EVENTS)
    secret = read.text(body, "secret", most=MOST_SECRET) or secrets.token_hex(32)
    if not secret.isprintable():
        raise UsageError("`secret` must be printing characters")
    record = await webhooks.register(
        asked.services, FACE, url=url, events=events, secret=secret, by=asked.who.identity
    )
    return JsonAnswer({**shapes.webhook_shape(record), "secret": secret}, 201)


async def show(asked: Asked) -> Response:
    """One webhook, without its secret."""
    return JsonAnswer(shapes.webhook_shape(await _found(asked)))


async def drop(asked: Asked) -> Response:
    """A webhook that is told nothing more, not even what was queued for it."""
    record = await _found(asked)
    await stored.drop(asked.services, record, by=asked.who.identity)
    return JsonAnswer({"success": True, "id": public_id("wh", record.id)})


async def deliveries(asked: Asked) -> Response:
    """What was told to a webhook, newest first, and how that went."""
    record = await _found(asked)
    page = read.page(asked.request.query_params, usual=USUAL_PAGE, most=MOST_PAGE)
    found = await webhooks.deliveries(asked.services, record, page.limit, page.offset)
    rows = [shapes.delivery_shape(one) for one in found]
    return JsonAnswer({"deliveries": rows} if is_wrapped(asked) else rows)


async def test(asked: Asked) -> Response:
    """Queue a test event for a webhook, whatever it listens to."""
    services, record = asked.services, await _found(asked)
    now = services.clock()
    payload = {
        "event": "webhook.test",
        "timestamp": iso(now),
        "data": {"webhookId": public_id("wh", record.id)},
    }
    news = News(event="webhook.test", key=f"test:{services.make_id()}", payload=payload)
    await webhooks.enqueue(services, [(record, news)])
    (made, *_) = await webhooks.deliveries(services, record, 1)
    return JsonAnswer(shapes.delivery_shape(made))


async def replay(asked: Asked) -> Response:
    """Deliver the same body once more."""
    own = own_id("del", str(asked.request.path_params["id"]))
    found = await records_of(asked.services).get_record(FACE, webhooks.DELIVERY, own)
    if found is None:
        raise HttpError(404, "Delivery not found")
    return JsonAnswer(shapes.delivery_shape(await webhooks.replay(asked.services, found)))


async def _found(asked: Asked) -> Record:
    try:
        own = own_id("wh", str(asked.request.path_params["id"]))
        return await stored.one_kept(asked.services, FACE, webhooks.KIND, own)
    except NoSuchRequest:
        raise HttpError(404, "Webhook not found") from None


ID = Parameter(name="id", place="path", schema=schemas.TEXT, description="The webhook's id.")
BODY = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "minLength": 1, "maxLength": webhooks.MOST_URL},
        "events": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "enum": [*EVENTS, webhooks.EVERYTHING]},
        },
        "secret": {"type": ["string", "null"], "maxLength": MOST_SECRET},
    },
    "required": ["url", "events"],
}
NOT_FOUND = Reply("no such webhook", faults.SHAPE)


def _route(method: str, path: str, summary: str, **more: object) -> Route:
    return Route(
        method=method,
        path=f"/api/webhooks{path}",
        summary=f"{summary} (AgentGate)",
        scopes=MANAGE,
        people=True,
        error=faults.SHAPE,
        **more,  # type: ignore[arg-type]
    )


ROUTES = (
    _route(
        "GET",
        "",
        "All webhooks",
        serve=listing,
        replies={200: Reply("the webhooks", shapes.either("webhooks", shapes.WEBHOOK))},
    ),
    _route(
        "POST",
        "",
        "Register a webhook; its secret is shown this once",
        serve=create,
        body=BODY,
        replies={201: Reply("registered", shapes.NEW_WEBHOOK), 400: MALFORMED, 409: CONFLICT},
    ),
    _route(
        "GET",
        "/{id}",
        "One webhook",
        serve=show,
        parameters=(ID,),
        replies={200: Reply("the webhook", shapes.WEBHOOK), 404: NOT_FOUND},
    ),
    _route(
        "DELETE",
        "/{id}",
        "Drop a webhook",
        serve=drop,
        parameters=(ID,),
        replies={200: Reply("dropped", shapes.DONE), 404: NOT_FOUND, 409: CONFLICT},
    ),
    _route(
        "GET",
        "/{id}/deliveries",
        "What was told to a webhook",
        serve=deliveries,
        parameters=(ID, *read.page_parameters(USUAL_PAGE, MOST_PAGE)),
        replies={
            200: Reply("its log", shapes.either("deliveries", shapes.DELIVERY)),
            400: MALFORMED,
            404: NOT_FOUND,
        },
    ),
    _route(
        "POST",
        "/{id}/test",
        "Send a test event",
        serve=test,
        parameters=(ID,),
        replies={200: Reply("queued", shapes.DELIVERY), 404: NOT_FOUND},
    ),
    _route(
        "POST",
        "/deliveries/{id}/replay",
        "Deliver once more",
        serve=replay,
        parameters=(
            Parameter(name="id", place="path", schema=schemas.TEXT, description="The delivery's id."),
        ),
        replies={
            200: Reply("queued", shapes.DELIVERY),
            404: Reply("no such delivery", faults.SHAPE),
            409: CONFLICT,
        },
    ),
)
