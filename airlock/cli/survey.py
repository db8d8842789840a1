"""The servers that a client has: started once, with a person's leave, to list their tools."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

from airlock.cli.authority import confirmed
from airlock.cli.frame import wait_for
from airlock.cli.plan import Planned, reads_only
from airlock.cli.render import complain
from airlock.config import Config, ProviderConfig, Secret
from airlock.visible import bounded

LIST_SECONDS = 60.0


def listed(providers: list[Planned], target: Path, *, start: bool, yes: bool) -> list[Planned]:
    """The providers with their tools. Starting programs that a file names is asked first."""
    usable = [one for one in providers if not one.server.disabled]
    if not usable or not start:
        return providers
    complain("these servers would be started once, to list their tools:")
    for one in usable:
        words = one.server.url or shlex.join([one.server.command, *one.server.args])
        complain(f"  {one.name}: {bounded(words, 300)}")
    if not yes and not confirmed("airlock: start them now?"):
        complain("they are not started: every tool will be asked for")
        return providers
    return wait_for(_with_tools(providers, target))


async def _with_tools(providers: list[Planned], target: Path) -> list[Planned]:
    from airlock.inventory import describe_tools

    configs = {one.name: _provider(one, target.parent) for one in providers if not one.server.disabled}
    config = Config(file=target, digest="", database="sqlite:////nowhere", providers=configs)
    known = {one.provider: one for one in await describe_tools(config, seconds=LIST_SECONDS)}
    result = []
    for one in providers:
        found = known.get(one.name)
        tools = found.tools if found else ()
        reading = tuple(str(tool.get("name")) for tool in tools if reads_only(tool))
        others = tuple(str(tool.get("name")) for tool in tools if not reads_only(tool))
        problem = f"it could not be listed: {found.problem}" if found and found.problem else ""
        if problem:
            complain(f"`{one.name}`: {bounded(problem, 300)}")
        result.append(replace(one, allowed=reading, asked=others, problem=problem))
    return result


def _provider(one: Planned, base: Path) -> ProviderConfig:
    """A provider as the written config would make it, with the client's own values."""
    server = one.server
    return ProviderConfig(
        name=one.name,
        type=server.type,
        command=_expanded(server.command),
        args=tuple(map(_expanded, server.args)),
        env={name: Secret(_expanded(value)) for name, value in server.env.items()},
        cwd=base / server.cwd if server.cwd else base,
        url=_expanded(server.url),
        headers={name: Secret(_expanded(value)) for name, value in server.headers.items()},
        prefix=one.name,
    )


def _expanded(text: str) -> str:
    from airlock.loader.substitution import SubstitutionError, expand

    try:
        return expand(text.replace("${env:", "${"), os.environ, Path.cwd(), lambda _: None)
    except SubstitutionError:
        return text


def agreed(providers: list[Planned], *, yes: bool) -> list[Planned]:
    """Reading tools are allowed only after a person saw their names (decisions.md 35)."""
    reading = [f"{one.name}/{tool}" for one in providers for tool in one.allowed]
    if not reading:
        return providers
    complain(f"{len(reading)} tools say that they only read, and their names say so too:")
    for name in reading:
        complain(f"  {name}")
    if yes or confirmed("airlock: allow these without asking each time?"):
        return providers
    complain("they will be asked for like the others")
    return [replace(one, allowed=(), asked=(*one.allowed, *one.asked)) for one in providers]
