"""submit: allow, deny and ask; nothing proceeds that was not recorded; failures refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from airlock.errors import StoreError
from airlock.gate import Gate
from airlock.model import Effect, Outcome, Proceed, Refusal, Refuse, Resolution, Status, Wait
from airlock.policy import Facts, Policy
from airlock.ports import AuditFilter
from support.gates import POLICY, Recorder, Timekeeper, call, open_gate

pytestmark = pytest.mark.anyio
YES = Resolution(approve=True, identity="local:alice")


async def kinds(gate: Gate) -> list[str]:
    return [event.kind for event in await gate.store.events()]


async def test_an_allowed_call_proceeds_with_the_arguments_that_were_judged(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        asked = call("demo/echo", text="hi")
        verdict = await gate.submit(asked)
        assert isinstance(verdict, Proceed)
        assert verdict.call is asked
        assert await kinds(gate) == ["call.allowed"]


async def test_a_denied_call_is_refused_and_recorded(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/delete_note", name="x"))
        assert isinstance(verdict, Refuse)
        assert verdict.kind is Refusal.POLICY
        assert await kinds(gate) == ["call.denied"]


async def test_what_no_rule_names_is_denied(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/unheard_of"))
        assert isinstance(verdict, Refuse)
        assert verdict.rule == ""


async def test_an_unknown_agent_is_denied_before_any_rule(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/echo", agent="stranger"))
        assert isinstance(verdict, Refuse)
        assert verdict.kind is Refusal.UNKNOWN_AGENT
        assert await kinds(gate) == ["call.denied"]


async def test_an_asked_call_waits_under_a_code(tmp_path: Path) -> None:
    recorder = Recorder()
    async with open_gate(tmp_path, notifiers=(recorder,)) as gate:
        verdict = await gate.submit(call("demo/write_note", name="a", text="b"))
        assert isinstance(verdict, Wait)
        assert len(verdict.request.code) == 6
        [waiting] = await gate.pending()
        assert waiting.code == verdict.request.code
        assert waiting.arguments == '{"name":"a","text":"b"}'
    assert [what for what, _ in recorder.told] == ["opened"]


async def test_people_are_told_once_however_many_wait(tmp_path: Path) -> None:
    recorder = Recorder()
    async with open_gate(tmp_path, notifiers=(recorder,)) as gate:
        for _ in range(3):
            await gate.submit(call("demo/write_note", name="a"))
        assert len(await gate.pending()) == 1
    assert len(recorder.told) == 1


async def test_a_notifier_that_fails_refuses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def opened(self, request: object) -> None:
            raise RuntimeError("no network")

        settled = opened

    async with open_gate(tmp_path, notifiers=(Broken(),)) as gate:
        assert isinstance(await gate.submit(call("demo/write_note", name="a")), Wait)
    assert "a notifier failed" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": {"name": "b"}},
        {"name": "send_email"},
        {"endpoint": "another command"},
        {"agent": "other"},
    ],
)
async def test_an_approval_covers_no_other_call(tmp_path: Path, change: dict[str, object]) -> None:
    async with open_gate(tmp_path) as gate:
        asked = call("demo/write_note", name="a")
        verdict = await gate.submit(asked, attend=False)
        assert isinstance(verdict, Wait)
        await gate.resolve(verdict.request.code, YES)
        if "agent" in change:
            principal = replace(asked.principal, name="other", identity="agent:other")
            other = asked._replace(id="c2", principal=principal)
        else:
            other = asked._replace(id="c2", **change)  # type: ignore[arg-type]
        assert isinstance(await gate.submit(other, attend=False), Wait)
        assert isinstance(await gate.submit(asked._replace(id="c3"), attend=False), Proceed)


async def test_another_workspace_or_hook_folder_is_another_call(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        asked = call("demo/write_note", road="hook", cwd="/one", name="a")
        verdict = await gate.submit(asked, attend=False)
        assert isinstance(verdict, Wait)
        await gate.resolve(verdict.request.id, YES)
        for origin in (replace(asked.origin, cwd="/two"), replace(asked.origin, workspace="/elsewhere")):
            again = await gate.submit(asked._replace(id="c2", origin=origin), attend=False)
            assert isinstance(again, Wait)


async def test_one_approval_is_used_once(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        asked = call("demo/write_note", name="a")
        verdict = await gate.submit(asked, attend=False)
        assert isinstance(verdict, Wait)
        await gate.resolve(verdict.request.code, YES)
        assert isinstance(await gate.submit(asked._replace(id="c2"), attend=False), Proceed)
        again = await gate.submit(asked._replace(id="c3"), attend=False)
        assert isinstance(again, Wait)
        assert again.request.code != verdict.request.code


async def test_todays_policy_holds_when_an_approval_is_used(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        asked = call("demo/write_note", name="a")
        verdict = await gate.submit(asked, attend=False)
        assert isinstance(verdict, Wait)
        await gate.resolve(verdict.request.code, YES)
        await _adopt(gate, tmp_path, POLICY.replace('deny: ["demo/delete_note"]', 'deny: ["demo/*_note"]'))
        assert isinstance(await gate.submit(asked._replace(id="c2"), attend=False), Refuse)


async def test_an_approval_that_is_too_little_today_reopens_under_its_code(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        asked = call("demo/write_note", name="a")
        verdict = await gate.submit(asked, attend=False)
        assert isinstance(verdict, Wait)
        await gate.resolve(verdict.request.code, YES)
        rule = "  - {id: two, agent: [claude-code], tool: demo/write_note, effect: ask, quorum: 2}\n"
        await _adopt(gate, tmp_path, POLICY + rule)
        again = await gate.submit(asked._replace(id="c2"), attend=False)
        assert isinstance(again, Wait)
        assert again.request.code == verdict.request.code
        await gate.resolve(again.request.code, Resolution(approve=True, identity="local:bob"))
        assert isinstance(await gate.submit(asked._replace(id="c3"), attend=False), Proceed)


async def _adopt(gate: Gate, folder: Path, policy: str) -> None:
    from airlock.loader.file import loads
    from airlock.policy import compile_policy

    config = loads(policy, folder / "airlock.yaml")
    gate.adopt(compile_policy(config), config)


async def test_a_rate_holds_across_calls_and_opens_again_with_time(tmp_path: Path) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, clock=clock) as gate:
        verdicts = [await gate.submit(call("demo/search", q=str(n))) for n in range(5)]
        assert [isinstance(one, Proceed) for one in verdicts] == [True, True, True, False, False]
        clock.forward(61_000)
        assert isinstance(await gate.submit(call("demo/search")), Proceed)


async def test_a_rule_with_reuse_asks_once_and_then_lets_the_same_call_pass(tmp_path: Path) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, clock=clock) as gate:
        verdict = await gate.submit(call("demo/publish", v=1), attend=False)
        assert isinstance(verdict, Wait)
        await gate.resolve(verdict.request.code, YES)
        for _ in range(3):
            assert isinstance(await gate.submit(call("demo/publish", v=1)), Proceed)
        assert isinstance(await gate.submit(call("demo/publish", v=2), attend=False), Wait)
        clock.forward(601_000)
        assert isinstance(await gate.submit(call("demo/publish", v=1), attend=False), Wait)


async def test_too_many_open_questions_refuse_the_next_one(tmp_path: Path) -> None:
    policy = POLICY + "\napprovals: {max_pending: 3}\n"
    clock = Timekeeper()
    async with open_gate(tmp_path, policy, clock=clock) as gate:
        for number in range(3):
            assert isinstance(await gate.submit(call("demo/write_note", n=number), attend=False), Wait)
        refused = await gate.submit(call("demo/write_note", n=4), attend=False)
        assert isinstance(refused, Refuse)
        assert refused.kind is Refusal.LIMIT
        # What has expired no longer counts.
        clock.forward(301_000)
        assert isinstance(await gate.submit(call("demo/write_note", n=5), attend=False), Wait)


async def test_a_paused_agent_is_denied_everything_until_it_is_resumed(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        await gate.pause("claude-code", "local:alice")
        assert gate.submit_now(call("demo/echo")) is None
        paused = await gate.submit(call("demo/echo"))
        assert isinstance(paused, Refuse)
        assert paused.kind is Refusal.PAUSED
        assert isinstance(await gate.submit(call("demo/write_note", agent="other"), attend=False), Wait)
        await gate.resume("claude-code", "local:alice")
        assert isinstance(await gate.submit(call("demo/echo")), Proceed)


async def test_a_pause_of_another_process_holds_at_once_on_the_fast_path(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate, open_gate(tmp_path) as elsewhere:
        assert isinstance(gate.submit_now(call("demo/echo")), Proceed)
        await elsewhere.pause("", "local:alice")
        assert not isinstance(gate.submit_now(call("demo/echo")), Proceed)
        verdict = await gate.submit(call("demo/echo"))
        assert isinstance(verdict, Refuse)


async def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        await gate.store.close()
        assert gate.submit_now(call("demo/echo")) is None
        verdict = await gate.submit(call("demo/echo"))
        assert isinstance(verdict, Refuse)
        assert verdict.kind is Refusal.FAILED


async def test_a_policy_that_raises_refuses_the_call(tmp_path: Path) -> None:
    class Broken(Policy):
        def evaluate(self, call: object, facts: Facts) -> object:  # type: ignore[override]
            raise RuntimeError("a defect")

    async with open_gate(tmp_path) as gate:
        gate.policy.__class__ = Broken
        verdict = await gate.submit(call("demo/echo"))
        assert isinstance(verdict, Refuse)
        assert verdict.kind is Refusal.FAILED
        assert "a defect" not in verdict.reason
        assert await kinds(gate) == ["call.denied"]


async def test_secrets_reach_neither_the_queue_nor_the_audit(tmp_path: Path) -> None:
    recorder = Recorder()
    async with open_gate(tmp_path, notifiers=(recorder,)) as gate:
        await gate.submit(call("demo/echo", password="hunter2-hunter2"))
        await gate.submit(call("demo/write_note", api_key="hunter2-hunter2"), attend=False)
    assert "hunter2" not in recorder.told[0][1].arguments
    for file in tmp_path.iterdir():
        assert b"hunter2" not in file.read_bytes(), file.name


async def test_the_outcome_joins_the_decision_in_one_entry(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        verdict = await gate.submit(call("demo/echo", text="hi"))
        assert isinstance(verdict, Proceed)
        [running] = await gate.store.entries(AuditFilter())
        assert running.result is None
        await gate.complete(verdict, Outcome.SUCCESS)
        [entry] = await gate.store.entries(AuditFilter())
        assert (entry.agent_id, entry.tool, entry.result) == ("claude-code", "demo/echo", "success")
        assert entry.hitl_outcome is None
        assert (await gate.store.verify()).sound


async def test_preview_decides_and_records_nothing(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        assert (await gate.preview(call("demo/write_note"))).effect is Effect.ASK
        assert await kinds(gate) == []
        assert await gate.pending() == []


@pytest.mark.parametrize("tool", ["demo/echo", "demo/read_note", "demo/delete_note", "demo/nothing"])
async def test_the_fast_path_says_what_submit_says(tmp_path: Path, tool: str) -> None:
    async with open_gate(tmp_path) as gate:
        fast, slow = gate.submit_now(call(tool, a=1)), await gate.submit(call(tool, a=1))
        assert type(fast) is type(slow)
        assert isinstance(fast, (Proceed, Refuse))
        assert len(await kinds(gate)) == 2


@pytest.mark.parametrize("tool", ["demo/write_note", "demo/transfer", "demo/search"])
async def test_the_fast_path_leaves_everything_else_to_submit(tmp_path: Path, tool: str) -> None:
    async with open_gate(tmp_path) as gate:
        assert gate.submit_now(call(tool, amount=500)) is None
        assert await kinds(gate) == []


async def test_the_status_of_an_expired_request_is_expired_on_read(tmp_path: Path) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, clock=clock) as gate:
        verdict = await gate.submit(call("demo/write_note"), attend=False)
        assert isinstance(verdict, Wait)
        clock.forward(300_001)
        assert (await gate.request(verdict.request.code.lower())).status is Status.EXPIRED
        assert await gate.pending() == []


async def test_a_database_that_fails_while_asking_refuses(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        await gate.store.close()
        with pytest.raises(StoreError):
            await gate.pending()
        verdict = await gate.submit(call("demo/write_note"))
        assert isinstance(verdict, Refuse)
