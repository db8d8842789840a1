"""The `compat:` key: which sister APIs the gateway speaks, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from airlock.config import AgentConfig, FaceConfig, PatternLists, ServerConfig
from airlock.loader.fields import Section
from airlock.loader.reading import meant
from airlock.loader.sections import COMPAT

_LISTS: Final[tuple[Literal["plain", "wrapped"], ...]] = ("plain", "wrapped")


def faces(top: Section) -> dict[str, FaceConfig]:
    """The faces that are on, by name: from a list of names, or a mapping of names to options."""
    found = top.found("compat")
    if found is None:
        return {}
    if found.node.keys is None:
        named = [
            (text, item.line, Section(top.reading, "face", None, item.path))
            for text, item in top.texts("compat", single=True)
        ]
    else:
        named = [(name, one.line, one) for name, one in top.sections("compat", "face", mapping=True)]
    made: dict[str, FaceConfig] = {}
    for name, line, section in named:
        if name not in COMPAT:
            listed = ", ".join(f"`{one}`" for one in COMPAT)
            hint = meant(name, COMPAT) or f"there are {listed}"
            top.reading.error(line, section.path, f"`{name[:40]}` is not an API that Airlock speaks", hint)
        elif name in made:
            top.reading.error(line, section.path, f"`{name}` stands here twice")
        else:
            made[name] = _face(section, name)
    return made


def _face(section: Section, name: str) -> FaceConfig:
    return FaceConfig(
        name=name,
        agent=section.text("agent", name) or name,
        wrapped=section.choice("lists", _LISTS, "plain") == "wrapped",
        approver=section.flag("approver", False),
    )


def with_their_agents(
    made: Mapping[str, FaceConfig], agents: Mapping[str, AgentConfig], default_profile: str
) -> dict[str, AgentConfig]:
    """The agents, and for each face the one that its unbound keys speak for, where nobody wrote it."""
    extends = (default_profile,) if default_profile else ()
    missing = {one.agent for one in made.values()} - set(agents)
    implied = {
        name: AgentConfig(
            name=name, lists=PatternLists(owner=f"agents.{name}", extends=extends), implied=True
        )
        for name in sorted(missing)
    }
    return {**agents, **implied}


def check(
    top: Section, made: Mapping[str, FaceConfig], written: set[str], providers: Mapping[str, object]
) -> None:
    """Note faces whose names or agents are not their own."""
    for name, face in made.items():
        if name in providers:
            top.error("compat", f"a provider is called `{name}` too", "give the provider another name")
        if face.agent != name and face.agent not in written:
            top.error("compat", f"unknown agent `{face.agent[:60]}`", meant(face.agent, written))


def opened(server: ServerConfig, made: Mapping[str, FaceConfig]) -> ServerConfig:
    """AgentGate's clients ask for `/health` without a key."""
    return replace(server, public_health=True) if "agentgate" in made else server
