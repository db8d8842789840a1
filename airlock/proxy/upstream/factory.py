"""The one way to an upstream: from a provider of the config to an `Upstream` of the right kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from airlock.config import ProviderConfig
from airlock.proxy.link import Upstream, UpstreamEvents
from airlock.proxy.upstream.backoff import Backoff
from airlock.proxy.upstream.connect import PROBE_SECONDS
from airlock.proxy.upstream.supervise import START_SECONDS, Supervised
from airlock.proxy.upstream.transport import Transport
from airlock.proxy.wire import LINE_LIMIT


def make_upstream(
    provider: ProviderConfig,
    events: UpstreamEvents,
    *,
    limit: int = LINE_LIMIT,
    backoff: Backoff | None = None,
    start_seconds: float = START_SECONDS,
    probe_seconds: float = PROBE_SECONDS,
) -> Upstream:
    """An upstream that is not started yet.

    `limit` is the size of its longest message in bytes; `start_seconds` the time from start to the end of
    the handshake; `probe_seconds` the time after which a silent server is greeted in the old way as well.
    """
    dial = _DIALS[provider.type](provider, limit)
    return Supervised(
        provider,
        events,
        dial,
        backoff=backoff,
        start_seconds=start_seconds,
        probe_seconds=probe_seconds,
    )


# Only what a config uses is imported: an HTTP client costs as much as the whole rest.


def _builtin(provider: ProviderConfig, limit: int) -> Callable[[], Transport]:  # noqa: ARG001
    from airlock.demo.server import DemoServer
    from airlock.proxy.upstream.builtin import BuiltinTransport

    server = DemoServer()
    return lambda: BuiltinTransport(server)


def _stdio(provider: ProviderConfig, limit: int) -> Callable[[], Transport]:
    from airlock.proxy.upstream.stdio import StdioTransport

    return lambda: StdioTransport(provider, limit=limit)


def _http(provider: ProviderConfig, limit: int) -> Callable[[], Transport]:
    from airlock.proxy.upstream.http import HttpTransport

    return lambda: HttpTransport(provider, limit=limit)


def _sse(provider: ProviderConfig, limit: int) -> Callable[[], Transport]:
    from airlock.proxy.upstream.sse import SseTransport

    return lambda: SseTransport(provider, limit=limit)


_DIALS: Final = {"builtin": _builtin, "stdio": _stdio, "http": _http, "sse": _sse}
