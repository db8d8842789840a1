"""Work that outlives the answer which began it: held on to until it is done, and waited for at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airlock.web.services import Closing


class Errands:
    """What runs beside the answers. What it comes to, it must keep itself: nobody waits for its value."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._promised = 0

    def __len__(self) -> int:
        """How many are under way, and how many may begin."""
        return len(self._tasks) + self._promised

    @contextmanager
    def promised(self) -> Iterator[None]:
        """A place for one that may begin meanwhile: whoever comes next finds it taken."""
        self._promised += 1
        try:
            yield
        finally:
            self._promised -= 1

    def begin(self, work: Coroutine[Any, Any, None], closing: Closing) -> None:
        """Start it; `closing.drain` waits for it as for an open answer."""
        task = asyncio.create_task(_held(work, closing))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _held(work: Coroutine[Any, Any, None], closing: Closing) -> None:
    with closing.held():
        await work
