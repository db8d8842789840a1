"""The config as frozen values: what `loader.load` returns and every other floor reads.

Nothing here reads a file. Durations are milliseconds. Lists of patterns keep where each stood, so
that an explanation can name the line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from airlock.errors import Problem
from airlock.model import NOTHING, Effect, Risk
from airlock.values import dataclass

HOOK_NAMESPACES = frozenset({"bash", "file", "http", "agent", "todo", "notebook", "exec", "python"})
"""Reserved provider names: hooks and built-ins use them, and no wildcard provider matches them."""

MCP_NAMES = ("airlock", "plugin:airlock:airlock")
"""What clients call Airlock as an MCP server: its usual entry, and that of its Claude Code plugin."""

DEFAULT_REDACT = ("password", "token", "secret", "key", "authorization")


class Secret:
    """A value from the environment or a file: it never prints; `reveal` is the one way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that must send it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The gateway's listener and the people's secret."""

    host: str = "127.0.0.1"
    port: int = 4111
    api_secret: Secret | None = None
    public_health: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthConfig:
    """How Airlock comes to its tokens for one server: a person logs in with `airlock login`, or, where
    `token_url` is set, Airlock itself does with `client_id` and `client_secret`.
    """

    client_id: str = ""
    client_secret: Secret | None = None
    scope: str = ""
    token_url: str = ""
    callback_port: int = 18432
    callback_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """One MCP server behind us. `prefix` is "" when its tool names pass unchanged (`prefix: none`)."""

    name: str
    type: Literal["builtin", "stdio", "http", "sse"]
    enabled: bool = True
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, Secret] = NOTHING
    cwd: Path | None = None
    url: str = ""
    headers: Mapping[str, Secret] = NOTHING
    prefix: str = ""
    timeout_ms: int = 60_000
    sampling: bool = True
    elicitation: bool = True
    roots: bool = True
    oauth: OAuthConfig | None = None

    @property
    def allowed(self) -> frozenset[str]:
        """What this server may ask the client for."""
        asks = {"sampling": self.sampling, "elicitation": self.elicitation, "roots": self.roots}
        return frozenset(name for name, may in asks.items() if may)

    @property
    def endpoint(self) -> str:
        """A digest of what is started or called, without environment or header values."""
        where = [self.type, self.command, list(self.args), str(self.cwd or ""), self.url]
        return hashlib.sha256(json.dumps(where).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternLine:
    """One pattern of an allow, ask or deny list, as written, and where. `!` is still in `text`."""

    text: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternLists:
    """The three lists of one profile or agent; `owner` is `profiles.NAME` or `agents.NAME`."""

    owner: str
    extends: tuple[str, ...] = ()
    allow: tuple[PatternLine, ...] = ()
    ask: tuple[PatternLine, ...] = ()
    deny: tuple[PatternLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """One agent. `lists.extends` has the default profile already in front where it applies.

    `implied`: nobody wrote it; it is there for the keys of a sister API.
    """

    name: str
    lists: PatternLists
    token: Secret | None = None
    wait: Literal["auto", "hold", "pending", "task"] = "auto"
    patience_ms: int | None = None
    mcp_names: tuple[str, ...] = MCP_NAMES
    implied: bool = False
    permission_tool: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `count` calls in any `window_ms`."""

    count: int
    window_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """A daily window `[start, end)` in minutes after midnight of `timezone`; it may pass midnight.

    `days` are 0 (Monday) to 6; empty means every day.
    """

    start: int
    end: int
    timezone: str = "UTC"
    days: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleConfig:
    """One rule with conditions. `agents` empty means all. `args` is the mapping as written.

    `where` is file:line; `wheres` has file:line for each key of the rule, for messages about them.
    """

    id: str
    where: str
    agents: tuple[str, ...] = ()
    tools: tuple[str, ...]
    effect: Effect
    args: Mapping[str, Any] = NOTHING
    when: str = ""
    unless: str = ""
    reason: str = ""
    risk: Risk = Risk.LOW
    rate: RateLimit | None = None
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    timeout_ms: int | None = None
    reuse_ms: int | None = None
    redact: tuple[str, ...] = ()
    between: Hours | None = None
    observe: bool = False
    wheres: Mapping[str, str] = NOTHING

    def place(self, key: str) -> str:
        """file:line of one key of the rule, else of the rule."""
        return str(self.wheres.get(key, self.where))


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCase:
    """One case of `tests:`. `rule` is None when the case does not name one."""

    where: str
    agent: str
    tool: str
    args: Mapping[str, Any] = NOTHING
    expect: Effect
    rule: str | None = None
    at: int | None = None
    cwd: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalConfig:
    """How questions live. `patience_ms` None is auto."""

    timeout_ms: int = 300_000
    grace_ms: int = 120_000
    patience_ms: int | None = None
    code_length: int = 6
    max_pending: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """What history keeps. `durability: power` commits plain events with fsync too."""

    retention_days: int = 90
    redact_fields: tuple[str, ...] = DEFAULT_REDACT
    durability: Literal["crash", "power"] = "crash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Someone who decides: their local user name and the ids of their keys."""

    name: str
    local: str = ""
    keys: tuple[str, ...] = ()

    def has(self, identity: str) -> bool:
        """True when this identity (`local:USER`, `key:ID`) is this person's."""
        road, _, name = identity.partition(":")
        return (road == "local" and bool(name) and name == self.local) or (
            road == "key" and name in self.keys
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """One way to tell people. `run` is an argument list, never a shell line."""

    type: Literal["command", "webhook", "bell"]
    run: tuple[str, ...] = ()
    url: str = ""
    headers: Mapping[str, Secret] = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProxyConfig:
    """That the gateway makes the HTTP requests that were allowed, within these bounds.

    `allow_hosts` are `host` or `host:port` that may lie inside, or at another port than 80 and 443.
    """

    allow_hosts: frozenset[str] = frozenset()
    timeout_ms: int = 30_000
    max_response_bytes: int = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """A server of models that judge texts, in OpenAI's form. `name` is what policies call it.

    `models` are those that policies may name, the first is the usual one. `parallel` questions at once.
    """

    name: str
    url: str
    models: tuple[str, ...]
    api_key: Secret | None = None
    timeout_ms: int = 10_000
    parallel: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceConfig:
    """One sister API that the gateway speaks. `agent` is whose policy holds for a key that is bound to none.

    `wrapped`: lists are objects, as the API's later clients read them. `approver`: Airlock is the other end
    of a pairing, and reads what comes encrypted. `http_proxy`: the gateway itself runs that tool's actions.
    `nlp` are the models that policies may ask.
    """

    name: str
    agent: str
    wrapped: bool = False
    approver: bool = False
    http_proxy: HttpProxyConfig | None = None
    nlp: Mapping[str, JudgeConfig] = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One loaded config: valid as far as its own text can tell. `warnings` are worth showing.

    `file` is the real path (also the workspace that binds approvals); `digest` is the SHA-256 of its
    bytes; `policy_text` is what of it decides, without secrets; `database` is an absolute `sqlite:///…`;
    `sources` are the other files whose text went into it (`env_file`, `${file:…}`).
    """

    file: Path
    digest: str
    policy_text: str = ""
    server: ServerConfig = field(default_factory=ServerConfig)
    database: str
    providers: Mapping[str, ProviderConfig] = NOTHING
    profiles: Mapping[str, PatternLists] = NOTHING
    agents: Mapping[str, AgentConfig] = NOTHING
    rules: tuple[RuleConfig, ...] = ()
    tests: tuple[PolicyCase, ...] = ()
    people: Mapping[str, Person] = NOTHING
    approvals: ApprovalConfig = field(default_factory=ApprovalConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    notify: tuple[NotifyConfig, ...] = ()
    compat: Mapping[str, FaceConfig] = NOTHING
    names_max: int = 48
    reload: Literal["auto", "trust", "off"] = "auto"
    sources: tuple[Path, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def revision(self) -> str:
        """The policy's revision, which every decision names: the SHA-256 of its text."""
        return hashlib.sha256(self.policy_text.encode()).hexdigest()

    @property
    def workspace(self) -> str:
        """What binds fingerprints and grants to this config."""
        return str(self.file)
