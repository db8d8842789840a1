"""The text of a policy that is kept for proof: what decides is in it, what is secret is not."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airlock import texts
from airlock.loader.file import loads
from airlock.ports import AuditFilter
from airlock.runtime import opened
from tests.support.terminal import Terminal, agent_call, parked

POLICY = """
server: {api_secret: server-secret-of-32-characters-xx}
providers: {mail: {type: stdio, command: mailer, args: ["--x=inline-argument"], env: {KEY: inline-env}}}
notify: [{type: webhook, url: "https://hooks.example/inline-hook"}]
profiles: {look: {allow: ["*/read_*"]}}
agents:
  a: {token: agent-token-of-32-characters-xxxx, extends: [look, claude-code-basics], ask: ["${PATTERN}"]}
people: {alice: {local: alice}}
approvals: {timeout: 5m}
rules:
  - {id: one, tool: mail/send, args: {password: {eq: inline-password}, to: {in: [bob, eve]}}, effect: deny}
  - {id: two, tool: mail/send, effect: ask, redact: [pin],
     when: 'args.api_key == "inline-key" || args.pin == 4711'}
  - {id: three, tool: mail/send, when: 'args.to == "carol"', effect: ask, reason: to carol}
  - {id: four, tool: mail/send, args: {card: {eq: 4712}}, effect: ask, redact: [card]}
tests:
  - {agent: a, tool: mail/send, args: {password: tested-password}, expect: deny}
"""


def text_of(policy: str = POLICY) -> str:
    return loads(policy, Path("airlock.yaml"), {"PATTERN": "from-the-environment/*"}).policy_text


def test_what_decides_is_in_the_text_and_reads_as_yaml() -> None:
    kept = yaml.safe_load(text_of())
    assert kept["profiles"] == {"look": {"allow": ["*/read_*"]}}
    assert "ToolSearch" in kept["shipped"]["claude-code-basics"]
    assert kept["people"] == {"alice": {"local": "alice"}}
    assert kept["approvals"] == {"timeout": "5m"}
    assert [rule["id"] for rule in kept["rules"]] == ["one", "two", "three", "four"]
    assert kept["rules"][0]["args"]["to"] == {"in": ["bob", "eve"]}
    assert kept["rules"][2]["when"] == 'args.to == "carol"'
    assert kept["agents"]["a"]["ask"] == ["${PATTERN}"]


def test_no_secret_is_in_the_text() -> None:
    text = text_of()
    for secret in ("secret-of", "token-of", "inline", "tested", "4711", "4712", "from-the-environment"):
        assert secret not in text, secret
    assert '"password": {"eq": "‹hidden›"}' in text


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("timeout: 5m", "timeout: 6m", False),
        ('allow: ["*/read_*"]', 'allow: ["*/list_*"]', False),
        ('"carol"', '"dave"', False),
        ("mailer", "other-program", True),
        ("tested-password", "other", True),
        ("\nproviders", "\n# a comment\nproviders", True),
    ],
)
def test_the_revision_changes_with_what_decides_and_only_with_it(before: str, after: str, same: bool) -> None:
    assert (text_of() == text_of(POLICY.replace(before, after))) is same


@given(st.text(min_size=1, max_size=40))
def test_any_reason_keeps_the_text_a_text(reason: str) -> None:
    policy = POLICY.replace("to carol", json.dumps(reason))
    try:
        config = loads(policy, Path("airlock.yaml"), {"PATTERN": "x/*"})
    except Exception:  # noqa: BLE001 - what the reader refuses is no policy
        return
    assert config.revision == hashlib.sha256(config.policy_text.encode()).hexdigest()


@pytest.mark.anyio
async def test_every_decision_names_a_text_that_is_kept_once(terminal: Terminal) -> None:
    for _ in range(2):
        async with parked(terminal.config) as calls:
            await calls.runtime.gate.authorize(agent_call(calls.runtime.config, "demo/echo", {}))
    async with opened(calls.runtime.config, road="stdio", notify=False) as runtime:
        events = await runtime.store.events(wanted=AuditFilter(tool="demo/echo"))
        (revision,) = {json.loads(event.body)["revision"] for event in events}
        kept = await texts.read(runtime.store, [revision, "0" * 64])
        assert list(kept) == [revision]
        assert '"big"' in kept[revision]
        await runtime.store.prune(events[-1].at + 1)
        assert await texts.read(runtime.store, [revision])


@pytest.mark.anyio
async def test_a_text_that_was_changed_in_the_database_is_none(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        store = calls.runtime.store
        await asyncio.gather(*(texts.keep(store, ["one", "two"], 1) for _ in range(4)))
        names = [texts.digest("one"), texts.digest("two")]
        assert sorted((await texts.read(store, names)).values()) == ["one", "two"]
        changed = await store.get_record("", texts.KIND, names[0])
        assert changed is not None
        from dataclasses import replace

        await store.put_records([replace(changed, version=2, body={"text": "another"})])
        assert list(await texts.read(store, names)) == [names[1]]


@pytest.mark.anyio
async def test_the_text_of_a_policy_that_was_changed_while_it_ran_is_kept_too(terminal: Terminal) -> None:
    from airlock.home import state
    from airlock.serving import watched

    config = loads(terminal.config.read_text(), terminal.config)
    located = state.Located(path=terminal.config, found=False)
    adopted = asyncio.Event()
    async with opened(config, road="gateway", notify=False) as runtime:
        async with watched(runtime, located, [adopted.set]), asyncio.timeout(60):
            terminal.config.write_text(terminal.config.read_text().replace("gt: 100", "gt: 200"))
            await adopted.wait()
        verdict = await runtime.gate.authorize(agent_call(runtime.config, "demo/echo", {}))
        events = await runtime.store.events(wanted=AuditFilter(tool=verdict.call.tool))
        revision = json.loads(events[-1].body)["revision"]
        assert revision != config.revision
        kept = await texts.read(runtime.store, [revision, config.revision])
    assert ['"gt": 200' in kept[revision], '"gt": 100' in kept[config.revision]] == [True, True]
