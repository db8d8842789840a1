"""What a caller may know of its limit, in headers."""

from __future__ import annotations

from airlock.limits import Taken


def epoch_headers(taken: Taken, _: int) -> dict[str, str]:
    """`X-RateLimit-*` with an epoch second as the reset: Airlock's own way."""
    return {**_counts(taken), "X-RateLimit-Reset": str(-(-taken.reset_ms // 1000))}


def seconds_headers(taken: Taken, now: int) -> dict[str, str]:
    """The same with the seconds that are left until the reset, at most a window of a minute."""
    left = -(-(taken.reset_ms - now) // 1000)
    return {**_counts(taken), "X-RateLimit-Reset": str(min(60, max(0, left)))}


def _counts(taken: Taken) -> dict[str, str]:
    return {"X-RateLimit-Limit": str(taken.limit), "X-RateLimit-Remaining": str(taken.remaining)}
