"""What the headers of a request to MCP say; read once for requests whose head is the same."""

from __future__ import annotations

from airlock.model import JsonObject
from airlock.ports_http import Scope
from airlock.proxy import eras, mirrors
from airlock.proxy.front.asgi import accepts, header
from airlock.proxy.wire import INVALID_REQUEST, error_frame
from airlock.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The headers of one request; None for one that is absent or stands twice, or a `name` that is broken.

    `method` and `name` repeat the body in the modern era (`Mcp-Method`, `Mcp-Name`). `problem` is why these
    headers fit no message: a status and an error.
    """

    version: str | None
    session: str | None
    method: str | None
    name: str | None
    problem: tuple[int, JsonObject] | None

    @property
    def modern(self) -> bool:
        """True when they name a version that is none of the legacy era."""
        return self.version is not None and self.version not in eras.LEGACY_VERSIONS

    @property
    def strange(self) -> bool:
        """True when they name a version of neither era."""
        return self.modern and self.version not in eras.MODERN_VERSIONS


def said(scope: Scope) -> Said:
    """What this request's headers say."""
    name = header(scope, b"mcp-name")
    return Said(
        version=header(scope, b"mcp-protocol-version"),
        session=header(scope, b"mcp-session-id"),
        method=header(scope, b"mcp-method"),
        name=None if name is None else mirrors.decoded(name),
        problem=_problem(scope),
    )


def _problem(scope: Scope) -> tuple[int, JsonObject] | None:
    kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return 415, error_frame(None, INVALID_REQUEST, "`Content-Type` must be `application/json`")
    if not accepts(scope, "application/json", "text/event-stream"):
        text = "`Accept` must list `application/json` and `text/event-stream`"
        return 406, error_frame(None, INVALID_REQUEST, text)
    return None
