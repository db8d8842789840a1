"""Who looks after an open store, a moment after its commits: signs the head and keeps SQLite's log small."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from airlock.errors import StoreError
from airlock.ports import Clock
from airlock.store import log as logs
from airlock.store import upkeep
from airlock.store.head import Seal
from airlock.store.transaction import Writing
from airlock.store.worker import Worker

SIGN_SECONDS = 2.0
"""How long after a commit the head is signed, and after how long a log that somebody holds is tried again."""

LOOK_EVERY = logs.MIB
"""Bytes of ours between two looks at the log, which all processes share: a look takes two microseconds."""

QUIET_LOG = 6 * logs.MIB
"""Bytes that are taken in where little comes: less than QUIET since the last round."""

QUIET = logs.MIB // 2

Duty = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)


class Caretaker:
    """Makes its rounds in the writer's thread. Belongs to the event loop, on which it waits for nothing."""

    def __init__(self, writing: Writing, worker: Worker, seal: Seal, clock: Clock) -> None:
        self._writing = writing
        self._worker = worker
        self._seal = seal
        self._clock = clock
        self._log = logs.log_path(writing.path)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._round: asyncio.Task[None] | None = None
        self._closed = False
        self._added = self._before = 0
        self._look_at = LOOK_EVERY
        self._bound = logs.FULL_LOG
        self._held = self._told = False

    @property
    def signing_due(self) -> bool:
        """Whether events may have come since the head was signed."""
        return self._timer is not None

    def committed(self, size: int) -> None:
        """Events were committed, and with them about so many bytes of the log."""
        self._added += size
        if self._added >= self._look_at:
            self.look()
        if self._timer is None:
            self._set_timer()

    def look(self) -> None:
        """Take the log in, soon, if it has grown too large, by whomever."""
        self._look_at = self._added + LOOK_EVERY
        if self._is_large():
            self._begin(self._tend_log)

    def _set_timer(self) -> None:
        if not self._closed:
            self._timer = self._loop.call_later(SIGN_SECONDS, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if not self._begin(self._tend_log, self.sign):
            self._set_timer()

    def _begin(self, *duties: Duty) -> bool:
        """Begin a round; False while one is being made."""
        if self._closed or (self._round is not None and not self._round.done()):
            return False
        self._round = self._loop.create_task(self._make(duties), name="airlock-store-upkeep")
        return True

    async def _make(self, duties: tuple[Duty, ...]) -> None:
        for duty in duties:
            try:
                await duty()
            except StoreError as error:
                log.warning("the database could not be tidied: %s", error)
        if self._held and self._timer is None:
            self._set_timer()

    async def sign(self) -> None:
        """Write the signed head for all that is committed."""
        now = self._clock()
        await self._worker.run(lambda one: upkeep.sign_head(self._writing, one, self._seal, now))

    async def _tend_log(self) -> None:
        if not (self._is_quiet() or self._held or self._is_large()):
            return
        self._added = self._before = 0
        self._look_at = LOOK_EVERY
        whole = await self._worker.run(lambda one: logs.take_in(self._writing, one))
        self._found(whole, logs.log_size(self._log))

    def _is_large(self) -> bool:
        """True once the file is larger than it was when it was taken in: before, it may only be used anew."""
        return logs.log_size(self._log) > self._bound

    def _is_quiet(self) -> bool:
        recent, self._before = self._added - self._before, self._added
        return self._added >= QUIET_LOG and recent < QUIET

    def _found(self, whole: bool, size: int) -> None:
        self._held = not whole or size > logs.LARGEST_LOG
        self._bound = size + logs.FULL_LOG if self._held else max(size, logs.FULL_LOG)
        if size > logs.HELD_LOG and not self._told:
            log.warning("%s", logs.held_text(self._log, size))
        self._told = size > logs.HELD_LOG

    async def close(self) -> None:
        """End the round that is being made, and begin no other."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._round is not None:
            await asyncio.wait([self._round])
