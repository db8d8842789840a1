"""Whichever collaborator raises, at whichever step, no call proceeds without its committed event."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airlock.errors import StoreError
from airlock.gate import Gate
from airlock.model import Proceed, Refuse, Resolution, Wait
from support.gates import call, open_gate

pytestmark = pytest.mark.anyio

YES = Resolution(approve=True, identity="local:alice")


class Faulty:
    """The real store, except that its n-th call raises: every step of the pipeline fails in turn."""

    def __init__(self, store: Any, fails_at: int, error: Callable[[], Exception]) -> None:
        self._store, self._left, self._error = store, fails_at, error
        self.fired = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if not callable(real) or name in {"close", "verify", "events"}:
            return real

        def counted(*args: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self.fired = True
                raise self._error()
            return real(*args, **named)

        return counted


def break_store(gate: Gate, fails_at: int, error: Callable[[], Exception]) -> Faulty:
    faulty = Faulty(gate.store, fails_at, error)
    for holder in (gate, gate._questions, gate._endings, gate._lobby, gate._parking):
        holder._store = faulty  # type: ignore[assignment]
    return faulty


async def proceeded(gate: Gate) -> int:
    return sum(event.kind in {"call.allowed", "request.used"} for event in await gate.store.events())


@pytest.mark.parametrize("error", [lambda: StoreError("disk full"), lambda: RuntimeError("a defect")])
@pytest.mark.parametrize("tool", ["demo/echo", "demo/search", "demo/write_note"])
@pytest.mark.parametrize("fails_at", range(1, 9))
async def test_a_failing_step_never_lets_a_call_proceed_unrecorded(
    tmp_path: Path, tool: str, fails_at: int, error: Callable[[], Exception]
) -> None:
    async with open_gate(tmp_path) as gate:
        broken = break_store(gate, fails_at, error)
        verdict = await gate.submit(call(tool, a=1), attend=False)
        count = await proceeded(gate)
        assert isinstance(verdict, (Proceed, Wait, Refuse))
        assert count == isinstance(verdict, Proceed)
        if broken.fired and isinstance(verdict, Refuse):
            assert "a defect" not in verdict.reason
        assert (await gate.store.verify()).sound


@pytest.mark.parametrize("fails_at", range(1, 9))
async def test_a_failing_step_never_spends_an_approval_twice_or_unrecorded(
    tmp_path: Path, fails_at: int
) -> None:
    async with open_gate(tmp_path) as gate:
        asked = await gate.submit(call("demo/write_note", a=1), attend=False)
        assert isinstance(asked, Wait)
        await gate.resolve(asked.request.id, YES)
        break_store(gate, fails_at, lambda: StoreError("disk full"))
        verdicts = [await gate.submit(call("demo/write_note", a=1), attend=False) for _ in range(3)]
        passed = sum(isinstance(one, Proceed) for one in verdicts)
        assert passed <= 1
        assert await proceeded(gate) == passed


@pytest.mark.parametrize("fails_at", range(1, 5))
async def test_the_fast_path_gives_up_rather_than_proceed(tmp_path: Path, fails_at: int) -> None:
    async with open_gate(tmp_path) as gate:
        break_store(gate, fails_at, lambda: StoreError("disk full"))
        with contextlib.suppress(StoreError):
            verdict = gate.submit_now(call("demo/echo"))
            assert await proceeded(gate) == isinstance(verdict, Proceed)
