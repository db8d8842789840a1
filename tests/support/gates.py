"""A gate on a real SQLite file, with a clock that a test can move."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from airlock.gate import Gate
from airlock.ids import make_id, now_ms
from airlock.loader.file import loads
from airlock.model import ApprovalRequest, Call, Kind, Origin, Part, Principal
from airlock.policy import compile_policy
from airlock.ports import Notifier
from airlock.redaction import Redactor
from airlock.store.sqlite import SQLiteStore

KEY = b"k" * 32

POLICY = """
providers:
  demo: {type: builtin}
agents:
  claude-code:
    allow: ["demo/echo", "demo/read_*"]
    ask: ["demo/write_note", "demo/send_email", "demo/transfer"]
    deny: ["demo/delete_note"]
  other: {ask: ["demo/*"]}
people:
  alice: {local: alice}
  bob: {local: bob}
rules:
  - {id: big, agent: [claude-code], tool: demo/transfer, args: {amount: {gt: 100}}, effect: ask,
     quorum: 2, risk: high, reason: "large payments need two people"}
  - {id: often, agent: [claude-code], tool: demo/search, effect: allow, rate: 3/1m}
  - {id: reused, agent: [claude-code], tool: demo/publish, effect: ask, reuse: 10m}
"""


class Timekeeper:
    """A clock that runs by itself, and that a test can move forward."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return now_ms() + self.ahead_ms

    def forward(self, ms: int) -> None:
        """Let that much time pass at once."""
        self.ahead_ms += ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """A notifier that keeps what it was told."""

    told: list[tuple[str, ApprovalRequest]] = field(default_factory=list)

    async def opened(self, request: ApprovalRequest) -> None:
        self.told.append(("opened", request))

    async def settled(self, request: ApprovalRequest) -> None:
        self.told.append(("settled", request))


@contextlib.asynccontextmanager
async def open_gate(
    folder: Path,
    policy: str = POLICY,
    *,
    clock: Callable[[], int] = now_ms,
    notifiers: tuple[Notifier, ...] = (),
) -> AsyncIterator[Gate]:
    """A gate over `folder`/airlock.db, as one process would have it."""
    config = loads(policy, folder / "airlock.yaml")
    store = await SQLiteStore.open(folder / "airlock.db", clock=clock)
    gate = Gate(
        policy=compile_policy(config),
        store=store,
        config=config,
        redactor=Redactor(config.audit.redact_fields, KEY),
        fingerprint_key=KEY,
        notifiers=notifiers,
        clock=clock,
        make_id=make_id,
    )
    try:
        yield gate
    finally:
        await gate.close()
        await store.close()


_numbers = itertools.count(1)


def call(
    tool: str = "demo/echo", agent: str = "claude-code", *, parts: tuple[Part, ...] = (), cwd: str = "",
    road: str = "mcp", endpoint: str = "e", kind: Kind = Kind.TOOL, **arguments: object,
) -> Call:  # fmt: skip
    """A call as a face would make it."""
    provider, _, name = tool.partition("/")
    return Call(
        id=f"call-{next(_numbers)}",
        kind=kind,
        principal=Principal(name=agent, identity=f"agent:{agent}"),
        provider=provider,
        name=name,
        arguments=arguments,
        endpoint=endpoint,
        parts=parts,
        origin=Origin(road=road, workspace="/ws/airlock.yaml", cwd=cwd),
    )
