"""Every tool of every upstream with its two names and the effect it has for an agent: `airlock tools`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from airlock import __version__
from airlock.model import Effect, JsonObject, Kind
from airlock.proxy.link import Facing, Phase
from airlock.proxy.names import Claim, name_all
from airlock.proxy.offers import TOOLS
from airlock.proxy.router import MakeUpstream, Router
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.config import Config
    from airlock.policy import Policy

SETTLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRow:
    """One tool. `wire` is "" when it could not be named; `effect` is DENY for what is not listed."""

    provider: str
    tool: str
    wire: str
    effect: Effect
    title: str = ""
    annotations: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow:
    """One upstream: how it is, why, and what was odd about its lists."""

    provider: str
    phase: Phase
    reason: str = ""
    tools: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `describe` found. `problems` are names that clash."""

    tools: tuple[ToolRow, ...]
    providers: tuple[ProviderRow, ...]
    problems: tuple[str, ...] = ()


async def describe(
    config: Config,
    policy: Policy,
    agent: str,
    *,
    make: MakeUpstream | None = None,
    seconds: float = SETTLE_SECONDS,
) -> Report:
    """Start every enabled upstream, look at its tools as this agent would, and end it again."""
    router = Router(config, make or _make_upstream())
    try:
        router.start(Facing(info={"name": "airlock", "version": __version__}))
        await router.settle(seconds)
        offered = [(one.name, router.shelf(one.name).offer.items(TOOLS)) for one in router.providers]
        tools, problems = tool_rows(config, policy, agent, offered)
        providers = tuple(_provider_row(router, one.name) for one in router.providers)
        return Report(tools=tuple(tools), providers=providers, problems=problems)
    finally:
        await router.close()


def tool_rows(
    config: Config, policy: Policy, agent: str, offered: Iterable[tuple[str, Sequence[JsonObject]]]
) -> tuple[list[ToolRow], tuple[str, ...]]:
    """The rows for these providers' tools, in order, and the clashes of their names."""
    lists = [(name, tools) for name, tools in offered if name in config.providers]
    claims = [
        Claim(provider=name, prefix=config.providers[name].prefix, name=tool["name"])
        for name, tools in lists
        for tool in tools
    ]
    names = name_all(claims, config.names_max)
    rows = [
        ToolRow(
            provider=name,
            tool=f"{name}/{tool['name']}",
            wire=names.wires.get((name, tool["name"]), ""),
            effect=policy.listing(agent, Kind.TOOL, name, tool["name"]) or Effect.DENY,
            title=_title(tool),
            annotations=tool["annotations"] if isinstance(tool.get("annotations"), dict) else {},
        )
        for name, tools in lists
        for tool in tools
    ]
    return rows, names.problems


def _title(tool: JsonObject) -> str:
    annotations = tool.get("annotations")
    inner = annotations.get("title") if isinstance(annotations, dict) else None
    return next((one for one in (tool.get("title"), inner) if isinstance(one, str)), "")


def _provider_row(router: Router, name: str) -> ProviderRow:
    shelf = router.shelf(name)
    state = shelf.upstream.state
    late = "its lists did not come in time" if state.phase == "ready" and not shelf.settled else ""
    return ProviderRow(
        provider=name,
        phase=state.phase,
        reason=state.reason or late,
        tools=len(shelf.offer.items(TOOLS)),
        problems=tuple(shelf.offer.problems),
    )


def _make_upstream() -> MakeUpstream:
    from airlock.proxy.factory import make_upstream

    return make_upstream
