"""Work that outlives the answer which began it: held on to until it is done, and waited for at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airlock.web.services import Closing


class Errands:
    """What runs beside the answers. What it comes to, it must keep itself: nobody waits for its value."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = Counter[str]()

    def __len__(self) -> int:
        """How many are under way, or may begin."""
        return self._places.total()

    def of(self, owner: str) -> int:
        """How many of them are somebody's."""
        return self._places[owner]

    @contextmanager
    def promised(self, owner: str) -> Iterator[None]:
        """A place for one that may begin meanwhile: whoever comes next finds it taken."""
        self._places[owner] += 1
        try:
            yield
        finally:
            self._leave(owner)

    def begin(self, work: Coroutine[Any, Any, None], closing: Closing, owner: str) -> None:
        """Start it; `closing.drain` waits for it as for an open answer."""
        task = asyncio.create_task(_held(work, closing))
        self._places[owner] += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._leave(owner))

    def _leave(self, owner: str) -> None:
        self._places[owner] -= 1
        self._places += Counter()  # whoever has none left is not remembered


async def _held(work: Coroutine[Any, Any, None], closing: Closing) -> None:
    with closing.held():
        await work
