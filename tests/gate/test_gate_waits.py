"""wait: a person's answer, time, patience, callers that cancel or go away, identical calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from airlock.errors import AlreadySettled, NoSuchRequest, NotPermitted
from airlock.gate import Gate
from airlock.model import Proceed, Refusal, Refuse, Resolution, Status, Wait
from support.gates import Recorder, Timekeeper, call, open_gate

pytestmark = pytest.mark.anyio

YES = Resolution(approve=True, identity="local:alice")
NO = Resolution(approve=False, identity="local:alice", note="not on a Friday")
SECONDS = 60


async def parked(gate: Gate, **arguments: object) -> tuple[asyncio.Task[Proceed | Refuse], str]:
    """A call that waits in a task of its own, and its code."""
    seen: asyncio.Queue[str] = asyncio.Queue()

    def noted(waiting: Wait) -> None:
        seen.put_nowait(waiting.request.code)

    task = asyncio.create_task(gate.authorize(call("demo/write_note", **arguments), on_wait=noted))
    async with asyncio.timeout(SECONDS):
        return task, await seen.get()


async def ended(task: asyncio.Task[Proceed | Refuse]) -> Proceed | Refuse:
    async with asyncio.timeout(SECONDS):
        return await task


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await holds():  # type: ignore[misc]
            await asyncio.sleep(0.005)  # polls a real database for what another task commits


async def test_a_yes_lets_the_parked_call_go_on(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        task, code = await parked(gate, name="a")
        await gate.resolve(code, YES)
        verdict = await ended(task)
        assert isinstance(verdict, Proceed)
        assert (await gate.request(code)).status is Status.USED


async def test_a_yes_given_in_another_process_is_seen(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate, open_gate(tmp_path) as elsewhere:
        task, code = await parked(gate, name="a")
        await elsewhere.resolve(code, YES)
        assert isinstance(await ended(task), Proceed)


async def test_a_no_refuses_with_the_note_of_the_person(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        task, code = await parked(gate, name="a")
        await gate.resolve(code, NO)
        verdict = await ended(task)
        assert isinstance(verdict, Refuse)
        assert verdict.kind is Refusal.DENIED
        assert "not on a Friday" in verdict.reason
        assert code not in verdict.reason


async def test_a_yes_after_the_time_is_over_counts_for_nothing(tmp_path: Path) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, clock=clock) as gate:
        verdict = await gate.submit(call("demo/write_note", name="a"), attend=False)
        assert isinstance(verdict, Wait)
        clock.forward(300_001)
        with pytest.raises(AlreadySettled, match="expired"):
            await gate.resolve(verdict.request.code, YES)
        again = await gate.submit(call("demo/write_note", name="a"), attend=False)
        assert isinstance(again, Wait)
        assert again.request.code != verdict.request.code


async def test_a_short_time_limit_ends_the_wait(tmp_path: Path) -> None:
    async with open_gate(tmp_path, "approvals: {timeout: 50ms}\n" + _policy()) as gate:
        async with asyncio.timeout(SECONDS):
            verdict = await gate.authorize(call("demo/write_note", name="a"))
        assert isinstance(verdict, Refuse)
        assert verdict.kind is Refusal.EXPIRED
        kinds = [event.kind for event in await gate.store.events()]
        assert kinds == ["request.opened", "request.expired", "call.denied"]


async def test_patience_over_leaves_the_question_open_and_the_retry_finds_the_answer(tmp_path: Path) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, clock=clock) as gate:
        asked = call("demo/write_note", name="a")
        async with asyncio.timeout(SECONDS):
            first = await gate.authorize(asked, patience_ms=20)
        assert isinstance(first, Refuse)
        assert first.kind is Refusal.PENDING
        clock.forward(200_000)  # longer than the grace: what we answered "pending" stays until it expires
        [waiting] = await gate.pending()
        await gate.resolve(waiting.code, YES)
        assert isinstance(await gate.submit(asked._replace(id="again")), Proceed)


async def test_a_cancelled_call_withdraws_its_question_and_a_late_yes_runs_nothing(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/write_note", name="a"))
        assert isinstance(verdict, Wait)
        await gate.withdraw(verdict)
        with pytest.raises(AlreadySettled, match="withdrawn"):
            await gate.resolve(verdict.request.code, YES)
        assert isinstance(await gate.submit(call("demo/write_note", name="a")), Wait)


async def test_cancelling_one_of_two_callers_leaves_the_question_to_the_other(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        first = await gate.submit(call("demo/write_note", name="a"))
        task, code = await parked(gate, name="a")
        assert isinstance(first, Wait)
        await gate.withdraw(first)
        await gate.resolve(code, YES)
        assert isinstance(await ended(task), Proceed)


async def test_a_caller_that_went_away_finds_its_answer_within_the_grace(tmp_path: Path) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, clock=clock) as gate:
        verdict = await gate.submit(call("demo/write_note", name="a"))
        assert isinstance(verdict, Wait)
        await gate.leave(verdict)
        clock.forward(100_000)
        await gate.resolve(verdict.request.code, YES)
        assert isinstance(await gate.submit(call("demo/write_note", name="a")), Proceed)


async def test_a_caller_that_went_away_leaves_nothing_open_past_its_grace(tmp_path: Path) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, clock=clock) as gate:
        verdict = await gate.submit(call("demo/write_note", name="a"))
        assert isinstance(verdict, Wait)
        await gate.leave(verdict)
        clock.forward(120_001)
        assert await gate.pending() == []
        with pytest.raises(AlreadySettled, match="expired"):
            await gate.resolve(verdict.request.code, YES)


async def test_a_caller_that_went_away_hears_the_no(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/write_note", name="a"))
        assert isinstance(verdict, Wait)
        await gate.leave(verdict)
        await gate.resolve(verdict.request.code, NO)
        told = await gate.submit(call("demo/write_note", name="a"))
        assert isinstance(told, Refuse)
        assert told.kind is Refusal.DENIED
        # It was heard: the next identical call asks anew.
        assert isinstance(await gate.submit(call("demo/write_note", name="a")), Wait)


async def test_cancelling_the_task_leaves_the_question_to_its_grace(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        task, code = await parked(gate, name="a")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ended(task)

        async def left() -> bool:
            return any(event.kind == "request.left" for event in await gate.store.events())

        await until(left)
        await gate.resolve(code, YES)
        assert isinstance(await gate.submit(call("demo/write_note", name="a")), Proceed)


class Interrupting:
    """The real store, except that the task which commits its first change is cancelled in that moment."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.victim: asyncio.Task[object] | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def commit(self, change: object) -> None:
        await self._store.commit(change)  # type: ignore[attr-defined]
        if self.victim is not None:
            self.victim.cancel()
            self.victim = None


async def test_a_call_that_is_cancelled_while_its_question_is_written_leaves_no_ghost(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        store = Interrupting(gate.store)
        gate._questions._store = store  # type: ignore[assignment]
        task = asyncio.create_task(gate.authorize(call("demo/write_note", name="a")))
        store.victim = task  # type: ignore[assignment]
        with pytest.raises(asyncio.CancelledError):
            await ended(task)
        [row] = await gate.pending()

        async def nobody_waits() -> bool:
            return not await gate.store.waiters(row.id)

        await until(nobody_waits)
        await gate.resolve(row.code, YES)
        assert isinstance(await gate.submit(call("demo/write_note", name="a")), Proceed)


async def test_identical_calls_share_one_question_and_each_needs_its_own_yes(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        first, code = await parked(gate, name="a")
        second, same = await parked(gate, name="a")
        assert code == same
        await gate.resolve(code, YES)
        assert isinstance(await ended(first), Proceed)

        async def asked_again() -> bool:
            return any(row.again for row in await gate.pending())

        await until(asked_again)
        [row] = await gate.pending()
        assert row.code != code
        await gate.resolve(row.code, YES)
        assert isinstance(await ended(second), Proceed)


async def test_a_no_refuses_all_identical_calls(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        tasks = [await parked(gate, name="a") for _ in range(5)]
        await gate.resolve(tasks[0][1], NO)
        for task, _ in tasks:
            assert isinstance(await ended(task), Refuse)


async def test_two_hundred_parked_calls_get_each_its_own_answer(tmp_path: Path) -> None:
    policy = "approvals: {max_pending: 500}\n" + _policy()
    async with open_gate(tmp_path, policy) as gate:
        tasks = [await parked(gate, n=number) for number in range(200)]
        for number, (_, code) in enumerate(tasks):
            await gate.resolve(code, YES if number % 2 else NO)
        verdicts = [await ended(task) for task, _ in tasks]
        assert [isinstance(one, Proceed) for one in verdicts] == [bool(n % 2) for n in range(200)]
        assert (await gate.store.verify()).sound


async def test_a_quorum_needs_two_people(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/transfer", amount=500), attend=False)
        assert isinstance(verdict, Wait)
        assert (await gate.resolve(verdict.request.code, YES)).status is Status.PENDING
        with pytest.raises(AlreadySettled):
            await gate.resolve(verdict.request.code, YES)
        bob = Resolution(approve=True, identity="local:bob")
        assert (await gate.resolve(verdict.request.code, bob)).status is Status.APPROVED


async def test_an_agent_can_neither_decide_nor_undo_pause_or_revoke(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/write_note"), attend=False)
        assert isinstance(verdict, Wait)
        agent = "agent:claude-code"
        for identity in (agent, "agent:other"):
            with pytest.raises(NotPermitted):
                await gate.resolve(verdict.request.code, Resolution(approve=True, identity=identity))
        with pytest.raises(NotPermitted):
            await gate.pause("", agent)
        with pytest.raises(NotPermitted):
            await gate.resume("", agent)
        with pytest.raises(NotPermitted):
            await gate.revoke("x", agent)


async def test_undo_takes_back_an_approval_and_its_grant(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/write_note", name="a"), attend=False)
        assert isinstance(verdict, Wait)
        await gate.resolve(verdict.request.code, replace(YES, grant_ms=600_000))
        assert len(await gate.grants()) == 1
        await gate.undo(verdict.request.code, "local:alice")
        assert await gate.grants() == []
        assert isinstance(await gate.submit(call("demo/write_note", name="a"), attend=False), Wait)
        with pytest.raises(AlreadySettled):
            await gate.undo(verdict.request.code, "local:alice")


async def test_a_grant_lets_the_same_call_pass_until_it_is_revoked_elsewhere(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate, open_gate(tmp_path) as elsewhere:
        verdict = await gate.submit(call("demo/write_note", name="a"), attend=False)
        assert isinstance(verdict, Wait)
        await gate.resolve(verdict.request.code, replace(YES, grant_ms=600_000))
        for _ in range(3):
            assert isinstance(await gate.submit(call("demo/write_note", name="a")), Proceed)
        assert isinstance(await gate.submit(call("demo/write_note", name="b"), attend=False), Wait)
        [grant] = await elsewhere.grants()
        await elsewhere.revoke(grant.id[:8], "local:bob")
        # The first call has spent the approval itself: nothing of it is left when the grant ends.
        assert isinstance(await gate.submit(call("demo/write_note", name="a"), attend=False), Wait)


async def test_a_parked_call_spends_its_approval_although_a_grant_came_with_it(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        tasks = [await parked(gate, name="a") for _ in range(2)]
        assert tasks[0][1] == tasks[1][1]
        await gate.resolve(tasks[0][1], replace(YES, grant_ms=600_000))
        verdicts = [await ended(task) for task, _ in tasks]
        assert all(isinstance(one, Proceed) for one in verdicts)
        assert sorted(bool(one.request_id) for one in verdicts) == [False, True]
        request = await gate.request(tasks[0][1])
        assert (request.status, request.note) == (Status.USED, "")


async def test_a_grant_for_any_arguments_is_of_one_tool_only(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/write_note", name="a"), attend=False)
        assert isinstance(verdict, Wait)
        await gate.resolve(verdict.request.code, replace(YES, grant_ms=600_000, any_args=True))
        assert isinstance(await gate.submit(call("demo/write_note", name="zzz")), Proceed)
        assert isinstance(await gate.submit(call("demo/send_email", name="zzz"), attend=False), Wait)


async def test_no_grant_for_a_call_of_high_risk(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/transfer", amount=500), attend=False)
        assert isinstance(verdict, Wait)
        with pytest.raises(NotPermitted, match="no standing grant"):
            await gate.resolve(verdict.request.code, replace(YES, grant_ms=1000))


async def test_a_call_that_is_refused_for_a_pause_gives_its_seat_up(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        tasks = [await parked(gate, name="a") for _ in range(2)]
        await gate.pause("", "local:alice")
        await gate.resolve(tasks[0][1], YES)
        for task, _ in tasks:
            verdict = await ended(task)
            assert isinstance(verdict, Refuse)
            assert verdict.kind is Refusal.PAUSED
        await gate.resume("", "local:alice")
        assert isinstance(await gate.submit(call("demo/write_note", name="a")), Proceed)


async def test_codes_and_remaining_time_survive_a_restart(tmp_path: Path) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, clock=clock) as gate:
        verdict = await gate.submit(call("demo/write_note", name="a"), attend=False)
        assert isinstance(verdict, Wait)
    clock.forward(1000)
    async with open_gate(tmp_path, clock=clock) as gate:
        [row] = await gate.pending()
        assert (row.code, row.expires_at) == (verdict.request.code, verdict.request.expires_at)
        await gate.resolve(row.code, YES)
        assert isinstance(await gate.submit(call("demo/write_note", name="a")), Proceed)


async def test_no_such_request_is_said(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        for reference in ("", "ZZZZZZ", "'; drop table requests; --", "\x00"):
            with pytest.raises(NoSuchRequest):
                await gate.resolve(reference, YES)


async def test_people_hear_how_a_question_ended(tmp_path: Path) -> None:
    recorder = Recorder()
    async with open_gate(tmp_path, notifiers=(recorder,)) as gate:
        task, code = await parked(gate, name="a")
        await gate.resolve(code, NO)
        await ended(task)
    assert [what for what, _ in recorder.told] == ["opened", "settled"]


def _policy() -> str:
    from support.gates import POLICY

    return POLICY
