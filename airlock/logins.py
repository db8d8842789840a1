"""Logging in at the servers behind Airlock, and out again: for the commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from airlock.config import Config, ProviderConfig
from airlock.errors import UpstreamError, UsageError


def provider_of(config: Config, name: str) -> ProviderConfig:
    """The provider with that name, if one logs in there; UsageError otherwise."""
    found = config.providers.get(name)
    with_login = sorted(one.name for one in config.providers.values() if one.oauth is not None)
    if found is None:
        known = ", ".join(f"`{one}`" for one in with_login) or "none that is logged in at"
        raise UsageError(f"unknown provider `{name[:64]}`: the config has {known}")
    if found.oauth is None:
        raise UsageError(f"provider `{name}` has no login: set `oauth: true` or `client_credentials` for it")
    if not found.enabled:
        raise UsageError(f"provider `{name}` is switched off: its variables are not read")
    return found


async def login(provider: ProviderConfig, show: Callable[[str], None], *, seconds: float) -> str:
    """Log in, in a limited time, and return the scopes that were given; `show` gets the address to open."""
    from airlock.proxy.login.login import login as log_in

    try:
        async with asyncio.timeout(seconds):
            return (await log_in(provider, show)).scope
    except TimeoutError:
        raise UpstreamError(f"nobody logged in at `{provider.name}` within {seconds:g} s") from None


async def logout(provider: ProviderConfig) -> bool:
    """Forget the login; False when there was none."""
    from airlock.proxy.login.login import logout as log_out

    return await log_out(provider)
