"""Group commit: what many callers record at one moment becomes one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field

from airlock.errors import AirlockError, StoreError
from airlock.ports import Draft
from airlock.values import dataclass

LARGEST = 256
"""Members of one transaction: more would hold the lock for longer than others like."""


@dataclass(slots=True)
class Member:
    """One caller's events, and where it waits for them to be committed."""

    drafts: Sequence[Draft]
    controls: int | None
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


Results = list[AirlockError | None]
"""For each member what went wrong with it alone, or None."""


class Group:
    """Collects members while a transaction runs, and commits them all with the next one."""

    def __init__(self, write: Callable[[list[Member]], Awaitable[Results]]) -> None:
        self._write = write
        self._members: list[Member] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, drafts: Sequence[Draft], controls: int | None) -> None:
        """Return once these are committed; raise what kept them out. Others are not affected."""
        member = Member(drafts, controls)
        self._members.append(member)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="airlock-group-commit")
        await member.done

    async def _run(self) -> None:
        try:
            while self._members:
                taken, self._members = self._members[:LARGEST], self._members[LARGEST:]
                await self._commit([member for member in taken if not member.done.done()])
        finally:
            self._task = None
            for member in self._members:
                _settle(member, StoreError("the store was closed"))

    async def _commit(self, members: list[Member]) -> None:
        if not members:
            return
        results: Results = [StoreError("the write was interrupted")] * len(members)
        try:
            results = await self._write(members)
        except AirlockError as error:
            results = [error] * len(members)
        finally:
            for member, problem in zip(members, results, strict=True):
                _settle(member, problem)

    async def flush(self) -> None:
        """Wait until nothing is queued."""
        while self._task is not None:
            await asyncio.wait([self._task])


def _settle(member: Member, problem: AirlockError | None) -> None:
    if member.done.done():  # the caller was cancelled meanwhile
        return
    if problem is None:
        member.done.set_result(None)
    else:
        # Each caller gets an exception of its own: tracebacks grow where one is raised twice.
        member.done.set_exception(type(problem)(str(problem)))
