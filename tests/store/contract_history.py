"""What every store promises about events, pauses, grants and history: the second half of the contract."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest

from airlock.errors import AirlockError, Conflict, Stale
from airlock.model import (
    Pause,
    Status,
    Vote,
    Waiter,
)
from airlock.ports import AuditFilter, Change, Draft, Store
from store.contract import Opened
from store.values import START, Clock, count_events, draft, grant, new_id, opening, question, told


class HistoryContract(Opened):
    """Events, controls, entries, the chain, pruning. Give an `open_store` fixture that obeys `clock`."""

    # Plain events.

    async def test_events_are_kept_in_the_order_in_which_they_were_recorded(self, store: Store) -> None:
        drafts = [draft() for _ in range(6)]
        assert store.record_now(drafts[0], 0)
        await store.record(drafts[1:4], 0)
        await store.record([drafts[4]])
        assert store.record_now(drafts[5], 0)
        events = await store.events()
        assert [event.id for event in events] == [one.id for one in drafts]
        assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
        assert all(later.prev == earlier.hash for earlier, later in itertools.pairwise(events))

    async def test_however_many_are_recorded_at_once_they_stand_in_their_order_behind_the_rest(
        self, store: Store
    ) -> None:
        drafts: list[Draft] = []
        for count in (1, 2, 3, 4, 5, 16, 17, 21, 64, 75):
            together = [draft(agent=f"{count}-{number}", body={"n": number}) for number in range(count)]
            assert store.record_all_now(together, 0)
            drafts += together
        events = await store.events()
        told = [(event.id, event.agent, event.body) for event in events]
        assert told == [(one.id, one.agent, f'{{"n":{one.body["n"]}}}') for one in drafts]  # type: ignore[index]
        assert [event.seq for event in events] == list(range(1, len(drafts) + 1))
        assert all(later.prev == earlier.hash for earlier, later in itertools.pairwise(events))
        assert (await store.verify()).sound

    async def test_of_many_recorded_at_once_one_that_cannot_be_written_keeps_out_all(
        self, store: Store
    ) -> None:
        for place in (0, 16, 39):
            drafts = [draft() for _ in range(40)]
            drafts[place] = draft(agent="\ud800")
            with pytest.raises(AirlockError):
                store.record_all_now(drafts, 0)
        assert await store.events() == []
        assert store.record_all_now([draft() for _ in range(40)], 0)
        assert (await store.verify()).sound

    async def test_an_event_keeps_every_field(self, store: Store) -> None:
        one = draft(
            "call.denied",
            call_id="c",
            request_id="r",
            agent="ä",
            tool="git/x",
            body={"s": "é\n𝄞", "n": 2**60},
        )
        await store.record([one])
        (kept,) = await store.events()
        assert (kept.id, kept.kind, kept.at, kept.call_id) == (one.id, "call.denied", START, "c")
        assert (kept.request_id, kept.agent, kept.tool) == ("r", "ä", "git/x")
        assert kept.body == '{"s":"é\\n𝄞","n":1152921504606846976}'

    async def test_many_callers_at_once_each_get_their_events_committed_once(self, store: Store) -> None:
        groups = [[draft(), draft()] for _ in range(200)]
        await asyncio.gather(*(store.record(group, 0) for group in groups))
        events = await store.events()
        place = {event.id: event.seq for event in events}
        assert len(events) == len(place) == 400
        assert all(place[second.id] == place[first.id] + 1 for first, second in groups)
        assert (await store.verify()).sound

    async def test_what_cannot_be_written_fails_alone(self, store: Store) -> None:
        good, bad = draft(), draft(body={"x": float("nan")})
        surrogate = draft(agent="\ud800")
        results = await asyncio.gather(
            store.record([bad]),
            store.record([good]),
            store.record([draft(), surrogate]),
            return_exceptions=True,
        )
        assert isinstance(results[0], AirlockError)
        assert results[1] is None
        assert isinstance(results[2], AirlockError)
        with pytest.raises(AirlockError):
            store.record_now(bad, 0)
        assert [event.id for event in await store.events()] == [good.id]

    async def test_a_caller_that_stops_waiting_keeps_nobody_else_from_being_recorded(
        self, store: Store
    ) -> None:
        first = asyncio.create_task(store.record([draft()]))
        leaving = asyncio.create_task(store.record([draft()]))
        staying = asyncio.create_task(store.record([kept := draft()]))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(first, staying)
        assert kept.id in {event.id for event in await store.events()}

    async def test_stores_that_record_in_place_by_turns_make_one_chain(
        self, store: Store, other: Store
    ) -> None:
        turns = [store, store, other, store, other, other, store]
        drafts = [draft() for _ in turns]
        for one, event in zip(turns, drafts, strict=True):
            assert one.record_now(event, 0)
        assert store.record_all_now([first := draft(), second := draft()], 0)
        assert other.record_now(last := draft(), 0)
        assert [event.id for event in await store.events()] == [
            one.id for one in (*drafts, first, second, last)
        ]
        assert (await store.verify()).sound

    async def test_what_cannot_be_written_leaves_the_chain_as_it_was(self, store: Store) -> None:
        assert store.record_now(before := draft(), 0)
        for bad in (draft(body={"x": float("nan")}), draft(agent="\ud800")):
            with pytest.raises(AirlockError):
                store.record_now(bad, 0)
        assert store.record_now(after := draft(), 0)
        assert [event.id for event in await store.events()] == [before.id, after.id]
        assert (await store.verify()).sound

    # Pauses, grants, and writes that were decided before they changed.

    async def test_a_pause_makes_every_decision_taken_before_it_stale(
        self, store: Store, other: Store
    ) -> None:
        before = store.controls_now().revision
        assert store.record_now(draft(), before)  # from now on it remembers where the chain ends
        pause = Pause(agent="claude-code", by="local:alice", at=START)
        await other.commit(Change(events=(draft("pause.set"),), pauses=(pause,)))
        with pytest.raises(Stale):
            store.record_now(draft(), before)
        with pytest.raises(Stale):
            await store.record([draft()], before)
        with pytest.raises(Stale):
            await store.commit(opening(question(), controls=before))
        assert await count_events(store) == 2
        assert not store.controls_now().pauses
        controls = await store.controls()
        assert controls == store.controls_now()
        assert controls.pauses == (pause,)
        assert controls.paused("claude-code")
        assert store.record_now(draft(), controls.revision)

    async def test_a_stale_event_fails_alone_in_its_group(self, store: Store, other: Store) -> None:
        await other.commit(Change(events=(), pauses=(Pause(by="local:alice", at=START),)))
        now = (await store.controls()).revision
        good = [draft() for _ in range(3)]
        results = await asyncio.gather(
            store.record([good[0]], now),
            store.record([draft()], now - 1),
            store.record([good[1]]),
            store.record([good[2]], now),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [type(None), Stale, type(None), type(None)]
        assert [event.id for event in await store.events()] == [one.id for one in good]

    async def test_resuming_lifts_one_pause_or_the_pause_of_everyone(self, store: Store) -> None:
        everyone, one = Pause(by="local:alice", at=START), Pause(agent="x", by="local:bob", at=START)
        await store.commit(Change(events=(), pauses=(everyone, one)))
        assert set(store.controls_now().pauses) == {everyone, one}
        await store.commit(Change(events=(), resumes=("",)))
        assert store.controls_now().pauses == (one,)
        await store.commit(Change(events=(), resumes=("x",)))
        assert store.controls_now().pauses == ()

    async def test_a_grant_holds_until_it_ends_or_is_revoked_and_is_revoked_once(
        self, store: Store, clock: Clock
    ) -> None:
        short, long = grant(expires_at=START + 1000), grant(any_args=True, request_id="q")
        await store.commit(Change(events=(), grants=(short, long)))
        assert await store.grants() == [long, short]
        assert set(store.controls_now().grants) == {short, long}
        clock.now += 1000
        assert await store.grants() == [long]
        before = store.controls_now().revision
        revoked = replace(long, ended_at=clock.now)
        await store.commit(Change(events=(draft("grant.ended"),), grants=(revoked,)))
        assert await store.grants() == []
        assert store.controls_now().revision > before
        with pytest.raises(Conflict):
            await store.commit(Change(events=(draft("grant.ended"),), grants=(revoked,)))
        assert await count_events(store) == 1

    # History.

    async def test_entries_show_one_line_a_call_newest_first(self, store: Store) -> None:
        plain = draft(call_id="c1")
        refused = draft("call.denied", call_id="c2", agent="other", body={"args": {}, "effect": "deny"})
        asked = question(call_id="c3")
        await store.record([plain, refused])
        await store.commit(
            Change(
                events=(
                    draft(
                        "request.opened",
                        call_id="c3",
                        request_id=asked.id,
                        tool=asked.tool,
                        at=START + 9,
                        body={"args": {"text": "hello"}, "effect": "ask", "rule": "r9"},
                    ),
                ),
                requests=(asked,),
            )
        )
        done = draft("call.completed", call_id="c1", body={"outcome": "success", "duration_ms": 12})
        await store.record([done, draft("pause.set", call_id="", agent="")])
        entries = await store.entries(AuditFilter())
        assert [(one.agent_id, one.tool, one.result, one.hitl_outcome) for one in entries] == [
            ("claude-code", "demo/write_note", None, None),
            ("other", "demo/echo", "denied", None),
            ("claude-code", "demo/echo", "success", None),
        ]
        newest, _, oldest = entries
        assert (newest.args, newest.rule, newest.effect, newest.request_id) == (
            '{"text":"hello"}',
            "r9",
            "ask",
            asked.id,
        )
        assert (oldest.id, oldest.seq, oldest.created_at, oldest.duration_ms) == (plain.id, 1, START, 12)

        async def seqs(**fields: Any) -> list[int]:
            return [one.seq for one in await store.entries(AuditFilter(**fields))]

        assert await seqs(agent="other") == [2]
        assert await seqs(tool="demo/echo") == [2, 1]
        assert await seqs(tool="demo/ech") == []
        assert await seqs(since=START + 9) == [3]
        assert await seqs(limit=1) == [3]

    async def test_an_asked_call_stays_one_entry_through_its_whole_life(self, store: Store) -> None:
        one = question(call_id="c1")
        history = ("request.opened", "request.joined", "request.approved", "request.used")
        for kind in history:
            await store.record([told(one, kind, by="local:alice")])
        await store.record([draft("call.allowed", call_id="c2")])
        done = {"outcome": "error", "duration_ms": 3}
        await store.record([draft("call.completed", call_id="c1", request_id=one.id, body=done)])
        newest, entry = await store.entries(AuditFilter())
        assert newest.seq == 5
        assert (entry.seq, entry.result, entry.hitl_outcome, entry.decided_by) == (
            1,
            "error",
            "approved",
            "local:alice",
        )

    async def test_events_are_read_on_from_a_number_and_filtered(self, store: Store) -> None:
        await store.record([draft(at=START + number, agent="ab"[number % 2]) for number in range(6)])

        async def seqs(**fields: Any) -> list[int]:
            return [event.seq for event in await store.events(**fields)]

        assert await seqs(after=2, limit=3) == [3, 4, 5]
        assert await seqs(after=6) == []
        assert await seqs(wanted=AuditFilter(agent="b")) == [2, 4, 6]
        assert await seqs(wanted=AuditFilter(since=START + 4, tool="demo/echo")) == [5, 6]
        await store.record([draft(call_id="mine"), draft(), draft(call_id="mine")])
        assert await seqs(wanted=AuditFilter(call="mine")) == [7, 9]
        assert await seqs(after=7, wanted=AuditFilter(call="mine")) == [9]

    async def test_a_sound_chain_verifies_and_an_empty_one_too(self, store: Store) -> None:
        empty = await store.verify()
        assert (empty.sound, empty.events, empty.last_seq) == (True, 0, 0)
        await store.record([draft() for _ in range(5)])
        report = await store.verify()
        assert (report.sound, report.events, report.first_seq, report.last_seq) == (True, 5, 1, 5)
        assert report.last_hash == (await store.events())[-1].hash

    async def test_pruning_removes_a_whole_prefix_and_says_so_in_the_chain(self, store: Store) -> None:
        days = [0, 1, 5, 2, 9]  # the clock once ran ahead: what comes after a young event stays
        await store.record([draft(at=START + day) for day in days])
        removed = [event for event in await store.events() if event.seq <= 2]
        assert await store.prune(START + 5) == 2
        events = await store.events()
        assert [event.seq for event in events] == [3, 4, 5, 6]
        assert events[-1].kind == "audit.pruned"
        assert f'"count":2,"before":{START + 5}' in events[-1].body
        assert removed[-1].hash in events[-1].body
        report = await store.verify()
        assert (report.sound, report.first_seq, report.events) == (True, 3, 4)
        assert await store.prune(START + 5) == 0
        assert await count_events(store) == 4

    async def test_everything_can_be_pruned_more_than_once(self, store: Store, clock: Clock) -> None:
        for _ in range(3):
            await store.record([draft(at=clock.now) for _ in range(3)])
            clock.now += 1000
            assert await store.prune(clock.now) >= 3
            assert (await store.verify()).sound
        assert [event.kind for event in await store.events()] == ["audit.pruned"]

    async def test_pruning_up_to_the_future_ends(self, store: Store, clock: Clock) -> None:
        await store.record([draft(at=clock.now) for _ in range(3)])
        clock.now += 1000
        async with asyncio.timeout(60):
            assert await store.prune(clock.now + 1000) == 3
        assert [event.kind for event in await store.events()] == ["audit.pruned"]

    async def test_pruning_the_queue_leaves_what_is_live_or_young(self, store: Store, clock: Clock) -> None:
        old = question(status=Status.DENIED, expires_at=START + 1, decided_at=START)
        live = question(expires_at=START + 1)
        young = question(status=Status.USED, decided_at=START + 50, expires_at=START + 1)
        for one in (old, live, young):
            seat = Waiter(id=new_id(), request_id=one.id, process_id=store.process_id, since=START)
            vote = Vote(identity="local:alice", approve=True, at=START)
            await store.commit(
                opening(
                    replace(one, votes=(vote,)), waiters=(seat,), votes=((one.id, vote),), grants=(grant(),)
                )
            )
        clock.now += 1000
        await store.prune(START + 50)
        assert await store.find(old.id) is None
        assert await store.find(live.id) is not None
        assert await store.find(young.id) is not None
        assert len(await store.grants()) == 3
        await store.commit(opening(question(code=old.code)))
