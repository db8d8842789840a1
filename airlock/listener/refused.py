"""Requests that are broken: said now and then and not each time, since anybody may send them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

SECONDS = 60.0
"""How long nothing more is said after a line."""

MOST_ADDRESSES = 100
"""So many are told apart."""

MOST_NAMED = 3

log = logging.getLogger(__name__)


class Refused:
    """What was refused before it was a request, by the address that it came from."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._others = 0
        self._timer: asyncio.TimerHandle | None = None

    def note(self, address: str) -> None:
        """One more. Nothing of what was sent is ever in the log."""
        if self._timer is None:
            log.warning("a request from %s was broken or beyond the limits, and was refused", address)
            self._rest()
        elif address in self._counts or len(self._counts) < MOST_ADDRESSES:
            self._counts[address] += 1
        else:
            self._others += 1

    def _rest(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._counts:
            self.tell()
            self._rest()

    def tell(self) -> None:
        """Say how many there were since the last line; nothing when there were none."""
        if not self._counts:
            return
        named, total = self._counts.most_common(MOST_NAMED), self._counts.total() + self._others
        self._counts, self._others = Counter(), 0
        left = total - sum(count for _, count in named)
        parts = [f"{count:,} from {address}" for address, count in named]
        told = ", ".join([*parts, *([f"{left:,} from elsewhere"] if left else [])])
        log.warning("%s more were broken or beyond the limits, and were refused: %s", f"{total:,}", told)

    def close(self) -> None:
        """Say the last of it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.tell()
