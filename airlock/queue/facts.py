"""What the policy wants to know of the world before it decides: recent counts, and where paths lead."""

from __future__ import annotations

import asyncio
import os

from airlock.policy import Facts, Needs
from airlock.ports import Store

RESOLVE_SECONDS = 1.0
"""How long the file system may take to say where paths lead; then they count as unresolvable."""


async def gather(needs: Needs, store: Store, now: int) -> Facts:
    """The facts for one evaluation; what cannot be found out in time is left out or None."""
    if not needs:
        return Facts(now=now)
    rates = {use.scope: await store.count_rate(use.scope, now - use.window_ms) for use in needs.rates}
    resolved = await _resolve(needs.paths) if needs.paths else {}
    return Facts(now=now, rates=rates, resolved=resolved)


async def _resolve(paths: tuple[str, ...]) -> dict[str, str | None]:
    # In a thread and with a limit: a hanging mount must not stop the loop, and must not open a door.
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            return await asyncio.to_thread(_real_paths, paths)
    except TimeoutError:
        return dict.fromkeys(paths)


def _real_paths(paths: tuple[str, ...]) -> dict[str, str | None]:
    return {path: _real_path(path) for path in paths}


def _real_path(path: str) -> str | None:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return None
