"""Which addresses are outside, and connecting to exactly the one that was looked at."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from airlock.reach import LOOPBACK, PRIVATE, PUBLIC, Inside, dial, public, reach

pytestmark = pytest.mark.anyio

INSIDE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::10.0.0.1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_special_is_inside(address: str) -> None:
    assert reach(address) == PRIVATE


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
)
def test_this_machine_is_this_machine_however_it_is_written(address: str) -> None:
    assert reach(address) == LOOPBACK


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "64:ff9b::808:808"]
)
def test_the_rest_is_outside(address: str) -> None:
    assert reach(address) == PUBLIC


async def test_a_name_that_leads_inside_is_not_connected_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for name in ("localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0"):
            with pytest.raises((Inside, OSError)):
                await dial(name, port, usable=public)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_the_name_is_looked_up_once_and_what_was_checked_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that says one thing to the check and another to the connection has only one turn."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        answers = ["127.0.0.1", "10.0.0.1"]
        asked: list[str] = []

        def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        connection = await dial("rebinding.example", port, usable=lambda one: one == "127.0.0.1")
        with connection:
            assert connection.getpeername() == ("127.0.0.1", port)
        assert asked == ["rebinding.example"]


async def test_of_several_addresses_only_those_that_may_be_used_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in ("127.0.0.2", "127.0.0.1")
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with await dial("two.example", port, usable=lambda one: True) as connection:
            assert connection.getpeername()[0] == "127.0.0.1", "the first one does not answer"
        with pytest.raises(OSError, match="failed"):
            await dial("two.example", port, usable=lambda one: one == "127.0.0.2")


@pytest.mark.parametrize("name", ["a" * 70 + ".example", "\ud800", "a..b", ""])
async def test_what_can_be_no_name_leads_nowhere(name: str) -> None:
    with pytest.raises((OSError, Inside)):
        await dial(name, 80, usable=public)
