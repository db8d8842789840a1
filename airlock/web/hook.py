"""POST /hook: decisions for tools that are not MCP. An agent takes every error for consent, so a refusal
here is a well-formed *deny* in the caller's own format, with status 200 (decisions.md 31).
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airlock import __version__
from airlock.apikeys import Scope as KeyScope
from airlock.canonical import parse_sent
from airlock.errors import AirlockError, Ending, StoreError, UsageError, WireError
from airlock.hookdesk import Caller, HookDesk
from airlock.hooks.dialect import STILL_OPEN, Dialect, HookAnswer
from airlock.hooks.dialects import OWN, by_name, choose
from airlock.web import schemas
from airlock.web.auth import OPEN, SECRET, Credential
from airlock.web.bodies import MIB, Gone, read_body
from airlock.web.endpoint import address_of, take
from airlock.web.errors import HttpError, JsonAnswer
from airlock.web.errors import answer_unexpected as unexpected
from airlock.web.events import disconnected
from airlock.web.queries import one
from airlock.web.routes import Parameter, Reply, Route
from airlock.web.services import HOOKS_PER_MINUTE, Services

HOOK_PATH = "/hook"
HOOK_LIMIT = 16 * MIB
STRANGER_LIMIT = MIB
"""How much is read of a body whose sender is not known: enough to tell in which format to refuse."""

LONGEST_S = 86_400.0
STOPPING = f"airlock is stopping; {STILL_OPEN}"

log = logging.getLogger(__name__)


class Hook:
    """The ASGI app of the route. It makes all checks itself, since each failure must be a deny."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._desk = HookDesk(services.gate, joins=services.joins, make_id=services.make_id)
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        asking = Asking(request)
        limited: dict[str, str] = {}
        with self._services.closing.held():
            try:
                answer = await self._answer(asking, receive, limited)
            except Gone:
                return
            except Exception:
                # The road's outer edge: a defect of ours is a deny, never an error that the agent ignores.
                log.exception("a hook failed")
                answer = asking.deny("cannot be decided: internal failure")
        self._services.metrics.hook(asking.dialect.name, "deny" if _denies(answer) else "other")
        await respond(answer, limited)(scope, receive, send)

    async def _answer(self, asking: Asking, receive: Receive, limited: dict[str, str]) -> HookAnswer:
        credential, refusal = await self._identify(asking.request)
        try:
            await asking.read(receive, HOOK_LIMIT if credential else STRANGER_LIMIT)
            if credential is None:
                return self._turned_away(asking, refusal)
            take(self._services, asking.request.scope, credential, HOOKS_PER_MINUTE, limited)
            if not credential.holds({KeyScope.HOOK}):
                return asking.deny("this credential lacks the scope `hook`")
            caller = self._caller(asking, credential)
        except HttpError as error:
            limited.update(error.headers)
            return asking.deny(str(error))
        except (WireError, UsageError, Ending) as error:
            return asking.deny(str(error))
        return await self._held(asking, receive, caller)

    async def _identify(self, request: Request) -> tuple[Credential | None, str]:
        """The credential; or none, and why where that is not the credential's own fault."""
        sent = request.headers.getlist("authorization")
        try:
            return await self._services.authenticator.identify(sent, address_of(request.scope)), ""
        except StoreError as error:
            log.warning("a credential cannot be checked: %s", error)
            return None, "the database cannot be used"
        except HttpError as error:
            return None, str(error)

    def _turned_away(self, asking: Asking, refusal: str) -> HookAnswer:
        self._services.metrics.unauthorized()
        if refusal:
            return asking.deny(refusal)
        if asking.dialect is OWN:
            return asking.deny("Unauthorized", status=401)
        return asking.deny(
            "the hook has no valid credential: its `Authorization` needs a key of scope `hook`"
        )

    def _caller(self, asking: Asking, credential: Credential) -> Caller:
        if credential.identity == SECRET and not self._warned:
            self._warned = True
            log.warning("a hook uses the people's secret: give it a key, `airlock keys create --scope hook`")
        shared = credential.identity in {SECRET, OPEN}
        token = credential.identity.startswith("agent:")
        return Caller(
            bound=credential.agent,
            named=one(asking.request.query_params, "agent"),
            own=credential.agent if token else "",
            guarded=self._services.authenticator.token_agents(),
            identity="" if shared else credential.identity,
            timeout_ms=_timeout_ms(one(asking.request.query_params, "timeout")),
            defers=one(asking.request.query_params, "defer") in {"1", "true"},
        )

    async def _held(self, asking: Asking, receive: Receive, caller: Caller) -> HookAnswer:
        """The desk's answer; a deny when the process ends first; Gone when the caller does."""
        if self._services.closing.asked.is_set():
            return asking.deny(STOPPING)
        work = asyncio.create_task(self._desk.answer(asking.dialect, asking.payload, caller))
        gone = asyncio.create_task(disconnected(receive))
        stop = asyncio.create_task(self._services.closing.asked.wait())
        try:
            ended = {work, gone, stop}
            await asyncio.wait(ended, timeout=_longest(asking, caller), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if gone.done():
                raise Gone
            return asking.deny(STOPPING if stop.done() else "it could not be decided in time")
        finally:
            for task in (work, gone, stop):
                task.cancel()
            await asyncio.gather(work, gone, stop, return_exceptions=True)


def _longest(asking: Asking, caller: Caller) -> float:
    """How long its client waits at most, less a moment: a slow database must not pass for consent."""
    whole = asking.dialect.timeout_ms if caller.timeout_ms is None else caller.timeout_ms
    return max(0.5, whole / 1000 - 1)


class Asking:
    """One hook as it comes in: which dialect it is in, as far as can be told yet."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.client = (request.query_params.getlist("client") or [""])[0]
        self.dialect: Dialect = by_name(self.client)
        self.payload: Mapping[str, Any] = {}
        self._event = ""

    async def read(self, receive: Receive, limit: int) -> None:
        """Read the body; HttpError, WireError or UsageError when it cannot be used."""
        body = await read_body(receive, limit=limit)
        try:
            payload = parse_sent(body)
        except WireError:
            self._guess(body)
            raise
        self._recognise(payload)
        if not isinstance(payload, dict):
            raise UsageError("the hook's payload is not an object")
        self.payload = payload

    def _guess(self, body: bytes) -> None:
        """A body that is refused may still tell how its client wants to be told."""
        try:
            self._recognise(json.loads(body), own=False)
        except (ValueError, RecursionError):
            return

    def _recognise(self, payload: object, *, own: bool = True) -> None:
        dialect = choose(payload, self.client)
        self.dialect = dialect if own or dialect is not OWN else by_name(self.client)
        self._event = self.dialect.event_of(payload)

    def deny(self, reason: str, *, status: int = 200) -> HookAnswer:
        """A no in the caller's format; only Airlock's own payload gets the status."""
        return self.dialect.deny(
            reason, event=self._event, tool=str(self.payload.get("tool", ""))[:200], status=status
        )


def respond(answer: HookAnswer, headers: Mapping[str, str]) -> Response:
    """An answer over HTTP. The header tells `airlock hook` that it came from an Airlock."""
    body = answer.body if answer.status == 200 else {"details": None, **answer.body}
    return JsonAnswer(body, answer.status, {**headers, "X-Airlock": __version__})


async def deny_unread(services: Services, scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    """Refuse a hook for what stands in its head; its body only tells the format."""
    asking = Asking(Request(scope, receive))
    try:
        await asking.read(receive, STRANGER_LIMIT)
    except Gone:
        return
    except AirlockError as error:
        log.debug("a refused hook could not be read: %s", error)
    services.metrics.hook(asking.dialect.name, "deny")
    await respond(asking.deny(reason), {})(scope, receive, send)


def answer_unexpected(services: Services) -> Callable[[Request, Exception], Awaitable[Response]]:
    """What a defect outside every route becomes; on the hook's path a deny there too."""

    async def answer(request: Request, error: Exception) -> Response:
        if request.url.path.strip("/") == HOOK_PATH.strip("/"):
            services.metrics.hook("other", "deny")
            return respond(Asking(request).deny("cannot be decided: internal failure"), {})
        return unexpected(request, error)

    return answer


def _denies(answer: HookAnswer) -> bool:
    return b'"deny"' in answer.stdout


def _timeout_ms(text: str) -> int | None:
    """The caller's own limit; UsageError when it is no number of seconds."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_S:
        raise UsageError("`timeout` must be a number of seconds, at most a day")
    return round(seconds * 1000)


ROUTES = (
    Route(
        method="POST",
        path=HOOK_PATH,
        summary="Decide a tool call that is not MCP; may be held until a person has decided",
        description=(
            "Takes Airlock's own payload and the native hook payloads of Claude Code, Codex, Gemini CLI,"
            " Cursor and Copilot, and answers each in its own format. Every refusal is status 200, since"
            " agents take an error for consent; only to its own payload it answers 400 and 401."
        ),
        scopes=frozenset({KeyScope.HOOK}),
        raw=Hook,
        body=schemas.HOOK_REQUEST,
        body_limit=HOOK_LIMIT,
        parameters=(
            Parameter(
                name="client",
                place="query",
                schema=schemas.TEXT,
                description="The dialect, where the body does not tell it; `claude-code` unless given.",
            ),
            Parameter(
                name="agent",
                place="query",
                schema=schemas.TEXT,
                description="The agent whose policy applies; a bound credential fixes it.",
            ),
            Parameter(
                name="timeout",
                place="query",
                schema=schemas.or_empty({"type": "number", "minimum": 0, "maximum": LONGEST_S}),
                description="The caller's own limit in seconds: the answer comes a little before it.",
            ),
            Parameter(
                name="defer",
                place="query",
                schema={"type": "string", "enum": ["", "0", "1", "true", "false"]},
                description="Headless Claude Code: end the run at an asked call; resumed, it asks again.",
            ),
        ),
        replies={
            200: Reply("the decision, in the caller's format", schemas.HOOK_ANSWER),
            400: Reply("Airlock's own payload lacks `client` or `tool`", schemas.ERROR),
            401: Reply("Airlock's own payload came without a credential", schemas.ERROR),
        },
    ),
)
