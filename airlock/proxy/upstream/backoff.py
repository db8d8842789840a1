"""How long to wait before a failed upstream is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable

from airlock.values import dataclass


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Half a second, doubling up to half a minute, with jitter; anew after a stable minute."""

    first: float = 0.5
    most: float = 30.0
    stable: float = 60.0
    jitter: Callable[[], float] = random.random
    _failures: int = 0

    def after(self, lived: float) -> float:
        """The pause before the next attempt, when the last one lived that long."""
        if lived >= self.stable:
            self._failures = 0
        pause = min(self.most, self.first * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return pause * (0.75 + 0.25 * self.jitter())
