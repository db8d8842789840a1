"""What the pipeline needs from the outside, in the domain's words. Adapters implement these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from airlock.model import ApprovalRequest, Controls, Grant, Pause, RateUse, Status, Vote, Waiter
from airlock.values import dataclass

Clock = Callable[[], int]
"""Now, in milliseconds since the epoch."""

MakeId = Callable[[], str]
"""A new unique id: 32 hex digits."""

MakeCode = Callable[[], str]
"""A new short code; the gate asks again when it is taken."""


class Draft(NamedTuple):
    """An audit event before it has a place in the chain. Everything in it is already redacted.

    `kind` is past tense: `call.allowed`, `call.denied`, `call.completed`, `request.opened`,
    `request.approved`, `request.used` … `body` holds the rest as JSON values, or is the JSON text of that
    object where whoever drafts it has the text already. Made twice a call, and a tuple is made twice as
    fast as a frozen dataclass.
    """

    id: str
    kind: str
    at: int
    body: Mapping[str, Any] | str
    call_id: str = ""
    request_id: str = ""
    agent: str = ""
    tool: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One line of history: a draft with its place in the chain. `hash` covers all of it and `prev`."""

    seq: int
    id: str
    kind: str
    at: int
    call_id: str
    request_id: str
    agent: str
    tool: str
    body: str
    prev: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One call's history in one line, joined from its events (decisions.md 39).

    `args` is JSON text. `result` is None while the call runs. `hitl_outcome` is approved, denied,
    timeout, cancelled or None when no person was asked.
    """

    id: str
    seq: int
    agent_id: str
    tool: str
    args: str
    result: str | None
    duration_ms: int | None
    hitl_outcome: str | None
    created_at: int
    rule: str = ""
    effect: str = ""
    reason: str = ""
    request_id: str = ""
    decided_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One transaction: all of it is committed, with synchronous=FULL, or none.

    requests   a row with version 1 is inserted; any other replaces the row whose version is one less.
               Conflict when that row is not there, when a code is taken, or when another live request
               has the fingerprint.
    votes      (request id, vote) pairs; Conflict when that identity has voted on it.
    waiters    inserted, or ended when `ended_at` is set.
    grants     inserted, or ended when `ended_at` is set; pauses are set, resumes lift them ("" = the
               pause of everyone); any of these makes a new controls revision.
    rates      each is counted and used in this transaction; Conflict when a limit would be passed.
    controls   the revision the decision was made on, or None when it does not matter; Stale when the
               store has a newer one.
    events     appended to the chain, in this order.
    """

    events: tuple[Draft, ...]
    requests: tuple[ApprovalRequest, ...] = ()
    votes: tuple[tuple[str, Vote], ...] = ()
    waiters: tuple[Waiter, ...] = ()
    grants: tuple[Grant, ...] = ()
    pauses: tuple[Pause, ...] = ()
    resumes: tuple[str, ...] = ()
    rates: tuple[RateUse, ...] = ()
    controls: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """Which requests: all fields that are set must match. `live_only` leaves out ended rows.

    They come oldest first, with `newest_first` the other way round.
    """

    live_only: bool = False
    statuses: frozenset[Status] = frozenset()
    agent: str = ""
    limit: int = 1000
    newest_first: bool = False
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which audit entries or events, newest first. `since` is inclusive, in milliseconds.

    `call` wants what happened to one call, `request` to one question, `asked` to any question.
    """

    agent: str = ""
    tool: str = ""
    since: int | None = None
    limit: int = 100
    call: str = ""
    request: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Which raw events of the chain, newest first: all fields that are set must match.

    `about` is the id of a call or of a question and wants all that happened around it; `kinds` are whole
    names; `succeeded` looks at outcomes only. `risk` wants events of calls that were decided with it.
    """

    agent: str = ""
    about: str = ""
    kinds: frozenset[str] | None = None
    succeeded: bool | None = None
    risk: str = ""
    since: int | None = None
    until: int | None = None
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What `verify` found. `broken_at` is the first bad sequence number, or None when all is well.

    `head_seq` is the event that the signed head names, None when there was no head to check against:
    then a tail that was cut off is not noticed.
    """

    events: int
    first_seq: int
    last_seq: int
    last_hash: str
    broken_at: int | None = None
    problem: str = ""
    head_seq: int | None = None

    @property
    def sound(self) -> bool:
        """True when nothing was edited, removed, inserted or cut off as far as this can tell."""
        return self.broken_at is None and not self.problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stretch of the chain: whole events, and for those of other calls only the digest of what they say.

    `before` is the hash that the first of them follows.
    """

    first_seq: int
    before: str
    links: tuple[AuditEvent | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All events of one call and of the questions it asked, where they stand, and the chain's end.

    The runs hold each event once, in order. There is more than one where too much lies in between.
    """

    runs: tuple[Run, ...]
    head_seq: int
    head_hash: str

    @property
    def events(self) -> list[AuditEvent]:
        """The events that are shown whole, oldest first."""
        return [link for run in self.runs for link in run.links if isinstance(link, AuditEvent)]


class Store(Protocol):
    """The queue, the grants, the pauses and the audit chain, shared by every process that opens it.

    Every method raises StoreError (or a subclass) when the database cannot be used, and then has
    written nothing.
    """

    @property
    def process_id(self) -> str:
        """The id under which this process beats and waits."""
        ...

    def record_now(self, draft: Draft, controls: int) -> bool:
        """Commit one plain event in place, if that needs no waiting; False when it was not tried.

        Stale when `controls` is no longer the revision.
        """
        ...

    def record_all_now(self, drafts: Sequence[Draft], controls: int) -> bool:
        """`record_now` for several plain events, in order and in one transaction."""
        ...

    async def record(self, drafts: Sequence[Draft], controls: int | None = None) -> None:
        """Commit plain events in order, together with what others record at that moment."""
        ...

    async def commit(self, change: Change) -> None:
        """Commit one change whole, or raise Conflict or Stale and commit nothing."""
        ...

    def controls_now(self) -> Controls:
        """Pauses and grants as last read; `controls` reads them anew."""
        ...

    async def controls(self) -> Controls:
        """Pauses and grants, read from the database."""
        ...

    async def find(self, reference: str) -> ApprovalRequest | None:
        """The request with this id or, ignoring case, this code; whatever its status."""
        ...

    async def live(self, fingerprint: str) -> ApprovalRequest | None:
        """The stored pending or approved request for this fingerprint (perhaps past its time)."""
        ...

    async def latest(self, fingerprint: str) -> ApprovalRequest | None:
        """The newest request for this fingerprint, whatever its status."""
        ...

    async def requests(self, wanted: RequestFilter) -> list[ApprovalRequest]:
        """Requests, oldest first."""
        ...

    async def count_pending(self, agent: str) -> int:
        """How many stored requests of this agent are pending (perhaps past their time)."""
        ...

    async def waiters(self, request_id: str) -> list[Waiter]:
        """The waiters of living processes that have not ended, oldest first."""
        ...

    async def count_rate(self, scope: str, since: int) -> int:
        """How many uses of that scope are recorded at or after `since`."""
        ...

    def stamp(self) -> int:
        """A number that changes when any process has committed; costs microseconds, never blocks."""
        ...

    async def changed_since(self, seq: int) -> tuple[int, list[ApprovalRequest]]:
        """The newest sequence number, and the requests changed after `seq`."""
        ...

    async def beat(self) -> None:
        """Say that this process lives; its waiters count as attended until three beats are missed."""
        ...

    async def lives(self, process_id: str) -> bool:
        """True for this process, and for another that beat of late and has not ended."""
        ...

    async def entries(self, wanted: AuditFilter) -> list[AuditEntry]:
        """One entry a call, newest first."""
        ...

    async def events(
        self, *, after: int = 0, limit: int = 1000, wanted: AuditFilter | None = None
    ) -> list[AuditEvent]:
        """Raw events with seq > `after`, oldest first."""
        ...

    async def page(self, wanted: EventPage) -> tuple[list[AuditEvent], int]:
        """One page of raw events, newest first, and how many there are in all."""
        ...

    async def evidence(self, reference: str) -> Evidence | None:
        """What the chain holds of the call, question or event with this id; None when there is none.

        StoreError when the chain does not hold there.
        """
        ...

    async def verify(self) -> ChainReport:
        """Walk the chain and say whether it holds."""
        ...

    def log_bytes(self) -> int:
        """The bytes of what was committed and may not be in the database proper yet; costs microseconds."""
        ...

    async def prune(self, before: int) -> int:
        """Remove the whole prefix of events older than `before`; leaves an `audit.pruned` event."""
        ...

    async def grants(self) -> list[Grant]:
        """Every grant that was not revoked and whose end is not past, newest first."""
        ...

    async def close(self) -> None:
        """Flush what is queued and let go of the files."""
        ...


class Notifier(Protocol):
    """Tells people that something waits. Its failures never change a verdict."""

    async def opened(self, request: ApprovalRequest) -> None:
        """A request was opened, or reopened."""
        ...

    async def settled(self, request: ApprovalRequest) -> None:
        """A request ended: approved, denied, expired or cancelled."""
        ...
