"""The `providers:` section: the MCP servers behind Airlock."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from airlock.config import HOOK_NAMESPACES, ProviderConfig, Secret
from airlock.loader.fields import Section
from airlock.loader.oauth import KEYS as OAUTH_KEYS
from airlock.loader.oauth import oauth
from airlock.loader.reader import Node
from airlock.loader.reading import Found, Reading
from airlock.loader.settings import headers, sensitive, url
from airlock.loader.substitution import refers

_Type = Literal["builtin", "stdio", "http", "sse"]
_TYPES: Final[tuple[_Type, ...]] = ("builtin", "stdio", "http", "sse")
_CONSENTS: Final[tuple[Literal["allow", "deny"], ...]] = ("allow", "deny")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\Z")
_PREFIX = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]|_(?!_))*\Z")
_VARIABLE = re.compile(r"[^=\x00]+\Z")
_LONGEST_NAME: Final = 40
_OF_TYPE: Final[dict[str, frozenset[_Type]]] = {
    "command": frozenset({"stdio"}),
    "args": frozenset({"stdio"}),
    "env": frozenset({"stdio"}),
    "cwd": frozenset({"stdio", "builtin"}),
    "url": frozenset({"http", "sse"}),
    **{key: frozenset[_Type]({"http", "sse"}) for key in ("headers", *OAUTH_KEYS)},
}


def providers(reading: Reading, found: Found | None) -> dict[str, ProviderConfig]:
    """Every provider that could be read, in the order of the file."""
    if found is None:
        return {}
    if found.node.keys is None:
        reading.error(found.line, found.path, "must be a mapping of names to servers")
        return {}
    known: dict[str, ProviderConfig] = {}
    for name, node in found.node.value.items():
        line, path = found.node.keys[name], f"{found.path}.{name}"
        _check_name(reading, name, line, path)
        one = _provider(reading, name, replace(node, line=line), path)
        if one is not None:
            known[name] = one
    _check_prefixes(reading, found, known)
    return known


def _check_name(reading: Reading, name: str, line: int, path: str) -> None:
    if name in HOOK_NAMESPACES:
        reading.error(
            line, path, f"`{name}` is reserved for what hooks report", "give the server another name"
        )
    elif not _NAME.match(name) or len(name) > _LONGEST_NAME:
        reading.error(
            line,
            path,
            f"`{name[:60]}` is not a provider name",
            f"lower-case letters, digits and `-`, at most {_LONGEST_NAME}",
        )


def _provider(reading: Reading, name: str, node: Node, path: str) -> ProviderConfig | None:
    if node.value == "builtin":
        return ProviderConfig(name=name, type="builtin", prefix=name)
    if node.value is None or isinstance(node.value, str):
        reading.error(node.line, path, "must be `builtin` or a mapping with `type`")
        return None
    enabled = Section(_quiet(reading), "provider", node, path).flag("enabled", default=True)
    section = Section(reading, "provider", node, path, resolve=enabled)
    section.flag("enabled", default=True)
    kind = _kind(section)
    if kind is None:
        return None
    _check_keys(section, kind)
    return ProviderConfig(
        name=name,
        type=kind,
        enabled=enabled,
        command=_command(section, kind),
        args=tuple(text for text, _ in section.texts("args", numbers=True)),
        env=_env(section),
        cwd=_cwd(section),
        url=_url(section, kind),
        headers=headers(section),
        prefix=_prefix(section, name),
        timeout_ms=section.duration("timeout", 60_000) or 60_000,
        sampling=section.choice("sampling", _CONSENTS, "allow") != "deny",
        elicitation=section.choice("elicitation", _CONSENTS, "allow") != "deny",
        roots=section.choice("roots", _CONSENTS, "allow") != "deny",
        oauth=oauth(section),
    )


def _quiet(reading: Reading) -> Reading:
    return replace(reading, problems=[], sources=[])


def _kind(section: Section) -> _Type | None:
    if section.found("type") is not None:
        return section.choice("type", _TYPES, None)
    if section.found("command") is not None:
        return "stdio"
    if section.found("url") is not None:
        return "http"
    section.missing("type", "`stdio`, `http`, `sse` or `builtin`")
    return None


def _check_keys(section: Section, kind: _Type) -> None:
    for key, kinds in _OF_TYPE.items():
        if section.found(key) is not None and kind not in kinds:
            section.error(key, f"does not belong to a provider of type `{kind}`")


def _command(section: Section, kind: _Type) -> str:
    command = section.text("command")
    found = section.found("command")
    if kind == "stdio" and (found is None or not found.node.raw.strip()):
        section.missing("command", "the program to start")
    if found is None or not command or (not section.resolve and refers(command)):
        return command
    if " " in command and "/" not in command:
        section.warn("command", "has a blank in it: it is one program's name, not a shell line", "use `args`")
    # A bare name is looked up on PATH; a relative path belongs to the config file.
    return str(section.reading.resolved(command)) if "/" in command or command.startswith("~") else command


def _env(section: Section) -> dict[str, Secret]:
    values = section.secrets("env", sensitive=sensitive)
    for name, value in values.items():
        if not _VARIABLE.match(name) or "\x00" in value.reveal():
            section.error("env", f"`{name[:40]}` cannot be passed to a program")
    return values


def _cwd(section: Section) -> Path | None:
    cwd = section.text("cwd")
    return section.reading.resolved(cwd) if cwd else None


def _url(section: Section, kind: _Type) -> str:
    address = section.text("url")
    if kind not in {"http", "sse"}:
        return address
    if section.found("url") is None:
        section.missing("url", "where the server is")
    elif address:
        url(section, section.found("url"), address)
    return address


def _prefix(section: Section, name: str) -> str:
    prefix = section.text("prefix", name)
    if prefix == "none":
        return ""
    if not (not section.resolve and refers(prefix)) and (not _PREFIX.match(prefix) or len(prefix) > 40):
        section.error("prefix", "must be letters, digits, `-` and single `_`", "or `none`")
    return prefix


def _check_prefixes(reading: Reading, found: Found, known: dict[str, ProviderConfig]) -> None:
    owners: dict[str, str] = {}
    for name, one in known.items():
        if not one.enabled or not one.prefix:
            continue
        owner = owners.setdefault(one.prefix, name)
        if owner != name:
            line = (found.node.keys or {}).get(name, found.line)
            reading.error(line, f"{found.path}.{name}.prefix", f"`{one.prefix}` is already that of `{owner}`")
