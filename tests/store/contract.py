"""What every store promises about the queue, as a suite: a store's own test class inherits it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from airlock.errors import Conflict, StoreError
from airlock.model import (
    Origin,
    Pause,
    RateUse,
    Reviewers,
    Risk,
    Status,
    Vote,
    Waiter,
)
from airlock.ports import Change, RequestFilter, Store
from store.values import (
    LIFE_MS,
    START,
    Clock,
    OpenStore,
    after,
    bare,
    count_events,
    draft,
    grant,
    new_id,
    opening,
    question,
    told,
)


class Opened:
    """What both halves of the contract start from."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def store(self, open_store: OpenStore) -> AsyncIterator[Store]:
        store = await open_store()
        yield store
        await store.close()

    @pytest.fixture
    async def other(self, open_store: OpenStore, store: Store) -> AsyncIterator[Store]:
        """The same database, as a second process has it."""
        other = await open_store()
        yield other
        await other.close()


class QueueContract(Opened):
    """Requests, votes, waiters, rates, stamps, restarts. Give an `open_store` fixture that obeys `clock`."""

    # Requests.

    async def test_a_request_comes_back_as_it_was_written(self, store: Store) -> None:
        whole = question(
            scope="s",
            parts=("bash/ls", "file/write"),
            origin=Origin(road="hook", workspace="/w", session="s", cwd="/c", client="x", tool_use_id="t"),
            rule="r1",
            rule_digest="d",
            reason="because ü",
            matched=("r1", "r2"),
            risk=Risk.HIGH,
            reviewers=(Reviewers(rule="r1", names=frozenset({"alice", "bob"}), quorum=2),),
            reuse_ms=1000,
            grantable=False,
            kept=True,
            again=True,
            heard=True,
            decided_at=START + 5,
            decided_by="local:alice",
            note="fine",
            votes=(Vote(identity="local:alice", approve=True, note="fine", at=START + 5),),
        )
        await store.commit(opening(whole, votes=((whole.id, whole.votes[0]),)))
        assert bare(await store.find(whole.id)) == whole

    async def test_a_request_is_found_by_its_id_and_by_its_code_in_any_case(self, store: Store) -> None:
        one = question(code="K7QF2M")
        await store.commit(opening(one))
        assert [bare(await store.find(name)) for name in (one.id, "K7QF2M", "k7qf2m")] == [one] * 3
        assert await store.find("K7QF2N") is None
        assert await store.find("") is None

    async def test_a_reference_that_is_sql_finds_nothing(self, store: Store) -> None:
        await store.commit(opening(question(agent="x' OR '1'='1")))
        assert await store.find("\udcff") is None
        for hostile in ("' OR '1'='1", "%", "*", "C_____", '"', "\x00", "x" * 100_000):
            assert await store.find(hostile) is None
            assert await store.live(hostile) is None
            assert await store.count_pending(hostile) == 0
            assert await store.requests(RequestFilter(agent=hostile)) == []
        assert len(await store.requests(RequestFilter(agent="x' OR '1'='1"))) == 1

    async def test_only_one_live_request_has_a_fingerprint(self, store: Store) -> None:
        one, two = question(fingerprint="same"), question(fingerprint="same")
        await store.commit(opening(one))
        with pytest.raises(Conflict):
            await store.commit(opening(two))
        assert bare(await store.live("same")) == one
        approved = after(one, Status.APPROVED)
        await store.commit(Change(events=(), requests=(approved,)))
        with pytest.raises(Conflict):
            await store.commit(opening(two))
        # One change may end the old one and open the new one, in whatever order it names them.
        await store.commit(Change(events=(), requests=(two, after(approved, Status.USED))))
        assert bare(await store.live("same")) == two
        assert (await store.find(one.id)).status is Status.USED  # type: ignore[union-attr]

    async def test_the_newest_request_of_a_fingerprint_is_found_whatever_its_status(
        self, store: Store
    ) -> None:
        one = question(fingerprint="same", status=Status.DENIED)
        two = question(fingerprint="same", status=Status.EXPIRED, created_at=START - 5)
        await store.commit(opening(one))
        await store.commit(opening(two))
        assert bare(await store.latest("same")) == two
        assert await store.live("same") is None
        assert await store.latest("never") is None

    async def test_a_code_is_taken_while_its_row_is_kept(self, store: Store) -> None:
        one = question(code="ABC234", status=Status.DENIED)
        await store.commit(opening(one))
        with pytest.raises(Conflict):
            await store.commit(opening(question(code="abc234")))

    async def test_of_two_who_change_the_same_version_one_loses(self, store: Store, other: Store) -> None:
        one = question()
        await store.commit(opening(one))
        yes, no = after(one, Status.APPROVED), after(one, Status.DENIED)
        results = await asyncio.gather(
            store.commit(Change(events=(told(one, "request.approved"),), requests=(yes,))),
            other.commit(Change(events=(told(one, "request.denied"),), requests=(no,))),
            return_exceptions=True,
        )
        assert sorted(type(result).__name__ for result in results) == ["Conflict", "NoneType"]
        assert await count_events(store) == 2

    async def test_a_change_of_a_request_that_is_not_there_is_a_conflict(self, store: Store) -> None:
        with pytest.raises(Conflict):
            await store.commit(Change(events=(draft(),), requests=(after(question(), Status.DENIED),)))
        assert await count_events(store) == 0

    async def test_nothing_of_a_change_stays_when_its_last_part_fails(self, store: Store) -> None:
        one = question()
        await store.commit(opening(one))
        spent = RateUse(scope="s", limit=0, window_ms=1000)
        with pytest.raises(Conflict):
            await store.commit(
                Change(
                    events=(told(one, "request.approved"),),
                    requests=(after(one, Status.APPROVED), question(code="NEW222")),
                    votes=((one.id, Vote(identity="local:alice", approve=True, at=START)),),
                    waiters=(Waiter(id="w", request_id=one.id, process_id="p", since=START),),
                    grants=(grant(),),
                    pauses=(Pause(by="local:alice", at=START),),
                    rates=(RateUse(scope="t", limit=5, window_ms=1000), spent),
                )
            )
        assert bare(await store.find(one.id)) == one
        assert await store.find("NEW222") is None
        assert await store.waiters(one.id) == []
        assert await store.grants() == []
        assert (await store.controls()).revision == 0
        assert await store.count_rate("t", 0) == 0
        assert await count_events(store) == 1
        assert (await store.verify()).sound

    async def test_nobody_votes_twice_on_one_request(self, store: Store) -> None:
        one = question()
        await store.commit(opening(one))
        yes = Vote(identity="local:alice", approve=True, at=START)
        voted = replace(one, version=2, votes=(yes,))
        await store.commit(Change(events=(), requests=(voted,), votes=((one.id, yes),)))
        again = replace(voted, version=3, votes=(yes, yes))
        with pytest.raises(Conflict):
            await store.commit(Change(events=(), requests=(again,), votes=((one.id, yes),)))
        assert bare(await store.find(one.id)) == voted

    async def test_a_no_takes_the_place_of_the_same_persons_yes(self, store: Store) -> None:
        one = question()
        await store.commit(opening(one))
        yes = Vote(identity="local:alice", approve=True, at=START)
        voted = replace(one, version=2, votes=(yes,))
        await store.commit(Change(events=(), requests=(voted,), votes=((one.id, yes),)))
        no = replace(yes, approve=False, note="wait")
        denied = replace(voted, version=3, votes=(no,), status=Status.DENIED, note="wait")
        await store.commit(Change(events=(), requests=(denied,), votes=((one.id, no),)))
        assert bare(await store.find(one.id)) == denied

    async def test_a_request_written_without_its_votes_has_lost_them(self, store: Store) -> None:
        one = question()
        yes = Vote(identity="local:alice", approve=True, at=START)
        await store.commit(opening(replace(one, votes=(yes,)), votes=((one.id, yes),)))
        reopened = replace(one, version=2)
        await store.commit(Change(events=(), requests=(reopened,)))
        assert bare(await store.find(one.id)) == reopened
        voted = replace(one, version=3, votes=(yes,))
        await store.commit(Change(events=(), requests=(voted,), votes=((one.id, yes),)))
        assert bare(await store.find(one.id)) == voted

    async def test_requests_are_listed_oldest_first_and_by_what_the_filter_names(self, store: Store) -> None:
        second = question(created_at=START + 2)
        first = question(created_at=START + 1, agent="other")
        third = question(created_at=START + 2, status=Status.DENIED)
        for one in (second, first, third):
            await store.commit(opening(one))

        async def ids(**fields: Any) -> list[str]:
            return [one.id for one in await store.requests(RequestFilter(**fields))]

        assert await ids() == [first.id, second.id, third.id]
        assert await ids(live_only=True) == [first.id, second.id]
        assert await ids(statuses=frozenset({Status.DENIED, Status.USED})) == [third.id]
        assert await ids(agent="claude-code", live_only=True) == [second.id]
        assert await ids(limit=2) == [first.id, second.id]
        assert await store.count_pending("claude-code") == 1

    # Waiters and the life of processes.

    async def test_a_request_is_attended_now_while_a_living_process_waits_on_it(
        self, store: Store, other: Store, clock: Clock
    ) -> None:
        one = question()
        seat = Waiter(id=new_id(), request_id=one.id, process_id=store.process_id, since=START)
        await store.commit(opening(one, waiters=(seat,)))
        clock.now += LIFE_MS - 1
        assert await other.waiters(one.id) == [seat]
        assert (await other.find(one.id)).attended_at == clock.now  # type: ignore[union-attr]
        clock.now += 1
        assert await other.waiters(one.id) == []
        assert (await other.find(one.id)).attended_at == START  # type: ignore[union-attr]
        # It lives for itself, however late its heart.
        assert await store.waiters(one.id) == [seat]
        await store.beat()
        assert await other.waiters(one.id) == [seat]

    async def test_a_process_lives_until_it_misses_three_beats_or_closes(
        self, store: Store, other: Store, open_store: OpenStore, clock: Clock
    ) -> None:
        assert await store.lives(store.process_id), "for itself it always does"
        assert not await other.lives(store.process_id), "it never beat"
        await store.beat()
        clock.now += LIFE_MS - 1
        assert await other.lives(store.process_id)
        clock.now += 1
        assert not await other.lives(store.process_id)
        leaving = await open_store()
        await leaving.beat()
        assert await other.lives(leaving.process_id)
        await leaving.close()
        assert not await other.lives(leaving.process_id)
        assert not await other.lives("nobody")

    async def test_a_waiter_that_stopped_attended_until_it_stopped(self, store: Store, clock: Clock) -> None:
        one = question()
        seats = [
            Waiter(id=new_id(), request_id=one.id, process_id=store.process_id, since=START + number)
            for number in (1, 0)
        ]
        await store.commit(opening(one, waiters=tuple(seats)))
        assert await store.waiters(one.id) == [seats[1], seats[0]]
        clock.now += 10
        await store.commit(Change(events=(), waiters=(replace(seats[1], ended_at=clock.now),)))
        assert await store.waiters(one.id) == [seats[0]]
        await store.commit(Change(events=(), waiters=(replace(seats[0], ended_at=clock.now + 5),)))
        clock.now += 1000
        assert (await store.find(one.id)).attended_at == START + 15  # type: ignore[union-attr]

    async def test_a_process_that_closes_attends_nothing_from_then_on(
        self, store: Store, open_store: OpenStore, clock: Clock
    ) -> None:
        leaving = await open_store()
        one = question()
        seat = Waiter(id=new_id(), request_id=one.id, process_id=leaving.process_id, since=START)
        await leaving.commit(opening(one, waiters=(seat,)))
        clock.now += 7
        await leaving.close()
        clock.now += 1
        assert await store.waiters(one.id) == []
        assert (await store.find(one.id)).attended_at == START + 7  # type: ignore[union-attr]

    async def test_a_request_on_which_nobody_ever_waited_is_attended_never(self, store: Store) -> None:
        one = question()
        await store.commit(opening(one))
        assert (await store.find(one.id)).attended_at is None  # type: ignore[union-attr]

    # Rates.

    async def test_a_limit_holds_in_any_window_of_its_length(self, store: Store, clock: Clock) -> None:
        use = RateUse(scope="often", limit=2, window_ms=60_000)
        for _ in range(2):
            await store.commit(Change(events=(draft(),), rates=(use,)))
            clock.now += 10
        with pytest.raises(Conflict):
            await store.commit(Change(events=(draft(),), rates=(use,)))
        assert await store.count_rate("often", START) == 2
        assert await store.count_rate("often", START + 1) == 1
        assert await store.count_rate("else", START) == 0
        clock.now = START + 60_000
        await store.commit(Change(events=(draft(),), rates=(use,)))
        with pytest.raises(Conflict):
            await store.commit(Change(events=(draft(),), rates=(use,)))
        assert await count_events(store) == 3

    async def test_two_processes_together_stay_within_a_limit(self, store: Store, other: Store) -> None:
        use = RateUse(scope="often", limit=5, window_ms=60_000)
        results = await asyncio.gather(
            *(one.commit(Change(events=(draft(),), rates=(use,))) for one in (store, other) * 10),
            return_exceptions=True,
        )
        assert results.count(None) == 5
        assert await count_events(store) == 5

    # Watching.

    async def test_the_stamp_changes_with_every_commit_of_anyone_and_with_nothing_else(
        self, store: Store, other: Store
    ) -> None:
        seen = [store.stamp()]
        assert store.stamp() == seen[0]
        await store.find("nothing")
        assert store.stamp() == seen[0]
        await other.record([draft()])
        seen.append(store.stamp())
        assert other.record_now(draft(), 0)
        seen.append(store.stamp())
        await store.commit(opening(question()))
        seen.append(store.stamp())
        assert store.record_now(draft(), 0)
        seen.append(store.stamp())
        assert len(set(seen)) == len(seen)

    async def test_what_changed_since_a_number_is_told_once(self, store: Store, other: Store) -> None:
        one, two = question(), question()
        await other.commit(opening(one))
        await other.commit(opening(two))
        newest, changed = await store.changed_since(0)
        assert (newest, [row.id for row in changed]) == (2, [one.id, two.id])
        assert await store.changed_since(newest) == (2, [])
        await other.commit(
            Change(events=(told(one, "request.approved"), draft()), requests=(after(one, Status.APPROVED),))
        )
        await other.record([draft()])
        newest, changed = await store.changed_since(newest)
        assert (newest, [(row.id, row.seq, row.status) for row in changed]) == (5, [(one.id, 4, "approved")])

    # Ends.

    async def test_all_survives_a_restart(self, open_store: OpenStore, clock: Clock) -> None:
        first = await open_store()
        one = question()
        await first.commit(opening(one, grants=(grant(),), pauses=(Pause(by="local:alice", at=START),)))
        before = await first.controls()
        await first.close()
        clock.now += 1000
        second = await open_store()
        assert bare(await second.find(one.code)) == one
        assert second.controls_now() == before
        assert second.record_now(draft(), before.revision)
        assert (await second.verify()).sound
        assert second.process_id != first.process_id
        await second.close()

    async def test_what_was_being_recorded_is_kept_when_the_store_is_closed(
        self, open_store: OpenStore
    ) -> None:
        first = await open_store()
        recording = [asyncio.create_task(first.record([draft()])) for _ in range(20)]
        await asyncio.sleep(0)
        await first.close()
        await asyncio.gather(*recording)
        second = await open_store()
        assert await count_events(second) == 20
        await second.close()

    async def test_a_closed_store_refuses_everything_and_closes_again(self, open_store: OpenStore) -> None:
        store = await open_store()
        await store.close()
        await store.close()
        with pytest.raises(StoreError):
            store.record_now(draft(), 0)
        with pytest.raises(StoreError):
            store.stamp()
        for attempt in (
            store.record([draft()]),
            store.commit(opening(question())),
            store.find("x"),
            store.verify(),
            store.beat(),
        ):
            with pytest.raises(StoreError):
                await attempt
