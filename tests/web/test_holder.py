"""What is remembered of calls whose stored arguments are masked."""

from __future__ import annotations

from airlock.web.holder import MOST, MOST_BYTES, Holder
from tests.support.gates import call


def test_what_one_agent_asks_without_end_takes_bounded_memory_and_nothing_of_anothers() -> None:
    holder, other = Holder(), call(agent="crm", password="p")
    holder.hold(other)
    large = [call(agent="evil", text="x" * (1 << 20)) for _ in range(40)]
    for one in large:
        holder.hold(one)
    known = [one for one in large if holder.held(one.id) is not None]
    assert known == large[-len(known) :]
    assert 10 < len(known) <= MOST_BYTES >> 20
    small = [call(agent="evil", number=number) for number in range(MOST + 5)]
    for one in small:
        holder.hold(one)
    assert [holder.held(one.id) is not None for one in small] == [False] * 5 + [True] * MOST
    assert holder.held(other.id) == {"password": "p"}
    assert holder.held("unknown") is None
