"""What the sister APIs share: the config key, mounting, records, overlays, sealing, idempotency."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airlock.apikeys import ALL_SCOPES
from airlock.approval import grant_covers
from airlock.config import FaceConfig
from airlock.errors import ConfigError, Conflict, NotPermitted, StoreError, UsageError
from airlock.gate import Gate
from airlock.loader.file import loads
from airlock.model import Call, Effect, Overlay, Proceed, Refuse, Resolution, Reviewers, Risk, Status, Wait
from airlock.overlays import joined
from airlock.policy import Facts, compile_policy
from airlock.ports import Draft
from airlock.ports_faces import Record, RecordFilter
from airlock.posting import Target, Undeliverable
from airlock.store.schema import SCHEMA, migration
from airlock.store.sqlite import SQLiteStore
from airlock.web.app import build_app, whole_table
from airlock.web.auth import Credential
from airlock.web.compat import faces_for
from airlock.web.compat.agentgate import make_face
from airlock.web.compat.asking import Ask, Attempt, ask
from airlock.web.compat.once import Make, once
from airlock.web.compat.people import name_of
from airlock.web.compat.sealing import seal, unseal
from airlock.web.errors import HttpError
from airlock.web.services import Services
from tests.support.gates import Timekeeper, call, open_gate
from tests.support.gateways import SECRET, open_gateway

pytestmark = pytest.mark.anyio

POLICY = """
compat: [agentgate]
agents:
  claude-code: {ask: ["demo/ask"], allow: ["demo/allow"], deny: ["demo/deny"]}
rules:
  - {id: often, agent: [claude-code], tool: demo/rated, effect: allow, rate: 1/1m}
  - {id: odd, agent: [claude-code], tool: demo/odd, effect: allow, when: 'args.n > 1'}
  - {id: slow, agent: [claude-code], tool: demo/slow, effect: ask, timeout: 10s, risk: high}
people: {alice: {local: alice}, bob: {local: bob}}
"""
ASKED = Overlay(otherwise=Effect.ASK)


# -- the config ------------------------------------------------------------------------------------------


def test_apis_are_named_in_a_list_or_with_options() -> None:
    assert list(loads("compat: [agentgate, sidclaw]", Path("c"), {}).compat) == ["agentgate", "sidclaw"]
    assert list(loads("compat: agentgate", Path("c"), {}).compat) == ["agentgate"]
    one = loads("compat: {agentgate: {lists: wrapped}}", Path("c"), {}).compat["agentgate"]
    assert one == FaceConfig(name="agentgate", agent="agentgate", wrapped=True)
    assert loads("agents: {}", Path("c"), {}).compat == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compat: [agentgat]", "did you mean `agentgate`"),
        ("compat: [smtp]", "is not an API that Airlock speaks"),
        ("compat: [agentgate, agentgate]", "stands here twice"),
        ("compat: {agentgate: {lists: odd}}", "`plain`, `wrapped`"),
        ("compat: {agentgate: {agent: nobody}}", "unknown agent `nobody`"),
        ("compat: [agentgate]\nproviders: {agentgate: builtin}", "a provider is called `agentgate` too"),
    ],
)
def test_what_is_wrong_with_it_is_said(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loads(text, Path("airlock.yaml"), {})


def test_an_api_brings_its_agent_and_opens_the_short_health() -> None:
    config = loads('compat: [agentgate]\nagents: {a: {ask: ["agentgate/*"]}}', Path("c"), {})
    assert config.agents["agentgate"].implied
    assert config.server.public_health
    assert config.warnings == ()
    assert compile_policy(config).warnings == ()
    own = loads("compat: {agentgate: {agent: a}}\nagents: {a: {}}", Path("c"), {})
    assert list(own.agents) == ["a"]
    assert not loads("compat: [sidclaw]", Path("c"), {}).server.public_health


# -- mounting --------------------------------------------------------------------------------------------


def test_no_two_faces_claim_a_path() -> None:
    face = make_face(FaceConfig(name="agentgate", agent="agentgate"))
    with pytest.raises(AssertionError, match="claimed twice: POST /api/requests"):
        whole_table((face, face))
    every = faces_for(loads("compat: [agentgate, sidclaw, firewall, harp]", Path("c.yaml"), {}))
    assert len(every) == 4
    whole_table(every)


async def test_an_api_is_served_only_where_the_config_says_so(tmp_path: Path) -> None:
    async with open_gate(tmp_path, "agents: {a: {}}") as gate:
        app = build_app(gate)
        assert app.state.services.faces == ()
        assert not any(getattr(route, "path", "").startswith("/api/") for route in app.routes)
        await app.state.drain()


async def shown_agent(scope: Any, _: Any, send: Any) -> None:
    """Answers with the agent that a request speaks for."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["airlock.principal"].name.encode()})


def test_the_agent_that_an_api_brings_does_not_count_where_there_is_only_one(tmp_path: Path) -> None:
    text = f"server: {{api_secret: {SECRET}}}\ncompat: [agentgate]\nagents: {{solo: {{}}}}"
    with open_gateway(tmp_path, text, mcp_app=shown_agent) as gateway:
        assert gateway.post("/mcp", {}).body == b"solo"


def test_an_api_that_this_version_lacks_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    config = loads("compat: [agentgate]", Path("c"), {})
    odd = replace(config, compat={"smtp": FaceConfig(name="smtp", agent="smtp")})
    with pytest.raises(UsageError, match="`compat: smtp`"):
        faces_for(odd)


# -- records ---------------------------------------------------------------------------------------------


def record(name: str, **more: object) -> Record:
    known: dict[str, object] = {"face": "f", "kind": "k", "created_at": 5, "updated_at": 5, "body": {"a": 1}}
    return Record(id=name, **{**known, **more})  # type: ignore[arg-type]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    opened = await SQLiteStore.open(tmp_path / "airlock.db")
    yield opened
    await opened.close()


async def test_records_are_kept_changed_and_dropped_with_their_events(store: SQLiteStore) -> None:
    event = Draft(id="e1", kind="policy.created", at=5, body={"by": "x"})
    one = record("one", link="l", owner="o", due_at=9)
    await store.put_records([one], events=[event])
    assert await store.get_record("f", "k", "one") == one
    assert [row.kind for row in await store.events()] == ["policy.created"]
    newer = replace(one, version=2, body={"a": 2}, due_at=None)
    await store.put_records([newer])
    assert await store.get_record("f", "k", "one") == newer
    await store.put_records([], drop=[newer])
    assert await store.get_record("f", "k", "one") is None


async def test_a_lost_race_changes_nothing(store: SQLiteStore) -> None:
    one = record("one")
    await store.put_records([one])
    event = Draft(id="e1", kind="policy.created", at=5, body={})
    for wrong in (one, replace(one, version=3), replace(record("none"), version=2)):
        with pytest.raises(Conflict):
            await store.put_records([record("other"), wrong], events=[event])
    with pytest.raises(Conflict):
        await store.put_records([record("other")], drop=[replace(one, version=2)])
    assert await store.get_record("f", "k", "other") is None
    assert await store.events() == []


async def test_records_are_found_by_what_they_say(store: SQLiteStore) -> None:
    rows = [record(f"r{n}", created_at=n, link="l" if n % 2 else "", owner=f"o{n % 3}") for n in range(6)]
    await store.put_records(rows)
    await store.put_records([record("else", face="g")])

    async def names(**wanted: object) -> list[str]:
        found = await store.find_records(RecordFilter(kind="k", **wanted))  # type: ignore[arg-type]
        return [row.id for row in found]

    assert await names(face="f") == ["r5", "r4", "r3", "r2", "r1", "r0"]
    assert await names(face="f", oldest_first=True, limit=2, offset=1) == ["r1", "r2"]
    assert await names(face="f", ids=("r1", "r9")) == ["r1"]
    assert await names(face="f", links=("l",)) == ["r5", "r3", "r1"]
    assert await names(face="f", owner="o0") == ["r3", "r0"]
    assert set(await names(links=("l",))) == {"r1", "r3", "r5"}
    assert await store.count_records(RecordFilter(kind="k", face="f", limit=1)) == 6


async def test_old_records_go_with_the_history_and_what_lasts_stays(store: SQLiteStore) -> None:
    await store.put_records(
        [
            record("old", kind="request"),
            record("new", kind="request", updated_at=50),
            record("kept", kind="policy"),
            record("due", kind="delivery", due_at=60),
        ]
    )
    await store.prune(20)
    left = [
        name
        for kind, name in (("request", "old"), ("request", "new"), ("policy", "kept"), ("delivery", "due"))
        if await store.get_record("f", kind, name) is not None
    ]
    assert left == ["new", "kept", "due"]


async def test_a_database_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "airlock.db"
    first = await SQLiteStore.open(path)
    await first.close()
    with sqlite3.connect(path) as old:
        old.executescript(
            "DROP TABLE record; ALTER TABLE api_key DROP COLUMN face; ALTER TABLE api_key DROP COLUMN owner;"
            "ALTER TABLE api_key DROP COLUMN expires_at;"
            "UPDATE state SET schema = 1; PRAGMA user_version = 1;"
        )
    old.close()
    assert SCHEMA >= 2
    assert "CREATE TABLE record" in migration(2)
    again = await SQLiteStore.open(path)
    await again.put_records([record("one")])
    assert (await again.verify()).sound
    await again.close()


# -- overlays --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("yaml", ["allow", "ask", "deny", "silent"])
@pytest.mark.parametrize("other", [None, Effect.ALLOW, Effect.ASK, Effect.DENY])
def test_the_strictest_wins_and_two_silences_ask(yaml: str, other: Effect | None) -> None:
    policy = compile_policy(loads(POLICY, Path("c"), {}))
    decision = policy.evaluate(call(f"demo/{yaml}"), Facts(now=0))
    both = joined(decision, Overlay(effect=other, rule="theirs", reason="so"))
    said = {"allow": Effect.ALLOW, "ask": Effect.ASK, "deny": Effect.DENY}.get(yaml)
    spoken = [one for one in (said, other) if one is not None]
    assert both.effect is max(spoken, key=lambda one: one.strictness, default=Effect.ASK)
    if other is not None and (said is None or other.strictness > said.strictness):
        assert (both.rule, both.reason) == ("theirs", "so")


def test_a_yaml_rule_that_failed_or_is_used_up_is_not_a_silence() -> None:
    policy = compile_policy(loads(POLICY, Path("c"), {}))
    errored = policy.evaluate(call("demo/odd", n="x"), Facts(now=0))
    limit = policy.needs(call("demo/rated")).rates[0].scope
    spent = policy.evaluate(call("demo/rated"), Facts(now=0, rates={limit: 1}))
    unknown = policy.evaluate(call("demo/allow", agent="nobody"), Facts(now=0))
    for decision in (errored, spent, unknown):
        assert joined(decision, Overlay(effect=Effect.ALLOW, rule="theirs")).effect is Effect.DENY


def test_terms_are_joined_to_the_strictest() -> None:
    policy = compile_policy(loads(POLICY, Path("c"), {}))
    overlay = Overlay(
        effect=Effect.ASK,
        rule="theirs",
        risk=Risk.MEDIUM,
        life_ms=60_000,
        reviewers=(Reviewers(rule="theirs", quorum=2),),
    )
    slow = joined(policy.evaluate(call("demo/slow"), Facts(now=0)), overlay)
    assert (slow.rule, slow.terms.timeout_ms, slow.terms.risk) == ("slow", 10_000, Risk.HIGH)
    assert slow.terms.quorum == 2
    asked = joined(policy.evaluate(call("demo/allow"), Facts(now=0)), overlay)
    assert (asked.rule, asked.terms.timeout_ms, asked.terms.risk) == ("theirs", 60_000, Risk.MEDIUM)


# -- the counter -----------------------------------------------------------------------------------------


def once_call(name: str = "demo/silent", **arguments: object) -> Call:
    plain = call(name, **arguments)
    return plain._replace(once=plain.id, overlay=Overlay(rule="theirs"))


async def test_an_approval_of_a_call_asked_once_is_spent_by_its_own_asker_only(tmp_path: Path) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        asked, twin = once_call(n=1), once_call(n=1)
        one = await gate.submit(asked, attend=False)
        other = await gate.submit(twin, attend=False)
        assert isinstance(one, Wait)
        assert isinstance(other, Wait)
        assert one.request.id != other.request.id
        await gate.resolve(one.request.id, Resolution(approve=True, identity="local:alice"))
        third = await gate.submit(once_call(n=1), attend=False)
        assert isinstance(third, Wait), "the yes was for the first one"
        stranger = asked._replace(principal=replace(asked.principal, identity="key:x"))
        with pytest.raises(NotPermitted):
            await gate.collect(stranger, one.request.id)
        results = await asyncio.gather(*(gate.collect(asked, one.request.id) for _ in range(5)))
        assert {result.status for result in results} == {Status.USED}
        used = [event for event in await gate.store.events() if event.kind == "request.used"]
        assert len(used) == 1
        assert (await gate.collect(twin, other.request.id)).status is Status.PENDING


async def test_a_policy_that_wants_more_now_asks_again(tmp_path: Path) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        asked = once_call(n=1)
        one = await gate.submit(asked, attend=False)
        assert isinstance(one, Wait)
        await gate.resolve(one.request.id, Resolution(approve=True, identity="local:alice"))
        two = Overlay(effect=Effect.ASK, rule="theirs", reviewers=(Reviewers(rule="theirs", quorum=2),))
        again = await gate.collect(asked._replace(overlay=two), one.request.id)
        assert again.status is Status.PENDING
        await gate.resolve(one.request.id, Resolution(approve=True, identity="local:bob"))
        assert (await gate.collect(asked._replace(overlay=two), one.request.id)).status is Status.USED


async def test_an_exact_grant_of_one_request_covers_the_same_call_again(tmp_path: Path) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        one = await gate.submit(once_call(n=1), attend=False)  # type: ignore[arg-type]
        assert isinstance(one, Wait)
        await gate.resolve(one.request.id, Resolution(approve=True, identity="local:alice", grant_ms=60_000))
        (grant,) = await gate.grants()
        assert "." not in grant.fingerprint
        assert grant_covers(
            grant,
            fingerprint=grant.fingerprint,
            scope="",
            rule_digest=grant.rule_digest,
            now=grant.granted_at,
        )
        assert isinstance(await gate.submit(once_call(n=1), attend=False), Proceed)  # type: ignore[arg-type]
        assert isinstance(await gate.submit(once_call(n=2), attend=False), Wait)  # type: ignore[arg-type]


async def test_an_overlay_is_never_judged_on_the_fast_path(tmp_path: Path) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        denied = call("demo/allow")._replace(overlay=Overlay(effect=Effect.DENY, rule="theirs"))
        assert gate.submit_now(denied) is None
        assert isinstance(await gate.submit(denied), Refuse)


# -- the rest --------------------------------------------------------------------------------------------


async def test_a_sealed_secret_opens_only_here_for_its_purpose_and_unchanged(tmp_path: Path) -> None:
    async with open_gate(tmp_path, POLICY) as gate:
        sealed = seal(gate, "one", "sécret" * 20)
        assert "sécret" not in sealed
        assert seal(gate, "one", "sécret" * 20) != sealed
        assert unseal(gate, "one", sealed) == "sécret" * 20
        nonce, covered, mark = sealed.split(".")
        flipped = f"{nonce}.{'0' if covered[0] != '0' else '1'}{covered[1:]}.{mark}"
        for purpose, text in (("two", sealed), ("one", flipped), ("one", "nonsense"), ("one", "")):
            with pytest.raises(StoreError):
                unseal(gate, purpose, text)
        assert unseal(gate, "one", seal(gate, "one", "")) == ""


def services_of(gate: Gate, clock: Timekeeper) -> Services:
    return build_app(gate, keys=gate.store, clock=clock).state.services  # type: ignore[arg-type, no-any-return]


async def test_an_idempotency_key_holds_for_a_day_and_frees_itself_when_the_work_fails(
    tmp_path: Path,
) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, "agents: {a: {}}", clock=clock) as gate:
        services = services_of(gate, clock)
        made: list[str] = []

        async def make(_: object) -> str:
            made.append(f"m{len(made)}")
            return made[-1]

        async def fail(_: object) -> str:
            raise HttpError(503, "no")

        async def send(key: str, work: object = make, body: dict[str, int] | None = None) -> tuple[str, bool]:
            return await once(services, "f", owner="o", key=key, body=body or {}, make=work)  # type: ignore[arg-type]

        with pytest.raises(HttpError):
            await send("k", fail)
        assert await send("k") == ("m0", True)
        assert await send("k") == ("m0", False)
        with pytest.raises(HttpError, match="another body"):
            await send("k", body={"a": 1})
        assert await send("") == ("m1", True)
        clock.forward(86_400_001)
        assert await send("k") == ("m2", True)
        for odd in ("x" * 256, "a\nb"):
            with pytest.raises(UsageError):
                await send(odd)


async def test_two_at_once_under_one_key_make_one_thing(tmp_path: Path) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, "agents: {a: {}}", clock=clock) as gate:
        services = services_of(gate, clock)
        made: list[str] = []
        go = asyncio.Event()

        async def make(_: object) -> str:
            await go.wait()
            made.append("m")
            return "m"

        async def send() -> tuple[str, bool]:
            return await once(services, "f", owner="o", key="k", body={}, make=make)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            first = group.create_task(send())
            while not await services.records.count_records(RecordFilter(kind="once")):  # type: ignore[union-attr]
                await asyncio.sleep(0)
            with pytest.raises(HttpError, match="still being worked on"):
                await send()
            go.set()
        assert (first.result(), made) == (("m", True), ["m"])


def asking(
    services: Services, then: Awaitable[Any] | None = None, first: Awaitable[Any] | None = None
) -> Make:
    """Asks for `agentgate/mail`, which a person has to approve; `first` something else, and `then`."""

    async def make(attempt: Attempt) -> str:
        if first is not None:
            await first
        who = Credential(identity="key:k", scopes=ALL_SCOPES)
        wanted = Ask(face="agentgate", name="mail", arguments={}, overlay=ASKED, beside={}, attempt=attempt)
        made = (await ask(services, who, wanted)).record.id
        if then is not None:
            await then
        return made

    return make


async def questions(gate: Gate) -> int:
    return sum(event.kind == "request.opened" for event in await gate.store.events())


async def test_what_was_asked_before_the_work_failed_is_found_and_not_asked_again(tmp_path: Path) -> None:
    clock = Timekeeper()

    async def fail() -> None:
        raise StoreError("the disk is full")

    async with open_gate(tmp_path, "compat: [agentgate]", clock=clock) as gate:
        services = services_of(gate, clock)

        async def send(make: Make) -> tuple[str, bool]:
            return await once(services, "agentgate", owner="o", key="k", body={}, make=make)

        with pytest.raises(StoreError):
            await send(asking(services, then=fail()))
        made, fresh = await send(asking(services))
        assert (fresh, await questions(gate)) == (False, 1)
        assert (await gate.request(made)).status is Status.PENDING
        assert await send(asking(services)) == (made, False)


async def test_a_refusal_leaves_the_key_free_also_for_another_body(tmp_path: Path) -> None:
    clock = Timekeeper()
    text = "compat: [agentgate]\napprovals: {max_pending: 1}"
    async with open_gate(tmp_path, text, clock=clock) as gate:
        services = services_of(gate, clock)

        async def send(key: str, n: int) -> tuple[str, bool]:
            return await once(services, "agentgate", owner="o", key=key, body={"n": n}, make=asking(services))

        made, _ = await send("first", 1)
        with pytest.raises(HttpError) as refused:
            await send("second", 1)
        assert refused.value.status == 429
        await gate.resolve(made, Resolution(approve=False, identity="local:alice"))
        other, fresh = await send("second", 2)
        assert (fresh, await questions(gate)) == (True, 2)
        calls = [event.call_id for event in await gate.store.events() if event.kind != "request.denied"]
        assert len(set(calls)) == 3, f"each go that was decided is a call of its own: {other}"


async def test_a_process_that_was_slow_and_not_dead_finds_its_key_taken_and_asks_nothing(
    tmp_path: Path,
) -> None:
    clock, go = Timekeeper(), asyncio.Event()
    text = "compat: [agentgate]"
    async with open_gate(tmp_path, text) as slow, open_gate(tmp_path, text, clock=clock) as quick:
        one, two = services_of(slow, Timekeeper()), services_of(quick, clock)

        async def send(services: Services, make: Make) -> tuple[str, bool]:
            return await once(services, "agentgate", owner="o", key="k", body={}, make=make)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            first = group.create_task(refused(send(one, asking(one, first=go.wait()))))
            while not await two.records.count_records(RecordFilter(kind="once")):  # type: ignore[union-attr]
                await asyncio.sleep(0)
            with pytest.raises(HttpError, match="still being worked on"):
                await send(two, asking(two))
            clock.forward(16_000)
            made, fresh = await send(two, asking(two))
            go.set()
        assert (fresh, first.result(), await questions(quick)) == (True, 409, 1)
        assert await send(one, asking(one)) == (made, False)


async def refused(work: Awaitable[Any]) -> int:
    """The status of the HttpError that it ends with."""
    with pytest.raises(HttpError) as refusal:
        await work
    return refusal.value.status


async def test_identities_have_names(tmp_path: Path) -> None:
    clock = Timekeeper()
    async with open_gate(tmp_path, POLICY.replace("compat: [agentgate]", ""), clock=clock) as gate:
        services = services_of(gate, clock)
        assert await name_of(services, "local:alice") == "alice"
        assert await name_of(services, "local:carol") == "carol"
        assert await name_of(services, "agent:claude-code") == "claude-code"
        assert await name_of(services, "key:none") == "key:none"
        assert await name_of(services, "secret") == "secret"
        assert await name_of(services, "") == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://10.1.2.3/",
        "https://192.168.0.1/",
        "https://169.254.169.254/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://0.0.0.0/",
        "https://u:p@example.com/",
        "https://[/",
        "//example.com",
    ],
)
def test_a_url_of_a_stranger_may_not_name_a_private_address(url: str) -> None:
    with pytest.raises(Undeliverable):
        Target.of_stranger(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/x?y=1", "http://127.0.0.1:8/x", "http://localhost/", "http://[::1]/"]
)
def test_a_url_of_a_stranger_may_name_the_world_and_this_machine(url: str) -> None:
    assert Target.of_stranger(url).host
