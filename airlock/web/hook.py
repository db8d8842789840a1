"""POST /hook."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airlock.web.errors import JsonAnswer
from airlock.web.errors import answer_unexpected as unexpected
from airlock.web.routes import Route
from airlock.web.services import Services

HOOK_PATH = "/hook"
ROUTES: tuple[Route, ...] = ()


async def deny_unread(services: Services, scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    await JsonAnswer({"reason": reason})(scope, receive, send)


def answer_unexpected(services: Services) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        return unexpected(request, error)

    return answer
