"""The processes that serve: each is an opened Airlock, a face, and a watch over the config."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from airlock import runtime, state
from airlock.config import Config
from airlock.errors import AirlockError
from airlock.policy import Policy
from airlock.reload import Waiting, Watcher

log = logging.getLogger(__name__)

OnPolicy = Callable[[], None]


async def serve_stdio(explicit: Path | None, agent: str) -> int:
    """Serve MCP on stdin and stdout for one agent; AirlockError when that cannot begin."""
    from airlock.proxy.stdio import check_agent
    from airlock.proxy.stdio import serve_stdio as serve

    located = runtime.find_config(explicit, starts_programs=True)
    config = runtime.load_config(located.path)
    check_agent(config, agent)
    _warn(config)
    listeners: list[OnPolicy] = []
    async with (
        runtime.opened(config, road="stdio", agent=agent) as opened,
        watched(opened, located, listeners),
    ):
        return await serve(config, opened.gate, agent, state=state.state_dir(), on_policy=listeners.append)


async def serve_refusal(error: AirlockError) -> int:
    """Answer an MCP client's requests with what is wrong, until it goes away."""
    from airlock.proxy.stdio import serve_config_error

    return await serve_config_error(error)


@contextlib.asynccontextmanager
async def watched(
    opened: runtime.Runtime, located: state.Located, listeners: list[OnPolicy]
) -> AsyncIterator[None]:
    """Let the config's new versions take over while the context lasts; wrong ones change nothing."""

    def load() -> tuple[Config, Policy]:
        config = runtime.load_config(located.path)
        return config, runtime.checked_policy(config)

    def adopt(config: Config, policy: Policy) -> None:
        runtime.adopt(opened, config, policy)
        log.warning("the policy in `%s` changed and is in force", config.file)
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
    task = asyncio.create_task(watcher.run(), name="airlock-reload")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _report(what: AirlockError | Waiting) -> None:
    if isinstance(what, Waiting):
        log.warning("`%s` changed and waits for `airlock trust %s`", what.path, what.path)
    else:
        log.error("the changed config is not used, the old one stays in force: %s", what)


def _warn(config: Config) -> None:
    for warning in config.warnings:
        log.warning("%s", warning)
