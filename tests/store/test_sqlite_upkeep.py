"""Tampering with the file, the signed head, pruning, copies, checks, and API keys."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from airlock.apikeys import ApiKey, Scope
from airlock.audit import link
from airlock.errors import Conflict, StoreError
from airlock.ports import Draft
from airlock.store import caretaker, pruning
from airlock.store.head import head_path
from airlock.store.schema import SCHEMA
from airlock.store.sqlite import SQLiteStore
from store.values import Clock, draft, opening, question

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SQLiteStore]:
    store = await SQLiteStore.open(tmp_path / "airlock.db", clock=clock)
    yield store
    await store.close()


async def with_events(store: SQLiteStore, count: int) -> None:
    await store.record([draft(body={"n": number}) for number in range(count)])
    await store.sign()


def edit(store: SQLiteStore, *statements: str) -> None:
    """Somebody with the database's password to the disk and a grudge."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        for statement in statements:
            other.execute(statement)


# Tampering.


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("UPDATE event SET body = '{\"n\":99}' WHERE seq = 4", 4),
        ("UPDATE event SET kind = 'call.denied' WHERE seq = 4", 4),
        ("UPDATE event SET agent = 'other' WHERE seq = 10", 10),
        ("DELETE FROM event WHERE seq = 4", 5),
        ("DELETE FROM event WHERE seq < 4", 4),
        ("DELETE FROM event WHERE seq > 6", 7),
        ("DELETE FROM event", 1),
        ("UPDATE event SET seq = seq + 1 WHERE seq = 10", 11),
    ],
)
async def test_what_is_done_to_the_rows_is_found_where_it_was_done(
    store: SQLiteStore, statement: str, broken_at: int
) -> None:
    await with_events(store, 10)
    edit(store, statement)
    report = await store.verify()
    assert report.broken_at == broken_at
    assert not report.sound


async def test_a_chain_written_anew_with_right_hashes_is_found_by_the_signed_head(store: SQLiteStore) -> None:
    await with_events(store, 10)
    forge(store, 12)
    report = await store.verify()
    assert (report.broken_at, "written anew" in report.problem) == (10, True)


def forge(store: SQLiteStore, count: int) -> None:
    prev = "00" * 32
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("DELETE FROM event")
        for seq in range(1, count + 1):
            event = link(prev, seq, Draft(id=f"x{seq}", kind="call.denied", at=seq, body={}))
            other.execute(
                "INSERT INTO event VALUES (?, ?, ?, ?, '', '', '', '', ?, ?, ?)",
                (
                    seq,
                    event.id,
                    event.kind,
                    seq,
                    bytes.fromhex(event.prev),
                    bytes.fromhex(event.hash),
                    event.body,
                ),
            )
            prev = event.hash


async def test_a_head_kept_elsewhere_finds_what_a_thief_of_the_key_signed_anew(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await with_events(store, 10)
    kept = tmp_path / "elsewhere"
    shutil.copy(head_path(store.path), kept)
    forge(store, 12)
    head_path(store.path).unlink()
    await store.sign()
    assert (await store.verify()).sound
    report = await store.verify(kept)
    assert (report.broken_at, report.sound) == (10, False)


async def test_a_cut_tail_stays_found_after_more_was_recorded(store: SQLiteStore) -> None:
    await with_events(store, 10)
    edit(store, "DELETE FROM event WHERE seq > 6")
    await with_events(store, 1)
    assert (await store.verify()).broken_at == 8
    await with_events(store, 8)
    assert (await store.verify()).broken_at == 10


async def test_a_head_that_was_changed_is_no_head(store: SQLiteStore) -> None:
    await with_events(store, 10)
    fields = json.loads(head_path(store.path).read_text())
    head_path(store.path).write_text(json.dumps({**fields, "seq": 3}))
    report = await store.verify()
    assert (report.sound, report.broken_at) == (False, None)
    assert "was changed, or signed with another key" in report.problem
    await with_events(store, 1)
    assert json.loads(head_path(store.path).read_text())["seq"] == 3
    for rubbish in ("", "[]", "{}", '{"mac": 1}', "\x00", '{"mac": "é"}'):
        head_path(store.path).write_text(rubbish)
        assert "was changed" in (await store.verify()).problem


async def test_a_head_that_was_named_and_is_not_there_is_a_finding(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await with_events(store, 2)
    report = await store.verify(tmp_path / "nowhere")
    assert "there is no signed head" in report.problem


async def test_a_report_says_whether_there_was_a_head_to_check_against(store: SQLiteStore) -> None:
    await store.record([draft()])
    assert (await store.verify()).head_seq is None
    await store.sign()
    assert (await store.verify()).head_seq == 1


async def test_the_head_is_signed_by_itself_soon_after_a_commit_and_at_the_end(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caretaker, "SIGN_SECONDS", 0.01)
    assert store.record_now(draft(), 0)
    async with asyncio.timeout(60):
        while not head_path(store.path).exists():
            await asyncio.sleep(0.01)
    monkeypatch.setattr(caretaker, "SIGN_SECONDS", 1000)
    await store.commit(opening(question()))
    await store.close()
    assert json.loads(head_path(store.path).read_text())["seq"] == 2


async def test_a_head_never_goes_back_when_two_processes_sign(store: SQLiteStore) -> None:
    other = await SQLiteStore.open(store.path)
    await with_events(store, 5)
    await with_events(other, 5)
    await asyncio.gather(*(one.sign() for one in (store, other) * 5))
    assert json.loads(head_path(store.path).read_text())["seq"] == 10
    assert (await other.verify()).sound
    await other.close()


async def test_pruning_in_several_steps_keeps_the_chain_and_the_head(
    store: SQLiteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "PRUNE_AT_ONCE", 4)
    await with_events(store, 10)
    clock.now += 1000
    await store.record([draft(at=clock.now)])
    assert await store.prune(clock.now) == 10
    report = await store.verify()
    assert (report.sound, report.first_seq, report.events) == (True, 11, 4)
    await store.sign()
    assert (await store.verify()).sound
    edit(store, "DELETE FROM event WHERE seq = 11")
    assert (await store.verify()).broken_at == 12


async def test_large_events_are_pruned_a_few_at_a_time(
    store: SQLiteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "PRUNE_BYTES", 30_000)
    for letters in (10, 40_000, 20_000, 20_000, 10):
        await store.record([draft(body={"args": {"text": "x" * letters}})])
    clock.now += 1000
    assert await store.prune(clock.now) == 5
    pruned = [json.loads(event.body)["count"] for event in await store.events()]
    assert pruned == [2, 2, 1]
    report = await store.verify()
    assert (report.sound, report.first_seq, report.events) == (True, 6, 3)


async def test_what_was_pruned_is_overwritten_on_the_disk(store: SQLiteStore, clock: Clock) -> None:
    await store.record([draft(body={"args": {"text": "the-old-plan " * 20}})])
    clock.now += 1000
    await store.prune(clock.now)
    await store.close()
    assert b"the-old-plan" not in store.path.read_bytes()


# Copies, checks.


async def test_a_copy_is_whole_closed_to_others_and_never_written_over_anything(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await with_events(store, 20)
    one = question()
    await store.commit(opening(one))
    target = tmp_path / "copy.db"
    await store.backup(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert not target.with_name("copy.db.part").exists()
    await store.record([draft()])
    copy = await SQLiteStore.open(target)
    assert (await copy.verify()).events == 21
    assert (await copy.find(one.code)) is not None
    await copy.close()
    with pytest.raises(StoreError, match="exists already"):
        await store.backup(target)
    with pytest.raises(StoreError, match="cannot write"):
        await store.backup(tmp_path / "no" / "folder.db")


async def test_copying_does_not_keep_others_from_recording(store: SQLiteStore, tmp_path: Path) -> None:
    await with_events(store, 3000)
    copying = asyncio.create_task(store.backup(tmp_path / "copy.db"))
    await asyncio.gather(copying, *(store.record([draft()]) for _ in range(50)))
    copy = await SQLiteStore.open(tmp_path / "copy.db")
    assert (await copy.verify()).sound
    await copy.close()


async def test_facts_say_what_doctor_wants_to_know(store: SQLiteStore) -> None:
    await with_events(store, 3)
    await store.commit(opening(question()))
    facts = await store.facts(check=True)
    assert (facts.events, facts.first_seq, facts.last_seq, facts.requests, facts.pending) == (4, 1, 4, 1, 1)
    assert (facts.damage, facts.schema, facts.sqlite_version) == ("", SCHEMA, sqlite3.sqlite_version)
    assert facts.wal_reset_bug == (sqlite3.sqlite_version_info < (3, 51, 3))
    assert facts.bytes > 0
    assert facts.wal_bytes > 0


async def test_facts_name_damage(store: SQLiteStore) -> None:
    await store.commit(opening(question()))
    edit(store, "INSERT INTO vote VALUES ('no-such-request', 'x', 1, '', 1)")
    assert "vote" in (await store.facts(check=True)).damage


async def test_with_durability_power_nothing_is_committed_in_place(tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "power.db", durability="power")
    assert store.record_now(draft(), 0) is False
    await store.record([draft()], 0)
    assert len(await store.events()) == 1
    await store.close()


# API keys.


def key(name: str, **fields: object) -> ApiKey:
    given: dict[str, object] = {"scopes": frozenset({Scope.READ}), "created_at": 5, "created_by": "local:me"}
    return ApiKey(id=f"id-{name}", name=name, digest=f"digest-{name}", **{**given, **fields})  # type: ignore[arg-type]


async def test_keys_are_kept_found_by_digest_and_revoked_once_each_with_its_event(store: SQLiteStore) -> None:
    one = key("one", scopes=frozenset({Scope.HOOK, Scope.AUDIT_READ}), agent="a", rate=9)
    two = key("two")
    await store.add_key(one, draft("key.created"))
    await store.add_key(two, draft("key.created"))
    with pytest.raises(Conflict):
        await store.add_key(one, draft("key.created"))
    assert await store.keys() == [one, two]
    assert await store.key_by_digest("digest-one") == one
    assert await store.key_by_digest("digest-three") is None
    revoked = await store.revoke_key("id-one", 77, draft("key.revoked"))
    assert revoked is not None
    assert revoked.revoked_at == 77
    assert await store.revoke_key("id-one", 78, draft("key.revoked")) is None
    assert await store.revoke_key("id-none", 78, draft("key.revoked")) is None
    assert await store.key_by_digest("digest-one") == revoked
    assert [event.kind for event in await store.events()] == ["key.created", "key.created", "key.revoked"]
