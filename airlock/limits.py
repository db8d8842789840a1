"""How often is too often: sliding windows over counts, pure but for what they remember.

A window is estimated from two buckets, this one and the one before (weighed by how much of it the last
window still covers): constant memory for each caller, and no burst of twice the limit at a boundary.
"""

from __future__ import annotations

from typing import NamedTuple

from airlock.values import dataclass

MAX_CALLERS = 10_000
"""More callers than this are not told apart: the one that was quiet longest is forgotten first."""


class Taken(NamedTuple):
    """What one attempt got: `reset_ms` is when a whole limit is free again, `retry_ms` when one use is."""

    allowed: bool
    limit: int
    remaining: int
    reset_ms: int
    retry_ms: int


@dataclass(slots=True)
class _Buckets:
    start: int
    current: int = 0
    before: int = 0


class SlidingLimits:
    """Counts uses by caller over a sliding window; each attempt may name its own limit."""

    def __init__(self, window_ms: int = 60_000, max_callers: int = MAX_CALLERS) -> None:
        self._window = window_ms
        self._max = max_callers
        self._buckets: dict[str, _Buckets] = {}

    def take(self, caller: str, limit: int, now: int) -> Taken:
        """Count one use, unless it would pass the limit."""
        buckets = self._advance(caller, now)
        allowed = self._fits(buckets, limit, now)
        if allowed:
            buckets.current += 1
        return self._taken(buckets, limit, now, allowed=allowed)

    def admits(self, caller: str, limit: int, now: int) -> bool:
        """`take`, for who wants to know no more."""
        buckets = self._advance(caller, now)
        fits = self._fits(buckets, limit, now)
        if fits:
            buckets.current += 1
        return fits

    def full(self, caller: str, limit: int, now: int) -> Taken | None:
        """What `take` would refuse with, else None; counts nothing and remembers nobody."""
        if caller not in self._buckets:
            return None
        buckets = self._advance(caller, now)
        fits = self._fits(buckets, limit, now)
        return None if fits else self._taken(buckets, limit, now, allowed=False)

    def _advance(self, caller: str, now: int) -> _Buckets:
        buckets = self._buckets.pop(caller, None)
        if buckets is None:
            while len(self._buckets) >= self._max:
                del self._buckets[next(iter(self._buckets))]
            buckets = _Buckets(start=now)
        self._buckets[caller] = buckets
        passed = max(0, now - buckets.start) // self._window
        if passed:
            buckets.before = buckets.current if passed == 1 else 0
            buckets.current = 0
            buckets.start += passed * self._window
        return buckets

    def _used(self, buckets: _Buckets, now: int) -> int:
        """What counts now, times the window's length: whole numbers, so that no rounding breaks a promise."""
        into = min(max(0, now - buckets.start), self._window)
        return buckets.current * self._window + buckets.before * (self._window - into)

    def _fits(self, buckets: _Buckets, limit: int, now: int) -> bool:
        return self._used(buckets, now) + self._window <= limit * self._window

    def _taken(self, buckets: _Buckets, limit: int, now: int, *, allowed: bool) -> Taken:
        remaining = max(0, limit * self._window - self._used(buckets, now)) // self._window
        reset = buckets.start + self._window * (2 if buckets.current else 1)
        return Taken(allowed, limit, remaining, reset, self._free_at(buckets, limit, now))

    def _free_at(self, buckets: _Buckets, limit: int, now: int) -> int:
        """When so much has faded that one more use fits."""
        if limit < 1:
            return now + self._window
        if buckets.current < limit:
            return max(now, buckets.start + self._faded(buckets.before, limit - 1 - buckets.current))
        # This bucket alone is full: it must become the one before, and then fade.
        return buckets.start + self._window + self._faded(buckets.current, limit - 1)

    def _faded(self, count: int, room: int) -> int:
        """How far into a window no more than `room` is left of what the window before had."""
        return -(-self._window * (count - room) // count) if count > room else 0
