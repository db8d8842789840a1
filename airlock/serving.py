"""The processes that serve: each is an opened Airlock, a face, and a watch over the config."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import math
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from airlock import runtime
from airlock.config import Config
from airlock.errors import AirlockError, StoreError, UsageError
from airlock.home import state
from airlock.ids import now_ms
from airlock.loading import load
from airlock.logs import Seldom
from airlock.policy import Policy
from airlock.reload import Waiting, Watcher

log = logging.getLogger(__name__)

TIDY_SECONDS = 15.0
DAY_SECONDS = 86_400

COLLECT_EVERY = 5_000
"""New objects between two looks of the garbage collector: calls leave it next to nothing to find."""

ANYBODYS = ("uvicorn.error", "asyncio", "airlock.web.errors", "airlock.web.hook")
"""Loggers of what may happen to a request from anybody: of each line there are only so many in a minute."""

OnPolicy = Callable[[], None]

LATER = (
    "airlock.apikeys",
    "airlock.canonical",
    "airlock.cases",
    "airlock.matching.cel",
    "airlock.matching.celtext",
    "airlock.demo.server",
    "airlock.durations",
    "airlock.loader.hours",
    "airlock.proxy.session.errand",
    "airlock.proxy.upstream.factory",
    "airlock.proxy.session.subscriptions",
    "airlock.proxy.session.tasks",
    "airlock.proxy.upstream.builtin",
    "airlock.proxy.upstream.stdio",
    "airlock.loader.reader",
    "airlock.matching.regexes",
    "airlock.loader.substitution",
    "airlock.home.trustbook",
    "airlock.visible",
)
"""What an `airlock stdio` may still need after its first answer; a test holds it against the sources."""

LATER_FOR_URLS = (
    "airlock.proxy.upstream.http",
    "airlock.proxy.upstream.sse",
    "airlock.proxy.upstream.http_frames",
)
LATER_FOR_WEBHOOKS = ("airlock.notify.webhook", "airlock.outgoing", "airlock.posting")
LATER_FOR_LOGINS = ("airlock.proxy.login.oauth", "airlock.proxy.login.guard", "airlock.proxy.login.tokens")
LATER_FOR_HOOKS = (
    "airlock.hooks.calls",
    "airlock.hooks.dialects",
    "airlock.hooks.shell",
    "airlock.hooks.tools",
    "airlock.proxy.session.permission",
)


async def serve_stdio(explicit: Path | None, agent: str) -> int:
    """Serve MCP on stdin and stdout for one agent; AirlockError when that cannot begin."""
    from airlock.proxy.front.stdio import check_agent
    from airlock.proxy.front.stdio import serve_stdio as serve

    located = runtime.find_config(explicit, starts_programs=True)
    config = runtime.load_located(located)
    check_agent(config, agent)
    _warn(config)
    listeners: list[OnPolicy] = []
    async with (
        runtime.opened(config, road="stdio", agent=agent) as opened,
        watched(opened, located, listeners),
        beside(tend(opened, sweep=False)),
    ):
        spare_collector()
        return await serve(
            config,
            opened.gate,
            agent,
            state=state.state_dir(),
            on_policy=listeners.append,
            on_answer=partial(_load_the_rest, config),
        )


def _load_the_rest(config: Config) -> None:
    """Load what may be needed later, beside what goes on: an upgrade must not mix versions (decisions.md 40).

    Not before the first answer: that one is what people wait for.
    """
    names = list(LATER)
    if any(one.type in {"http", "sse"} and one.enabled for one in config.providers.values()):
        names += LATER_FOR_URLS
    if any(one.type == "webhook" for one in config.notify):
        names += LATER_FOR_WEBHOOKS
    if any(one.oauth is not None and one.enabled for one in config.providers.values()):
        names += LATER_FOR_LOGINS
    if any(one.permission_tool for one in config.agents.values()):
        names += LATER_FOR_HOOKS

    def rest() -> None:
        load(names)
        log.debug("everything that may be needed is loaded")

    threading.Thread(target=rest, name="airlock-loads").start()


async def serve_gateway(
    explicit: Path | None,
    *,
    host: str | None = None,
    port: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Serve MCP, REST, hooks and events on one port until a signal ends it. `tell` gets the address."""
    located = runtime.find_config(explicit, starts_programs=True)
    config = runtime.load_located(located)
    host = host or config.server.host
    _check_exposure(config, host)
    _warn(config)
    from airlock.listener.sockets import address, bound

    listeners: list[OnPolicy] = []
    with contextlib.closing(bound(host, config.server.port if port is None else port)) as listening:
        async with (
            runtime.opened(config, road="gateway", address=address(listening)) as opened,
            watched(opened, located, listeners),
            beside(tend(opened, sweep=True)),
        ):
            return await _listen(opened, host, listening, listeners, tell)


async def _listen(
    opened: runtime.Runtime,
    host: str,
    listening: socket.socket,
    listeners: list[OnPolicy],
    tell: Callable[[str], None] | None,
) -> int:
    from airlock.listener.server import Listener
    from airlock.proxy.front.http import McpApp
    from airlock.proxy.upstream.factory import make_upstream
    from airlock.web.app import build_app

    mcp = McpApp(opened.gate, make=make_upstream, state=state.state_dir())
    listeners.append(mcp.policy_changed)
    app = build_app(opened.gate, keys=opened.store, mcp_app=mcp, bound=host)

    async def drain() -> None:
        await asyncio.gather(app.state.drain(), mcp.close())

    spare_collector()
    for name in ANYBODYS:
        logging.getLogger(name).addFilter(Seldom())
    await Listener(app, listening=listening, drain=drain, tell=tell).run_until_signalled()
    return 0


def spare_collector() -> None:
    """Let the garbage collector pass over what is loaded by now, which stays, and look less often."""
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)


def _check_exposure(config: Config, host: str) -> None:
    """Without a secret everything is open, which only loopback bears (decisions.md 3)."""
    if config.server.api_secret:
        if is_everywhere(host) and not config.server.allowed_hosts:
            log.warning(
                "`%s` is every address of this machine, and only loopback names are answered: "
                "list the names that clients use in `server.allowed_hosts`",
                host,
            )
        return
    from airlock.reach import loopback  # not for `stdio`, which listens nowhere

    if not loopback(host):
        raise UsageError(
            f"`{host}` is reachable from other machines and no secret is set: set `server.api_secret` "
            "(`airlock init` writes one), or listen on 127.0.0.1"
        )
    log.warning("no `server.api_secret` is set: every program on this machine can approve calls")


def is_everywhere(host: str) -> bool:
    """True for the address that stands for all of this machine's."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


async def serve_refusal(error: AirlockError) -> int:
    """Answer an MCP client's requests with what is wrong, until it goes away."""
    from airlock.proxy.front.stdio import serve_config_error

    return await serve_config_error(error)


async def tend(opened: runtime.Runtime, *, sweep: bool) -> None:
    """Keep house until cancelled: prune old history once a day and, in the gateway, end what has expired."""
    pruned_at = -math.inf
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        try:
            if sweep:
                await opened.gate.tidy()
            days = opened.gate.config.audit.retention_days
            if days and time.monotonic() - pruned_at > DAY_SECONDS:
                pruned_at = time.monotonic()
                await opened.store.prune(now_ms() - days * DAY_SECONDS * 1000)
        except StoreError as error:
            log.warning("cannot tidy the database: %s", error)


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something while the context lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def watched(
    opened: runtime.Runtime, located: state.Located, listeners: list[OnPolicy]
) -> AsyncIterator[None]:
    """Let the config's new versions take over while the context lasts; wrong ones change nothing."""

    from airlock.loader.file import load as load_again

    keeping: set[asyncio.Task[None]] = set()

    def load() -> tuple[Config, Policy]:
        config = load_again(located.path)
        return config, runtime.checked_policy(config)

    def adopt(config: Config, policy: Policy) -> None:
        runtime.adopt(opened, config, policy)
        log.warning("the policy in `%s` changed and is in force", config.file)
        keeping.add(asyncio.create_task(runtime.keep_policy(opened.store, config)))
        for listener in listeners:
            listener()

    watcher: Watcher[Policy] = Watcher(
        config=opened.config,
        load=load,
        adopt=adopt,
        report=_report,
        path=located.path,
        found=located.found,
    )
    async with beside(watcher.run()):
        yield
    if keeping:
        await asyncio.wait(keeping)


def _report(what: AirlockError | Waiting) -> None:
    if isinstance(what, Waiting):
        log.warning("`%s` changed and waits for `airlock trust %s`", what.path, what.path)
    else:
        log.error("the changed config is not used, the old one stays in force: %s", what)


def _warn(config: Config) -> None:
    for warning in config.warnings:
        log.warning("%s", warning)
