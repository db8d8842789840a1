"""What the routes work with: the gate, and what the HTTP process keeps beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from airlock.config import Config
from airlock.limits import SlidingLimits
from airlock.ports import Clock, MakeId
from airlock.ports_faces import RecordStore
from airlock.ports_keys import KeyStore
from airlock.values import dataclass
from airlock.web.auth import Authenticator
from airlock.web.errands import Errands
from airlock.web.holder import Holder
from airlock.web.metrics import Metrics

if TYPE_CHECKING:
    from airlock.gate import Gate
    from airlock.joins import Joins
    from airlock.web.compat.face import Face
    from airlock.web.feed import Feed
    from airlock.web.waiting import Waiting

REST_PER_MINUTE = 6_000
HOOKS_PER_MINUTE = 12_000

T = TypeVar("T")

Facts = Callable[[], Mapping[str, Any]]
"""More fields for the full `/health`, from whoever runs the process (`providers`, say)."""


@runtime_checkable
class Running(Protocol):
    """Something held that must end with the process."""

    async def close(self) -> None:
        """End it."""
        ...


class Closing:
    """Says that the process ends, to every answer that is still open; and waits until they are given."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def open(self) -> int:
        """How many long answers are still open."""
        return self._open

    @contextmanager
    def held(self) -> Iterator[None]:
        """Around an answer that may take long: `drain` waits for it."""
        self._open += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()

    async def drain(self, seconds: float) -> bool:
        """Ask all to end, and wait for them at most that long; True when all have."""
        self.asked.set()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything a route may need, made once by `build_app`."""

    gate: Gate
    keys: KeyStore | None
    authenticator: Authenticator
    feed: Feed
    waiting: Waiting
    joins: Joins
    metrics: Metrics
    clock: Clock
    make_id: MakeId
    facts: Facts
    bound: str
    started_at: int
    description: Mapping[str, Any] = field(default_factory=dict)
    faces: tuple[Face, ...] = ()
    records: RecordStore | None = None
    holder: Holder = field(default_factory=Holder)
    errands: Errands = field(default_factory=Errands)
    closing: Closing = field(default_factory=Closing)
    limits: SlidingLimits = field(default_factory=SlidingLimits)
    held: dict[type, Any] = field(default_factory=dict)

    def one(self, kind: type[T], make: Callable[[], T]) -> T:
        """What there is one of in this process, made when it is first asked for."""
        if kind not in self.held:
            self.held[kind] = make()
        found: T = self.held[kind]
        return found

    async def close(self) -> None:
        """End what is held and runs."""
        for held in self.held.values():
            if isinstance(held, Running):
                await held.close()

    @property
    def config(self) -> Config:
        """The config in force now: a reload replaces it."""
        return self.gate.config
