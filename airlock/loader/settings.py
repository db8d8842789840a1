"""The sections of the config that are not policy: server, approvals, audit, people, notify, names."""

from __future__ import annotations

import re
from typing import Final, Literal

from airlock.config import (
    DEFAULT_REDACT,
    ApprovalConfig,
    AuditConfig,
    NotifyConfig,
    Person,
    Secret,
    ServerConfig,
)
from airlock.loader.fields import Section
from airlock.loader.reading import Found, Reading, meant

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_SENSITIVE = re.compile(r"authorization|cookie|token|secret|password|key", re.IGNORECASE)
_UNUSED_SURFACES: Final = frozenset({"stdio", "tui", "dashboard"})
_Notice = Literal["command", "webhook", "bell"]
_NOTICES: Final[tuple[_Notice, ...]] = ("command", "webhook", "bell")
_DURABILITIES: Final[tuple[Literal["crash", "power"], ...]] = ("crash", "power")


def sensitive(name: str) -> bool:
    """True for a header or variable whose value is usually a secret."""
    return _SENSITIVE.search(name) is not None


def server(section: Section) -> ServerConfig:
    """The `server:` section."""
    host = section.text("host", "127.0.0.1").strip()
    if not host or any(character.isspace() or character == "/" for character in host):
        section.error("host", "must be a host name or address")
    secret = section.secret("api_secret")
    if host not in LOOPBACK and secret is None:
        section.warn(
            "host",
            f"the gateway does not start on `{host}` without `server.api_secret`",
            'set one: api_secret: "${AIRLOCK_API_SECRET}"',
        )
    return ServerConfig(
        host=host,
        port=section.whole("port", 4111, most=65535),
        api_secret=secret,
        public_health=section.flag("public_health", default=False),
        allowed_hosts=tuple(text for text, _ in section.texts("allowed_hosts")),
        allowed_origins=_origins(section),
    )


def _origins(section: Section) -> tuple[str, ...]:
    origins: list[str] = []
    for text, found in section.texts("allowed_origins"):
        parts = split_url(text)
        if parts is None or parts[1] not in {"", "/"} or text == "*":
            section.reading.error(found.line, found.path, "must be an origin", "like `https://example.com`")
        origins.append(text.rstrip("/"))
    return tuple(origins)


def split_url(text: str) -> tuple[str, str] | None:
    """Scheme and path of a usable http(s) URL, else None."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    if not usable or any(character.isspace() or ord(character) < 32 for character in text):
        return None
    return parts.scheme, parts.path


def url(section: Section, found: Found | None, value: str) -> None:
    """Note a problem when the value of `url` is not an http(s) URL."""
    if found is None or split_url(value) is not None or (not section.resolve and "${" in value):
        return
    section.reading.error(
        found.line, found.path, "must be an http or https URL", "like `https://example.com/mcp`"
    )


def headers(section: Section) -> dict[str, Secret]:
    """The `headers` of a section; those that HTTP cannot carry are noted."""
    values = section.secrets("headers", sensitive=sensitive)
    found = section.found("headers")
    for name, value in values.items():
        line = (found.node.keys or {}).get(name, found.line) if found else section.line
        if not _HEADER.match(name):
            section.reading.error(line, section.at(f"headers.{name}"), f"`{name[:40]}` is not a header name")
        if any(ord(character) < 32 or ord(character) == 127 for character in value.reveal()):
            section.reading.error(line, section.at(f"headers.{name}"), "has a control character in it")
    return values


def approvals(section: Section) -> ApprovalConfig:
    """The `approvals:` section."""
    plain = ApprovalConfig()
    if section.found("batch_window_ms"):
        section.warn("batch_window_ms", "is not used: people are told at once")
    return ApprovalConfig(
        timeout_ms=section.duration("timeout", plain.timeout_ms) or plain.timeout_ms,
        grace_ms=_or(section.duration("grace", plain.grace_ms, least=0), plain.grace_ms),
        patience_ms=patience(section),
        code_length=section.whole("code_length", plain.code_length, least=4, most=12),
        max_pending=section.whole("max_pending", plain.max_pending, least=1, most=1_000_000),
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def patience(section: Section) -> int | None:
    """`patience: auto` or a duration; None is auto."""
    found = section.found("patience")
    if found is not None and found.node.value == "auto":
        return None
    return section.duration("patience", None, least=0)


def audit(section: Section) -> AuditConfig:
    """The `audit:` section."""
    fields = tuple(text for text, _ in section.texts("redact_fields"))
    return AuditConfig(
        retention_days=section.whole("retention_days", 90, most=36_500),
        redact_fields=fields if section.found("redact_fields") else DEFAULT_REDACT,
        durability=section.choice("durability", _DURABILITIES, "crash") or "crash",
    )


def people(sections: list[tuple[str, Section]]) -> dict[str, Person]:
    """The `people:` section. One identity belongs to one person, or a quorum would count it twice."""
    found: dict[str, Person] = {}
    owners: dict[str, str] = {}
    for name, section in sections:
        person = Person(
            name=name,
            local=section.text("local"),
            keys=tuple(text for text, _ in section.texts("keys", single=True)),
        )
        identities = [("local", f"local:{person.local}")] if person.local else []
        identities += [("keys", f"key:{key}") for key in person.keys]
        if not identities:
            section.missing("local", "without it or `keys` this person can decide nothing")
        for key, identity in identities:
            owner = owners.setdefault(identity, name)
            if owner != name:
                section.error(key, f"`{identity}` is already `{owner}`: one identity is one person")
        found[name] = person
    return found


def notify(entries: list[Section]) -> tuple[NotifyConfig, ...]:
    """The `notify:` list."""
    told = [_notice(section) for section in entries]
    return tuple(one for one in told if one is not None)


def _notice(section: Section) -> NotifyConfig | None:
    if section.found("type") is None:
        section.missing("type", "`command`, `webhook` or `bell`")
        return None
    kind = section.choice("type", _NOTICES, None)
    run = tuple(text for text, _ in section.texts("run", single=False, numbers=True))
    address = section.text("url")
    values = headers(section)
    if kind == "command" and not run and section.found("run") is None:
        section.missing("run", "the program and its arguments")
    if kind == "webhook":
        if section.found("url") is None:
            section.missing("url", "where to post")
        url(section, section.found("url"), address)
    for key, owner in (("run", "command"), ("url", "webhook"), ("headers", "webhook")):
        if kind is not None and kind != owner and section.found(key):
            section.error(key, f"does not belong to type `{kind}`")
    if kind is None:
        return None
    return NotifyConfig(type=kind, run=run, url=address, headers=values)


def older_notices(reading: Reading, approvals_section: Section) -> tuple[NotifyConfig, ...]:
    """What `approvals.provider` of an older file becomes: its webhooks; the rest is named."""
    found = approvals_section.found("provider")
    if found is None:
        return ()
    nodes = found.node.value if found.node.is_list else [found.node]
    told: list[NotifyConfig] = []
    for node in nodes:
        kind = node.value.get("type") if node.keys is not None else None
        word = str(kind.value) if kind is not None else ""
        if word == "webhook":
            told += notify([Section(reading, "notify", node, found.path)])
        elif word in _UNUSED_SURFACES:
            reading.warn(
                node.line,
                found.path,
                f"`{word}` is not used",
                "answer with `airlock approve` or `airlock watch`",
            )
        else:
            hint = meant(word, ["webhook"]) or "use `notify:` with `type: command`"
            reading.error(node.line, found.path, f"`{word[:40]}` is not a way to tell people", hint)
    return tuple(told)


def names_max(section: Section) -> int:
    """`names.max`: how long a tool's name may get."""
    return section.whole("max", 48, least=16, most=64)
