"""Broken requests are told of now and then, by their address, and without a byte of theirs."""

from __future__ import annotations

import pytest

from airlock.listener import refused
from airlock.listener.refused import Refused
from support.listeners import connected

pytestmark = pytest.mark.anyio


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def look(one: Refused) -> None:
    """Have the time pass after which something may be said again."""
    assert one._timer is not None
    one._timer.cancel()
    one._look()


async def test_the_first_is_told_at_once_and_the_others_together(caplog: pytest.LogCaptureFixture) -> None:
    one = Refused()
    for _ in range(1_001):
        one.note("10.0.0.1")
    one.note("10.0.0.2")
    assert said(caplog) == ["a request from 10.0.0.1 was broken or beyond the limits, and was refused"]
    look(one)
    rest = "were broken or beyond the limits, and were refused: 1,000 from 10.0.0.1, 1 from 10.0.0.2"
    assert said(caplog)[1:] == [f"1,001 more {rest}"]
    one.note("10.0.0.3")
    assert len(said(caplog)) == 2
    one.close()
    assert said(caplog)[2].endswith("refused: 1 from 10.0.0.3")


async def test_after_a_while_of_quiet_the_next_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    one = Refused()
    one.note("10.0.0.1")
    look(one)
    one.note("10.0.0.2")
    assert [line.split()[3] for line in said(caplog)] == ["10.0.0.1", "10.0.0.2"]
    one.close()


async def test_many_addresses_make_no_long_line_and_fill_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    one = Refused()
    for number in range(10_001):
        one.note(f"10.{number >> 8}.{number & 255}.1")
    assert len(one._counts) == refused.MOST_ADDRESSES
    one.close()
    assert said(caplog)[1].endswith("1 from 10.0.1.1, 1 from 10.0.2.1, 1 from 10.0.3.1, 9,997 from elsewhere")


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\nWARNING: all is well\r\n\r\n",
        b"GET /\x1b[2J HTTP/9.9\r\n\r\n",
        b"MARK /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"CONNECT mark:1 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nMark: x\r\n: mark\r\n\r\n",
    ],
)
async def test_a_broken_request_writes_nothing_of_its_own_into_the_log(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError("it got through")

    connection, line = connected(app)
    connection.client = ("10.0.0.1", 1)
    connection.data_received(sent)
    assert line.out.startswith(b"HTTP/1.1 400")
    assert said(caplog) == ["a request from 10.0.0.1 was broken or beyond the limits, and was refused"]
    connection._refused.close()
    connection.connection_lost(None)
