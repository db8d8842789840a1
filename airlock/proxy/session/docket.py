"""Calls that begin in one turn of the loop, whoever's they are: judged together, committed as one.

Over HTTP each request is a connection's own; under load many arrive in one turn, and one transaction for
all of them costs little more than one for each alone would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from airlock.model import Ended, Outcome, Proceed, Refuse
from airlock.proxy.pipes import together

if TYPE_CHECKING:
    from airlock.gate import Gate
    from airlock.proxy.session.calls import Calls
    from airlock.proxy.session.errand import Errand

RECORD_SECONDS: Final = 0.005
"""How long an outcome may wait for others, so that one transaction holds them all."""


class Docket:
    """What is to be decided next, and what is to be written down soon, for all sessions that share it."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._entered: list[tuple[Calls, Errand]] = []
        self._ended: list[Ended] = []
        self._enders: list[Calls] = []
        """Whose they are that have ended, one for one."""

    def enter(self, calls: Calls, errand: Errand) -> None:
        """Have a call decided at the end of this turn."""
        if not self._entered:
            asyncio.get_running_loop().call_soon(self._turn)
        self._entered.append((calls, errand))

    def _turn(self) -> None:
        entered, self._entered = self._entered, []
        self.judge(entered)

    def judge(self, entered: Sequence[tuple[Calls, Errand]]) -> None:
        """Decide these calls in their order, and let each go its way."""
        verdicts = self._gate.submit_all_now([errand.call for _, errand in entered])
        if len(entered) > 1:
            self._release(zip(entered, verdicts, strict=True))
        else:  # what is sent for one call leaves at once
            for (calls, errand), verdict in zip(entered, verdicts, strict=True):
                calls.judged(errand, verdict)

    def _release(self, judged: Iterator[tuple[tuple[Calls, Errand], Proceed | Refuse | None]]) -> None:
        """Let each go its way; a defect that one meets is no other's."""
        try:
            with together():
                for (calls, errand), verdict in judged:
                    calls.judged(errand, verdict)
        except BaseException:
            asyncio.get_running_loop().call_soon(self._release, judged)  # those behind it
            raise

    def ended(self, calls: Calls, proceed: Proceed, outcome: Outcome, error: str) -> None:
        """Record how a call came out: a moment later, together with others that end then."""
        if not self._ended:
            asyncio.get_running_loop().call_later(RECORD_SECONDS, self.record)
        self._ended.append(self._gate.ended(proceed, outcome, error))
        self._enders.append(calls)

    def record(self) -> None:
        """Record what has ended so far."""
        ended, self._ended = self._ended, []
        enders, self._enders = self._enders, []
        if ended and not self._gate.record_ends_now(ended):
            for calls, one in zip(enders, ended, strict=True):
                calls.record_later(one)
