"""The sliding window: no burst over the limit, and a promise about when to come back that is kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airlock.limits import SlidingLimits

steps = st.lists(st.integers(0, 40_000), min_size=1, max_size=60)


@given(limit=st.integers(1, 20), steps=steps)
def test_what_is_let_through_in_any_bucket_never_passes_the_limit(limit: int, steps: list[int]) -> None:
    limits, now = SlidingLimits(), 0
    passed: list[int] = []
    for step in steps:
        now += step
        if limits.take("a", limit, now).allowed:
            passed.append(now)
    for at in passed:
        inside = [one for one in passed if at <= one < at + 30_000]
        assert len(inside) <= 2 * limit  # two buckets meet at most
    # A caller that never pauses is held to the limit a minute.
    steady = SlidingLimits()
    assert sum(steady.take("b", limit, at * 100).allowed for at in range(600)) == limit


@given(limit=st.integers(1, 20), steps=steps)
def test_whoever_comes_back_when_told_is_let_through(limit: int, steps: list[int]) -> None:
    limits, now = SlidingLimits(), 0
    for step in steps:
        now += step
        taken = limits.take("a", limit, now)
        assert 0 <= taken.remaining <= limit
        if not taken.allowed:
            assert taken.remaining == 0
            assert taken.retry_ms > now
            now = taken.retry_ms
            assert limits.take("a", limit, now).allowed


def test_one_caller_does_not_use_up_the_limit_of_another() -> None:
    limits = SlidingLimits()
    assert limits.take("a", 1, 0).allowed
    assert not limits.take("a", 1, 0).allowed
    assert limits.take("b", 1, 0).allowed


def test_a_flood_of_callers_takes_bounded_memory() -> None:
    limits = SlidingLimits(max_callers=100)
    for number in range(10_000):
        limits.take(f"caller-{number}", 5, 0)
    assert len(limits._buckets) == 100


def test_full_counts_nothing() -> None:
    limits = SlidingLimits()
    assert limits.full("a", 1, 0) is None
    limits.take("a", 1, 0)
    assert limits.full("a", 1, 0) is not None
    assert limits.full("a", 1, 200_000) is None
