"""Secrets that come back by another way than the arguments: in a server's error, at the end of a cut text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airlock.errors import NotPermitted
from airlock.gate import Gate
from airlock.model import Outcome, Proceed, Refuse, Resolution, Wait
from airlock.ports import RequestFilter
from airlock.redaction import Redactor
from support.gates import Timekeeper, call, open_gate

pytestmark = pytest.mark.anyio
SECRET = "hunter2-hunter2"


async def test_a_server_that_repeats_a_secret_in_its_error_does_not_put_it_on_record(tmp_path: Path) -> None:
    async with open_gate(tmp_path) as gate:
        given = call(
            "demo/echo", auth={"password": SECRET, "more": [SECRET + "-2"]}, token=SECRET, note="plain"
        )
        verdict = await gate.submit(given)
        assert isinstance(verdict, Proceed)
        await gate.complete(
            verdict, Outcome.ERROR, error=f"-32000: no user for `{SECRET}` nor {SECRET}-2: plain"
        )
        (_, completed) = await gate.store.events()
        assert "hunter2" not in completed.body
        assert "plain" in json.loads(completed.body)["error"]


def test_what_is_scrubbed_is_what_is_redacted() -> None:
    redactor = Redactor(("password",), b"k" * 32)
    arguments = {"a": [{"b": "first-one"}], "password": {"deep": ["second-one"]}, "note": "third-one", "x": 1}
    text = redactor.scrub("first-one second-one third-one", arguments, frozenset({"a[*].b"}))
    assert "first-one" not in text
    assert "second-one" not in text
    assert "third-one" in text


async def test_an_agent_cannot_take_an_approval_back(tmp_path: Path) -> None:
    """It could make people approve the same thing over and over until they no longer look."""
    async with open_gate(tmp_path) as gate:
        waiting = await gate.submit(call("demo/write_note", name="x"))
        assert isinstance(waiting, Wait)
        await gate.resolve(waiting.request.code, Resolution(approve=True, identity="local:alice"))
        with pytest.raises(NotPermitted):
            await gate.undo(waiting.request.code, "agent:claude-code")


HIDING = """
providers: {mail: {type: builtin}}
agents: {claude-code: {}}
approvals: {max_pending: 1}
rules:
  - {id: mail, tool: "mail/*", effect: ask, redact: ["body.ssn"]}
"""
SSN = "078-05-1120"


async def everything(gate: Gate) -> str:
    rows = await gate.store.requests(RequestFilter(limit=100))
    return str([event.body for event in await gate.store.events()]) + str(rows)


@pytest.mark.parametrize("how", ["no", "late", "full", "paused", "down", "told"])
async def test_what_a_rule_hides_stays_hidden_however_the_call_ends(tmp_path: Path, how: str) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, HIDING, clock=clock) as gate:
        given = call("mail/send", body={"ssn": SSN})
        if how == "paused":
            await gate.pause("", "local:alice")
            assert isinstance(await gate.submit(given), Refuse)
        elif how == "down":
            await gate.reject(given, "`mail` is not running")
        else:
            waiting = await gate.submit(given, attend=how != "told")
            assert isinstance(waiting, Wait)
            if how == "full":
                assert isinstance(await gate.submit(call("mail/send", body={"ssn": SSN}, n=2)), Refuse)
            elif how == "late":
                clock.forward(24 * 3_600_000)
                assert isinstance(await gate.wait(waiting), Refuse)
            else:
                await gate.resolve(waiting.request.code, Resolution(approve=False, identity="local:alice"))
                answer = await (gate.submit(given) if how == "told" else gate.wait(waiting))
                assert isinstance(answer, Refuse)
        assert SSN not in await everything(gate)
