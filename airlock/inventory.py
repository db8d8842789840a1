"""What the servers behind us offer, asked of the servers themselves: for `init`, `tools` and `doctor`."""

from __future__ import annotations

from collections.abc import Iterable

from airlock import __version__
from airlock.config import Config
from airlock.model import JsonObject
from airlock.proxy.link import Facing
from airlock.proxy.names import Claim, NameTable, name_all
from airlock.proxy.offers import PROMPTS, RESOURCES, TOOLS
from airlock.proxy.router import Router
from airlock.proxy.upstream.factory import make_upstream
from airlock.values import dataclass

LIST_SECONDS = 30.0
"""A server that was never started on this machine may have to be fetched first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """One provider: its tools as it lists them, or why they are not known."""

    provider: str
    tools: tuple[JsonObject, ...] = ()
    problem: str = ""
    prompts: int = 0
    resources: int = 0


async def describe_tools(config: Config, *, seconds: float = LIST_SECONDS) -> list[Inventory]:
    """Start every enabled provider, list what it offers, end it again."""
    router = Router(config, make_upstream)
    try:
        router.start(Facing(info={"name": "airlock", "version": __version__}))
        await router.settle(seconds)
        return [_inventory(router, one.name) for one in router.providers]
    finally:
        await router.close()


def wire_names(config: Config, found: Iterable[Inventory]) -> NameTable:
    """How clients see these tools, and in words which of them are hidden behind another's name."""
    claims = [
        Claim(provider=one.provider, prefix=config.providers[one.provider].prefix, name=str(tool["name"]))
        for one in found
        for tool in one.tools
    ]
    return name_all(claims, config.names_max)


def _inventory(router: Router, name: str) -> Inventory:
    shelf = router.shelf(name)
    state = shelf.upstream.state
    if state.phase != "ready":
        return Inventory(provider=name, problem=state.reason or "it did not answer in time")
    return Inventory(
        provider=name,
        tools=tuple(shelf.offer.items(TOOLS)),
        prompts=len(shelf.offer.items(PROMPTS)),
        resources=len(shelf.offer.items(RESOURCES)),
        problem="" if shelf.settled else "its lists did not come in time",
    )
