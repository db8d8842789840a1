"""Several real processes on one database file: nothing lost, nothing doubled, nothing broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airlock.ids import make_id
from airlock.model import Status
from airlock.ports import RequestFilter
from airlock.store.sqlite import SQLiteStore
from store.values import Clock, draft, opening, question

pytestmark = pytest.mark.anyio

PROCESSES = 4
ROUNDS = 120
SCRIPT = Path(__file__).with_name("busy_process.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "airlock.db"


@contextmanager
def started(path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", SCRIPT, path, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def said(text: str) -> list[dict[str, Any]]:
    """Its whole lines: what `readline` had read ahead of a killed process is lost, and cuts one in two."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


async def check_sound(store: SQLiteStore) -> None:
    report = await store.verify()
    assert report.sound, report
    assert (await store.facts(check=True)).damage == ""
    requests = await store.requests(RequestFilter(limit=100_000))
    assert len({one.code for one in requests}) == len(requests)


async def test_processes_that_write_spend_count_and_checkpoint_at_once_lose_and_double_nothing(
    path: Path,
) -> None:
    store = await SQLiteStore.open(path)
    for number in range(ROUNDS):
        await store.commit(opening(question(code=f"SPEND{number:03}", status=Status.APPROVED)))
    processes = [started(path, "work", str(ROUNDS)) for _ in range(PROCESSES)]
    entered = [process.__enter__() for process in processes]
    try:
        lines = [line for process in entered for line in said(process.communicate(timeout=120)[0])]
        assert [process.returncode for process in entered] == [0] * PROCESSES
    finally:
        for process in processes:
            process.__exit__(None, None, None)
    committed = [number for line in lines for number in line.get("committed", ())]
    stored = Counter(event.id for event in await store.events(after=ROUNDS, limit=1_000_000))
    assert stored == Counter(committed)
    assert set(stored.values()) == {1}
    spent = Counter(line["spent"] for line in lines if "spent" in line)
    assert spent == Counter(f"SPEND{number:03}" for number in range(ROUNDS))
    assert sum("counted" in line for line in lines) == 25
    assert store.log_bytes() < 2_000_000, "what they wrote is twenty times as much"
    await check_sound(store)
    await store.close()
    again = await SQLiteStore.open(path)
    await check_sound(again)
    await again.close()


async def test_a_writer_that_is_killed_leaves_a_sound_chain_with_all_that_it_was_told_was_committed(
    path: Path,
) -> None:
    watching = await SQLiteStore.open(path)
    committed: list[str] = []
    for kill_after in (3, 20, 60):
        with started(path, "forever") as process:
            assert process.stdout is not None
            text = "".join(process.stdout.readline() for _ in range(kill_after))
            process.kill()
            rest, _ = process.communicate(timeout=60)
        committed += [one for line in said(text + rest) for one in line["committed"]]
        # Whoever still has it open goes on, and a newcomer opens it.
        assert watching.record_now(draft()._replace(id=make_id()), 0)
        newcomer = await SQLiteStore.open(path)
        await check_sound(newcomer)
        stored = Counter(event.id for event in await newcomer.events(limit=1_000_000))
        assert set(committed) <= stored.keys()
        assert set(stored.values()) == {1}
        await newcomer.close()
    await watching.close()


async def test_everyone_killed_at_once_is_recovered_by_the_next(path: Path) -> None:
    with started(path, "forever") as one, started(path, "forever") as two:
        texts = []
        for process in (one, two):
            assert process.stdout is not None
            texts.append("".join(process.stdout.readline() for _ in range(10)))
        one.kill()
        two.kill()
        texts += [process.communicate(timeout=60)[0] for process in (one, two)]
    store = await SQLiteStore.open(path)
    await check_sound(store)
    stored = {event.id for event in await store.events(limit=1_000_000)}
    assert {number for line in said("\n".join(texts)) for number in line["committed"]} <= stored
    await store.close()


async def test_a_dead_processes_waiters_stop_counting(path: Path) -> None:
    clock = Clock()
    clock.now = 4_000_000_000_000  # long after the beat of the process that is killed
    with started(path, "forever") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    store = await SQLiteStore.open(path, clock=clock)
    for request in await store.requests(RequestFilter()):
        assert await store.waiters(request.id) == []
        assert request.attended_at is not None
        assert request.attended_at < clock.now
    await store.close()


async def test_a_decision_in_another_process_changes_the_stamp_and_is_told(path: Path) -> None:
    store = await SQLiteStore.open(path)
    one = question(code="WAKE22")
    await store.commit(opening(one))
    with started(path, "answer") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"ready": True}
        seq, _ = await store.changed_since(0)
        before = store.stamp()
        assert store.stamp() == before
        process.stdin.write("wake22\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"approved": "WAKE22"}
        assert store.stamp() != before
        newest, changed = await store.changed_since(seq)
        assert newest == seq + 1
        assert [(row.id, row.status, row.decided_by) for row in changed] == [
            (one.id, Status.APPROVED, "local:elsewhere")
        ]
        process.communicate(timeout=60)
        assert process.returncode == 0
    await store.close()
