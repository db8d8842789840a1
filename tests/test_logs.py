"""What the log holds back, and that it says so."""

from __future__ import annotations

import logging

import pytest

from airlock.logs import LONGEST, Lines, Seldom


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_of_each_place_a_few_lines_pass_in_a_while_and_the_next_one_counts_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, log = Clock(), logging.getLogger("test.seldom")
    log.addFilter(Seldom(most=2, seconds=60, clock=clock))

    def many(number: int) -> list[str]:
        caplog.clear()
        for _ in range(number):
            log.warning("a flood of %s", "100%")
        return [record.getMessage() for record in caplog.records]

    assert many(1_500) == ["a flood of 100%"] * 2
    log.warning("another place")
    assert caplog.records[-1].getMessage() == "another place"
    clock.now = 59.9
    assert many(1) == []
    clock.now = 60.0
    assert many(10) == ["a flood of 100% (1,499 more before)", "a flood of 100%"]
    clock.now = 200.0
    assert many(1) == ["a flood of 100% (8 more before)"]
    clock.now = 300.0
    assert many(1) == ["a flood of 100%"]


@pytest.mark.parametrize("letter", ["x", "\u202e", "\n"])
def test_a_message_and_a_traceback_have_an_end_however_long_their_text(letter: str) -> None:
    text = letter * 3_000_000
    raised = (ValueError, ValueError(text), None)
    record = logging.LogRecord("a", logging.ERROR, "here", 1, "failed: %s", (text,), raised)
    shown = Lines("%(levelname)s: %(message)s").format(record)
    assert len(shown) < 20 * LONGEST
    assert shown.count(" characters more)") == 2
