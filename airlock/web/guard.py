"""What stands before every route, MCP's too: the Host and Origin checks, and the counts of answers."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airlock.config import ServerConfig
from airlock.web import origins
from airlock.web.endpoint import named_headers
from airlock.web.errors import Fault, claiming, rendered
from airlock.web.hook import HOOK_PATH, deny_unread
from airlock.web.services import Services


class Guard:
    """Refuses what was sent to another name or from another site; on the hook's path by a deny."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services
        self._said: tuple[ServerConfig, list[str], list[str], origins.Refused | None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        services = self._services
        face = claiming(scope["path"], services.faces)
        if face is not None and face.request_ids:
            scope["airlock.request_id"] = services.make_id()
        refused = self._refused(named_headers(scope, b"host"), named_headers(scope, b"origin"))
        counted = self._counting(scope, send)
        hook = is_hook(scope)
        if hook and (refused or scope["path"] != HOOK_PATH):
            reason = refused.reason if refused else f"the hook's address is `{HOOK_PATH}`, to the letter"
            await deny_unread(services, scope, receive, counted, reason)
        elif refused:
            fault = Fault(status=refused.status, message=refused.reason)
            await rendered(fault, scope, services.faces)(scope, receive, counted)
        else:
            await self._app(scope, receive, counted)

    def passes(self, scope: Scope) -> bool:
        """True for a request that goes on as it is, and whose answer is counted by its route alone."""
        if claiming(scope["path"], self._services.faces) is not None:
            return False
        return self._refused(named_headers(scope, b"host"), named_headers(scope, b"origin")) is None

    def _refused(self, hosts: list[str], sent: list[str]) -> origins.Refused | None:
        """What `origins.check` says. Most requests come under one name: what it said last is remembered."""
        server = self._services.config.server
        if self._said is None or self._said[0] is not server or self._said[1:3] != (hosts, sent):
            refused = origins.check(hosts, sent, server=server, bound=self._services.bound)
            self._said = (server, hosts, sent, refused)
        return self._said[3]

    def _counting(self, scope: Scope, send: Send) -> Send:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                if request_id := scope.get("airlock.request_id"):
                    message = {
                        **message,
                        "headers": [*message["headers"], (b"x-request-id", request_id.encode())],
                    }
                route = scope.get("airlock.route", "")
                method = scope["method"] if route else "other"
                self._services.metrics.answered(method, route, message["status"])
            await send(message)

        return counted


def is_hook(scope: Scope) -> bool:
    """True for a POST to the hook, with a slash too many as well: a 404 there would be taken for a yes."""
    path: str = scope["path"]
    return scope["method"] == "POST" and path.strip("/").lower() == HOOK_PATH.strip("/")
