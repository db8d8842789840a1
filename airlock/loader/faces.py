"""The `compat:` key: which sister APIs the gateway speaks, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from airlock.config import (
    AgentConfig,
    FaceConfig,
    HttpProxyConfig,
    JudgeConfig,
    PatternLists,
    ServerConfig,
)
from airlock.hooks.urls import host_of
from airlock.loader.fields import Section
from airlock.loader.reading import meant
from airlock.loader.sections import COMPAT

_PORT: Final = re.compile(r"(?::[1-9][0-9]{0,4})?")
_USUAL: Final = HttpProxyConfig()
_MOST_TIME: Final = 300_000
_MOST_BYTES: Final = 1 << 20
_JUDGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+\Z")
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
        http_proxy=_http_proxy(section, name),
        nlp=_judges(section, name),
    )


def _http_proxy(face: Section, name: str) -> HttpProxyConfig | None:
    """Whether and how the gateway runs the requests of `http_proxy`; None where their clients do."""
    if face.found("http_proxy") is None:
        return None
    if name != "firewall":
        face.error("http_proxy", f"is an option of `firewall`, not of `{name}`")
    section = face.section("http_proxy", "http_proxy")
    hosts: set[str] = set()
    for text, found in section.texts("allow_hosts", single=True):
        if not _is_place(text):
            section.reading.error(
                found.line,
                found.path,
                f"`{text[:60]}` is not a host, or a host and a port",
                "write `intranet.example`, `intranet.example:8080` or `10.0.0.7:8080`, in small letters",
            )
        hosts.add(text)
    timeout = section.duration("timeout", _USUAL.timeout_ms) or _USUAL.timeout_ms
    if timeout > _MOST_TIME:
        section.error("timeout", "must be at most 5m")
    return HttpProxyConfig(
        allow_hosts=frozenset(hosts),
        timeout_ms=timeout,
        max_response_bytes=section.whole(
            "max_response_bytes", _USUAL.max_response_bytes, least=1, most=_MOST_BYTES
        ),
    )


def _is_place(text: str) -> bool:
    """True for a host, with a port or without, as it stands in the normal form of a URL."""
    host, sure = host_of(f"http://{text}/")
    shown = f"[{host}]" if ":" in host else host
    return sure and text.startswith(shown) and bool(_PORT.fullmatch(text.removeprefix(shown)))


def _judges(face: Section, name: str) -> dict[str, JudgeConfig]:
    """The servers of models by name, in the order of the file: the first is the usual one."""
    if face.found("nlp") is not None and name != "firewall":
        face.error("nlp", f"is an option of `firewall`, not of `{name}`")
    return {key: _judge(one, key) for key, one in face.sections("nlp", "nlp", mapping=True)}


def _judge(section: Section, name: str) -> JudgeConfig:
    """One server of models; a wrong address would send texts to a stranger, or in the clear."""
    if not _JUDGE.match(name) or name == "local":
        section.reading.error(
            section.line,
            section.path,
            f"`{name[:40]}` is not a name for it",
            "letters, digits and `._-`, at most 40, and not `local`",
        )
    url = section.text("url")
    if not url:
        section.missing("url", "the base of an OpenAI-compatible API")
    else:
        _check_address(section, url)
    models = tuple(dict.fromkeys(text for text, _ in section.texts("models", single=True)))
    if not models:
        section.missing("models", "the models that policies may name")
    key = section.secret("api_key")
    if key is not None and not _TOKEN.match(key.reveal()):
        section.error("api_key", "has a character that a header cannot carry")
    return JudgeConfig(
        name=name,
        url=url.rstrip("/"),
        models=models,
        api_key=key,
        timeout_ms=section.duration("timeout", 10_000, least=100) or 10_000,
        parallel=section.whole("parallel", 4, least=1, most=64),
    )


def _check_address(section: Section, url: str) -> None:
    from airlock.posting import Target, Undeliverable

    try:
        Target.of(url)
        usable = "?" not in url and "#" not in url  # a path is put after it
    except Undeliverable:
        usable = False
    if not usable:
        section.error(
            "url",
            "must be an https URL without user, password and query; http only on loopback",
            "like `https://llm.example.com/v1`",
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
