"""Several processes on one SQLite file: two call, three decide, nothing is lost or doubled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airlock.model import Status
from airlock.ports import RequestFilter
from support.gates import open_gate

SCRIPT = Path(__file__).parents[1] / "support" / "gate_process.py"
CALLS = 12


def start(role: str, folder: Path, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), role, str(folder), str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])},
    )


def printed(process: subprocess.Popen[str]) -> int:
    out, err = process.communicate(timeout=110)
    assert process.returncode == 0, err
    return int(out)


@pytest.mark.anyio
async def test_two_callers_and_three_deciders_lose_and_double_nothing(tmp_path: Path) -> None:
    async with open_gate(tmp_path):
        pass  # the database exists before they race
    callers = [start("caller", tmp_path, CALLS) for _ in range(2)]
    deciders = [start("decider", tmp_path, 2 * CALLS) for _ in range(3)]
    proceeded = sum(printed(process) for process in callers)
    approvals = sum(printed(process) for process in deciders)
    assert proceeded == 2 * CALLS
    async with open_gate(tmp_path) as gate:
        events = await gate.store.events(limit=100_000)
        used = [event.request_id for event in events if event.kind == "request.used"]
        assert len(used) == len(set(used)) == 2 * CALLS
        assert approvals == 2 * CALLS
        rows = await gate.store.requests(RequestFilter(limit=1000))
        assert {row.status for row in rows} == {Status.USED}
        assert len({row.code for row in rows}) == len(rows)
        assert (await gate.store.verify()).sound
