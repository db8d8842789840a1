"""What one agent sees of all upstreams: lists under wire names, as the policy shows them; the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airlock.config import ProviderConfig
from airlock.model import JsonObject, Kind
from airlock.proxy.link import Upstream
from airlock.proxy.names import Claim, NameTable, name_all
from airlock.proxy.offers import PROMPTS, RESOURCES, TEMPLATES, TOOLS, Offer, Section
from airlock.proxy.router import Router
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.gate import Gate
    from airlock.policy import Policy

MAX_URI: Final = 8_192
"""Longer URIs are not routed by templates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a wire name or a URI stands for. `shown` is False when the policy hides it from this agent."""

    provider: str
    name: str
    endpoint: str
    upstream: Upstream
    shown: bool
    item: JsonObject | None = None


class Catalog:
    """The lists as this agent may see them; rebuilt when an upstream's offer or the policy is another."""

    def __init__(self, router: Router, gate: Gate, agent: str) -> None:
        self._router = router
        self._gate = gate
        self._agent = agent
        self._version = -1
        self._policy: Policy | None = None
        self._tools: _Named | None = None
        self._prompts: _Named | None = None
        self._resources: _Addressed | None = None

    def _refresh(self) -> None:
        if self._version == self._router.version and self._policy is self._gate.policy:
            return
        self._version = self._router.version
        self._policy = self._gate.policy
        self._tools = self._prompts = self._resources = None

    def _named(self, section: Section, kind: Kind) -> _Named:
        claims = _claims(self._router, section)
        table = name_all(claims, self._router.config.names_max)
        return _Named(self._router, section, table, self._shown(kind))

    def _shown(self, kind: Kind) -> Callable[[str, str], bool]:
        policy, agent = self._gate.policy, self._agent

        def shown(provider: str, name: str) -> bool:
            return policy.listing(agent, kind, provider, name) is not None

        return shown

    @property
    def _tool_table(self) -> _Named:
        self._refresh()
        if self._tools is None:
            self._tools = self._named(TOOLS, Kind.TOOL)
        return self._tools

    @property
    def _prompt_table(self) -> _Named:
        self._refresh()
        if self._prompts is None:
            self._prompts = self._named(PROMPTS, Kind.PROMPT)
        return self._prompts

    @property
    def _resource_table(self) -> _Addressed:
        self._refresh()
        if self._resources is None:
            self._resources = _Addressed(self._router, self._shown(Kind.RESOURCE))
        return self._resources

    def tool(self, wire: str) -> Target | None:
        """The tool that this wire name stands for, hidden ones included; None when there is none."""
        self._refresh()
        table = self._tools or self._tool_table
        return table.targets.get(wire)

    def input_schema(self, wire: object) -> Any:
        """The input schema of that tool, None when there is none."""
        target = self.tool(wire) if isinstance(wire, str) else None
        return None if target is None or target.item is None else target.item.get("inputSchema")

    def prompt(self, wire: str) -> Target | None:
        """The prompt that this wire name stands for, hidden ones included; None when there is none."""
        return self._prompt_table.targets.get(wire)

    def resource(self, uri: str) -> Target | None:
        """The upstream that a URI belongs to; None when that cannot be told."""
        return self._resource_table.find(uri)

    def template(self, text: str) -> Target | None:
        """The upstream that gave this URI template."""
        return self._resource_table.templates_by_text.get(text)

    def items(self, section: Section) -> list[JsonObject]:
        """One list as it is shown: the upstreams' items unchanged but for wire names, in a fixed order."""
        if section is TOOLS:
            return self._tool_table.items
        if section is PROMPTS:
            return self._prompt_table.items
        table = self._resource_table
        return table.resources if section is RESOURCES else table.templates

    def visible(self, kind: Kind, provider: str, name: str) -> bool:
        """True when the policy shows this to the agent."""
        return self._shown(kind)(provider, name)

    def names(self) -> NameTable:
        """The wire names of all tools, and what could not be named."""
        return self._tool_table.names


def _claims(router: Router, section: Section) -> Iterator[Claim]:
    for provider, offer, _ in router.offers():
        for item in offer.items(section):
            yield Claim(provider=provider.name, prefix=provider.prefix, name=item["name"])


class _Named:
    """Tools or prompts: by wire name."""

    def __init__(
        self, router: Router, section: Section, names: NameTable, shown: Callable[[str, str], bool]
    ) -> None:
        self.names = names
        self.items: list[JsonObject] = []
        self.targets: dict[str, Target] = {}
        for provider, offer, listed in router.offers():
            upstream = router.upstream(provider.name)
            for item in offer.items(section):
                wire = names.wires.get((provider.name, item["name"]))
                if wire is None:
                    continue
                visible = shown(provider.name, item["name"])
                self.targets[wire] = _target(provider, upstream, item["name"], item, shown=visible)
                if visible and listed:
                    self.items.append(item if wire == item["name"] else {**item, "name": wire})


def _target(
    provider: ProviderConfig, upstream: Upstream, name: str, item: JsonObject | None, *, shown: bool
) -> Target:
    return Target(
        provider=provider.name,
        name=name,
        endpoint=provider.endpoint,
        upstream=upstream,
        shown=shown,
        item=item,
    )


class _Addressed:
    """Resources: by URI. The first provider of the config that lists a URI, and shows it, owns it."""

    def __init__(self, router: Router, shown: Callable[[str, str], bool]) -> None:
        self._shown = shown
        self._router = router
        self.resources: list[JsonObject] = []
        self.templates: list[JsonObject] = []
        self.templates_by_text: dict[str, Target] = {}
        self._templates: list[tuple[list[str], str]] = []
        self._owners: dict[str, Target] = {}
        self._schemes: dict[str, set[str]] = {}
        for provider, offer, listed in router.offers():
            self._take(provider, offer, listed=listed)

    def _take(self, provider: ProviderConfig, offer: Offer, *, listed: bool) -> None:
        upstream = self._router.upstream(provider.name)
        for item in offer.items(RESOURCES):
            uri = item["uri"]
            target = _target(provider, upstream, uri, item, shown=self._shown(provider.name, uri))
            self._schemes.setdefault(_home(uri), set()).add(provider.name)
            owner = self._owners.get(uri)
            if owner is not None and (owner.shown or not target.shown):
                continue
            self._owners[uri] = target
            if target.shown and listed:
                self.resources.append(item)
        for item in offer.items(TEMPLATES):
            text = item["uriTemplate"]
            target = _target(provider, upstream, text, item, shown=self._shown(provider.name, text))
            self._schemes.setdefault(_home(text), set()).add(provider.name)
            if text in self.templates_by_text:
                continue
            self.templates_by_text[text] = target
            self._templates.append((fixed_pieces(text), provider.name))
            if target.shown and listed:
                self.templates.append(item)

    def find(self, uri: str) -> Target | None:
        """Who listed it; else whose template fits; else the only one at that address; else the only one."""
        owner = self._owners.get(uri)
        if owner is not None:
            return owner
        name = self._by_template(uri) or self._by_home(uri) or self._only()
        if name is None:
            return None
        provider = self._router.config.providers[name]
        shown = self._shown(name, uri)
        return _target(provider, self._router.upstream(name), uri, None, shown=shown)

    def _by_template(self, uri: str) -> str | None:
        if len(uri) > MAX_URI:
            return None
        fitting = [(len(pieces[0]), name) for pieces, name in self._templates if fits(pieces, uri)]
        # The template that fixes most of the beginning: one that takes everything takes nothing away.
        return max(fitting, key=lambda one: one[0])[1] if fitting else None

    def _by_home(self, uri: str) -> str | None:
        found = self._schemes.get(_home(uri), set())
        return next(iter(found)) if len(found) == 1 else None

    def _only(self) -> str | None:
        able = [
            one.name
            for one in self._router.upstreams()
            if one.state.phase == "ready" and "resources" in one.state.capabilities
        ]
        return able[0] if len(able) == 1 else None


def _home(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.partition(":")[0]
    return f"{parts.scheme}://{parts.netloc}"


def fits(pieces: list[str], uri: str) -> bool:
    """True when the URI could come from a template with these fixed pieces: they stand there in order.

    Only for finding the upstream; what may be read is the policy's affair. Linear in the URI.
    """
    if len(pieces) == 1:
        return uri == pieces[0]
    first, *middle, last = pieces
    if not uri.startswith(first) or not uri.endswith(last) or len(uri) < len(first) + len(last):
        return False
    at, end = len(first), len(uri) - len(last)
    for piece in middle:
        found = uri.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def fixed_pieces(template: str) -> list[str]:
    """What stands around the expressions of a URI template: `a/{b}/c` has `a/` and `/c`."""
    first, *rest = template.split("{")
    return [first, *(one.partition("}")[2] for one in rest)]
