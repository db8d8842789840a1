"""Making the HTTP requests that were allowed, where the config says so: each at most once.

What runs was claimed before: by the one insert of a record that says `allow`, or by the one change of a
record whose approval was spent. A claim without an outcome, after the time that a request may take, is
`failed`: nobody knows whether it arrived, and it is never made again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airlock.canonical import canonical, encode, parse
from airlock.config import HttpProxyConfig
from airlock.errors import AirlockError, Conflict, UsageError, WireError
from airlock.fetching import planned
from airlock.model import Call, Outcome, Overlay
from airlock.outgoing import FAILURES, Answer, Outgoing, send
from airlock.reach import Inside
from airlock.web.auth import Credential
from airlock.web.compat.asking import Kept, rebuilt, records_of, report
from airlock.web.compat.firewall.opinions import Action
from airlock.web.compat.firewall.words import FACE, HTTP_PROXY
from airlock.web.errors import HttpError

if TYPE_CHECKING:
    from airlock.web.services import Services

log = logging.getLogger(__name__)

PARAMS = ("url", "method", "headers", "body")
SLACK_MS = 15_000
MOST_AT_ONCE, MOST_OF_ONE = 100, 50
"""How many requests are under way, and how many of one agent: the others have the rest."""

_NOT_TOLD = frozenset({"set-cookie", "set-cookie2"})


def runner(services: Services, tool: str) -> HttpProxyConfig | None:
    """How the gateway runs actions of this tool; None where their clients do."""
    options = services.config.compat.get(FACE)
    return options.http_proxy if options is not None and tool == HTTP_PROXY else None


def plan(action: Action, config: HttpProxyConfig) -> Outgoing:
    """The request behind an action; UsageError when it may not be made."""
    params = action.params
    for name in params:
        if name not in PARAMS:
            raise UsageError(f"`params.{name[:60]}` is unknown: there are {', '.join(PARAMS)}")
    url = params.get("url")
    if not isinstance(url, str):
        raise UsageError("`params.url` must be text")
    body, kind = _body(params.get("body"))
    headers = _headers(params.get("headers"))
    if kind and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    return planned(action.operation, url, headers, body, named=config.allow_hosts)


def _headers(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value.values()):
        raise UsageError("`params.headers` must be an object of texts")
    return dict(value)


def _body(value: Any) -> tuple[bytes, str]:
    """A body as it is sent, and what it is."""
    if value is None or value == "":
        return b"", ""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass"), "text/plain; charset=utf-8"
    if not isinstance(value, (Mapping, list)):
        raise UsageError("`params.body` must be an object, a list or text")
    return encode(value), "application/json"


def beside(services: Services, action: Action, config: HttpProxyConfig) -> dict[str, Any]:
    """What the record of an action keeps that the gateway runs."""
    patience = config.timeout_ms + SLACK_MS
    return {"runs": True, "patience_ms": patience, "mark": mark_of(services, action)}


def mark_of(services: Services, action: Action) -> str:
    """Stands for what was submitted, to the letter: nothing else is sent for it, wherever it was kept."""
    said = canonical([action.tool, action.operation, action.params])
    return services.gate.vouch(f"{FACE} {said.decode()}")


def started_at(kept: Kept) -> int | None:
    """When its request was claimed; None while it was not, and for what clients run."""
    body = kept.record.body
    if not body.get("runs"):
        return None
    return kept.record.created_at if body["effect"] == "allow" else body.get("started_at")


def lost(kept: Kept, started: int | None, now: int) -> bool:
    """True when it began, and so long ago that it has ended somehow, and nobody told how."""
    body = kept.record.body
    over = started is not None and now > started + body.get("patience_ms", 0)
    return over and "outcome" not in body


async def claimed(services: Services, kept: Kept) -> Kept | None:
    """The action with the claim to run it, which nobody else has; None when somebody else was faster."""
    record, now = kept.record, services.clock()
    if "started_at" in record.body or "outcome" in record.body:
        return None
    claim = replace(
        record, version=record.version + 1, updated_at=now, body={**record.body, "started_at": now}
    )
    try:
        await records_of(services).put_records([claim])
    except Conflict:
        return None
    return replace(kept, record=claim)


@contextmanager
def place(services: Services, agent: str) -> Iterator[None]:
    """A place for one request of an agent, to begin it within; HttpError 503 when this gateway ends, or has
    none free for it."""
    if services.closing.asked.is_set():
        raise HttpError(503, "the gateway is ending: ask again", headers={"Retry-After": "1"})
    if len(services.errands) >= MOST_AT_ONCE or services.errands.of(agent) >= MOST_OF_ONE:
        raise HttpError(503, "too many requests are under way: ask again", headers={"Retry-After": "5"})
    with services.errands.promised(agent):
        yield


def begin(services: Services, who: Credential, kept: Kept, wanted: Outgoing, action: Action) -> None:
    """Run what was claimed, beside the answer that is given meanwhile."""
    call = rebuilt(services, who, kept, Overlay())._replace(arguments=action.params)
    services.errands.begin(_run(services, who, kept, wanted, call), services.closing, action.agent)


async def _run(services: Services, who: Credential, kept: Kept, wanted: Outgoing, call: Call) -> None:
    config = runner(services, HTTP_PROXY) or HttpProxyConfig()
    seconds = (kept.record.body["patience_ms"] - SLACK_MS) / 1000
    try:
        answer = await send(wanted, limit=config.max_response_bytes, seconds=seconds)
    except FAILURES as error:
        told: dict[str, Any] = {"error": services.gate.scrubbed(_cause(error, seconds), call)}
        outcome, details = Outcome.ERROR, told
    else:
        outcome = Outcome.SUCCESS if answer.status < 400 else Outcome.ERROR
        told = {"result": _result(services, answer, call)}
        details = {"statusCode": answer.status, "bytes": len(answer.body)}
    try:
        await report(services, who, kept, outcome, details, **told)
    except AirlockError as error:
        log.warning("the outcome of action `%s` could not be recorded: %s", kept.record.id, error)


def _cause(error: Exception, seconds: float) -> str:
    if isinstance(error, Inside):
        return f"refused, nothing was sent: {error}"
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s: the request may have arrived"
    number = getattr(error, "errno", None) or 0
    text = os.strerror(number) if number > 1 else getattr(error, "strerror", None) or str(error)
    return f"no answer: {text or type(error).__name__}"


def _result(services: Services, answer: Answer, call: Call) -> dict[str, Any]:
    """What came back, as anyone may see it: secrets masked, no cookies."""
    headers: dict[str, str] = {}
    for name, text in answer.headers:
        if name.lower() not in _NOT_TOLD:
            headers[name.lower()] = f"{headers[name.lower()]}, {text}" if name.lower() in headers else text
    told = {"headers": headers, **_told_body(answer, headers)}
    result = {"statusCode": answer.status, **services.gate.scrubbed(told, call)}
    if answer.cut:
        result["truncated"] = True
    return services.gate.masked(result)


def _told_body(answer: Answer, headers: Mapping[str, str]) -> dict[str, Any]:
    text = _text(answer)
    if text is None:
        return {"body": None, "bodyBytes": len(answer.body)}
    if "json" in headers.get("content-type", "").lower():
        with suppress(WireError):
            return {"body": parse(text.encode())}
    return {"body": text}


def _text(answer: Answer) -> str | None:
    """A body as text, without the half character at which it was cut; None when it is none."""
    try:
        return answer.body.decode()
    except UnicodeDecodeError as error:
        halved = answer.cut and error.start > len(answer.body) - 4 and error.end == len(answer.body)
        return answer.body[: error.start].decode() if halved else None
