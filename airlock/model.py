"""The vocabulary: frozen values that every floor speaks, and nothing that does anything.

Times are integer milliseconds since the Unix epoch, UTC. Durations are integer milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, NamedTuple, TypeAlias

from airlock.values import dataclass
from airlock.words import Effect as Effect
from airlock.words import Kind as Kind
from airlock.words import Outcome as Outcome
from airlock.words import PrincipalKind as PrincipalKind
from airlock.words import Refusal as Refusal
from airlock.words import Risk as Risk
from airlock.words import Status as Status

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Any]


class _Nothing(Mapping[str, Any]):
    """An empty mapping that can be a field's default: a MappingProxyType is unhashable before 3.12."""

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"


NOTHING: Mapping[str, Any] = _Nothing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks. `identity` names the credential: `agent:NAME`, `local:USER`, `key:ID` or `secret`."""

    kind: PrincipalKind = PrincipalKind.AGENT
    name: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a call came from; shown to the person, and `workspace` and `cwd` bind the approval."""

    road: str = "mcp"
    workspace: str = ""
    session: str = ""
    cwd: str = ""
    client: str = ""
    tool_use_id: str = ""


_NOWHERE = Origin()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the things that a call does: a shell line has several. `tool` is a policy name."""

    tool: str
    arguments: Mapping[str, Any] = NOTHING
    kind: Kind = Kind.TOOL


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewers:
    """Who must say yes for one rule: `quorum` different people, out of `names` unless it is empty."""

    rule: str
    names: frozenset[str] = frozenset()
    quorum: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """What the API that a call came through says of it, beside the config's policy: the strictest wins.

    `effect` None: none of its policies names the call; where the config is silent too, `otherwise` holds.
    `life_ms` is how long its question may be open, in place of `approvals.timeout`, a rule may say less;
    `until` is when it ends at the latest. `digest` stands for the text of what `rule` names. `consulted` are
    its policies that were asked, by name, each with the digest under which `texts` keeps what it said.
    """

    effect: Effect | None = None
    rule: str = ""
    reason: str = ""
    risk: Risk = Risk.LOW
    reviewers: tuple[Reviewers, ...] = ()
    life_ms: int | None = None
    until: int | None = None
    digest: str = ""
    consulted: Mapping[str, str] = NOTHING
    otherwise: Effect = Effect.ASK


class Call(NamedTuple):
    """What a principal wants: judged, and later run, with exactly these arguments.

    A tuple, as `Proceed` is: one is made for every call, twice as fast as a frozen dataclass.

    `name` is the upstream's own name (a URI for resources); `endpoint` identifies the upstream's
    command or URL, so that an approval for one server never covers another of the same name.
    `once` sets a question apart from those of identical calls: an API's request that has an id of its own.
    """

    id: str
    principal: Principal
    provider: str
    name: str
    kind: Kind = Kind.TOOL
    arguments: Mapping[str, Any] = NOTHING
    endpoint: str = ""
    parts: tuple[Part, ...] = ()
    origin: Origin = _NOWHERE
    once: str = ""
    overlay: Overlay | None = None

    @property
    def agent(self) -> str:
        """The agent whose policy applies."""
        return self.principal.name

    @property
    def tool(self) -> str:
        """The policy's name for it: `provider/tool`, `resource:provider/URI`, `prompt:provider/NAME`."""
        plain = f"{self.provider}/{self.name}" if self.provider else self.name
        return plain if self.kind is Kind.TOOL else f"{self.kind}:{plain}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateUse:
    """One use of a limited rule: the store refuses one that would make more than `limit` in `window_ms`."""

    scope: str
    limit: int
    window_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What comes with an effect; merged over all rules that matched (decisions.md 12)."""

    risk: Risk = Risk.LOW
    timeout_ms: int | None = None
    reuse_ms: int | None = None
    reviewers: tuple[Reviewers, ...] = ()
    redact: frozenset[str] = frozenset()
    rates: tuple[RateUse, ...] = ()

    @property
    def quorum(self) -> int:
        """How many different people must say yes; at least one."""
        return max((one.quorum for one in self.reviewers), default=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One rule that matched: for `explain`, the audit and whoever decides. `where` is file:line."""

    rule: str
    effect: Effect
    reason: str = ""
    where: str = ""
    observed: bool = False
    errored: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The policy's answer for one call, and why.

    `rule` is "" when nothing matched (then the effect is DENY). `rule_digest` changes when the rule's
    text changes. `tool` is the first part with the winning effect. `would` is what the rules in
    `mode: observe` would have made of it, else None. `silent`: a deny only because no rule names the call.
    """

    effect: Effect
    tool: str
    rule: str = ""
    rule_digest: str = ""
    reason: str = ""
    terms: Terms = field(default_factory=Terms)
    matched: tuple[Matched, ...] = ()
    revision: str = ""
    would: Effect | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One person's answer to one request."""

    identity: str
    approve: bool
    note: str = ""
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A person's open question, as the store keeps it. Arguments are already redacted.

    `version` grows by one with every change and is what compare-and-set compares. `scope`
    is the fingerprint without the arguments, which a grant for any arguments is bound to. `kept` is set
    once Airlock itself answered "pending": then the request needs no living waiter. `again` marks a question
    asked anew after another identical call spent the answer; `heard` is set once a caller was told of a
    denial, so that a caller who was away still finds it. `attended_at` is not written but joined in by
    the store as it reads: now while a waiter of a living process waits, else the last moment one did
    (when it stopped, or its process's last beat), None when none ever did.
    """

    id: str
    code: str
    fingerprint: str
    scope: str = ""
    status: Status = Status.PENDING
    version: int = 1
    agent: str
    identity: str
    kind: Kind = Kind.TOOL
    tool: str
    arguments: str
    parts: tuple[str, ...] = ()
    origin: Origin = field(default_factory=Origin)
    call_id: str
    rule: str = ""
    rule_digest: str = ""
    reason: str = ""
    matched: tuple[str, ...] = ()
    risk: Risk = Risk.LOW
    reviewers: tuple[Reviewers, ...] = ()
    reuse_ms: int | None = None
    grantable: bool = True
    kept: bool = False
    again: bool = False
    heard: bool = False
    created_at: int
    expires_at: int
    grace_ms: int
    decided_at: int | None = None
    decided_by: str = ""
    note: str = ""
    votes: tuple[Vote, ...] = ()
    attended_at: int | None = None
    seq: int = 0

    @property
    def quorum(self) -> int:
        """How many different people must say yes; at least one."""
        return max((one.quorum for one in self.reviewers), default=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A person's answer on its way in. `grant_ms` makes it a grant as well; `any_args` widens that.

    `via` is where it was given: `command`, `watch`, `rest`, or the name of a sister API.
    """

    approve: bool
    identity: str
    via: str = ""
    note: str = ""
    grant_ms: int | None = None
    any_args: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A standing yes with an end. `fingerprint` is a call's, or its scope when it covers any arguments."""

    id: str
    agent: str
    workspace: str
    tool: str
    fingerprint: str
    any_args: bool = False
    rule: str
    rule_digest: str
    request_id: str = ""
    granted_by: str
    granted_at: int
    expires_at: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """A call of a living process that waits on a request. `ended_at` is set when it stopped waiting."""

    id: str
    request_id: str
    process_id: str
    since: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Everything is denied, for one agent or (with agent "") for all."""

    agent: str = ""
    by: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What people have switched: pauses and grants, as of `revision`. A write names the revision it read."""

    revision: int = 0
    pauses: tuple[Pause, ...] = ()
    grants: tuple[Grant, ...] = ()

    def paused(self, agent: str) -> bool:
        """True when this agent, or everyone, is paused."""
        return any(pause.agent in {"", agent} for pause in self.pauses)


class Proceed(NamedTuple):
    """The call may run, with exactly `call.arguments`. Only the gate makes one, its event being committed."""

    call: Call
    decision: Decision
    started_at: int
    request_id: str = ""
    grant_id: str = ""


class Ended(NamedTuple):
    """How a call that ran came out, and when: `at` in ms since the epoch."""

    proceed: Proceed
    outcome: Outcome
    error: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The call must wait for a person."""

    call: Call
    decision: Decision
    request: ApprovalRequest
    waiter: Waiter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The call must not run. `reason` is a sentence the model may read: it never holds a code or an id.

    `tool` is the name that decided, which for a call of several parts is one of theirs; "" where none did.
    """

    call: Call
    kind: Refusal
    reason: str
    effect: Effect = Effect.DENY
    rule: str = ""
    request_id: str = ""
    tool: str = ""


Verdict: TypeAlias = Proceed | Wait | Refuse
