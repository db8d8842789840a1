"""How far outside an address is, and connecting to exactly the address that was looked at.

The ranges are those of IANA's registries of special-purpose addresses, written out: what Python calls global
differs between its versions. An address that carries another one (mapped, 6to4, NAT64) is as far as that.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final, TypeAlias

from airlock.errors import AirlockError

LOOPBACK, PRIVATE, PUBLIC = 0, 1, 2
LOOKUPS: Final = 8
Found: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_INSIDE_V4: Final = tuple(
    IPv4Network(one)
    for one in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "168.63.129.16/32",  # a cloud's own services, at an address that looks public
    )
)
_INSIDE_V6: Final = tuple(IPv6Network(one) for one in ("2001::/23", "2001:db8::/32", "3fff::/20"))


class Inside(AirlockError):
    """A name leads to addresses that may not be used, and to no other."""


def reach(text: str) -> int:
    """How far outside an address is: LOOPBACK, PRIVATE (whatever is special, too) or PUBLIC."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        address = _carried(address) or address
    if address.is_loopback:
        return LOOPBACK
    if isinstance(address, IPv4Address):
        return PRIVATE if any(address in one for one in _INSIDE_V4) else PUBLIC
    inside = address not in _PUBLIC_V6 or any(address in one for one in _INSIDE_V6)
    return PRIVATE if inside else PUBLIC


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to, mapped, by 6to4 or by NAT64."""
    if any(address in one for one in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def public(text: str) -> bool:
    """True for an address of the internet at large."""
    return reach(text) == PUBLIC


def loopback(host: str) -> bool:
    """True for this machine by its name or its address, without asking for it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def dial(host: str, port: int, *, usable: Callable[[str], bool]) -> socket.socket:
    """A socket to the first address of a name that may be used and that answers.

    The name is looked up once, and what was checked is what is connected to. Inside when no address of it
    may be used; OSError when none answers. Bound it in time.
    """
    found = await _looked_up(host, port)
    allowed = [one for one in found if usable(str(one[4][0]))]
    if not allowed:
        raise Inside(f"`{host}` leads to a private address")
    failure: OSError | None = None
    for family, kind, protocol, _, address in allowed:
        try:
            return await _connected(family, kind, protocol, address)
        except OSError as error:
            failure = failure or error
    raise failure or OSError("no address")


async def _looked_up(host: str, port: int) -> list[Found]:
    """All addresses of a name. In threads of its own: one that hangs holds up nothing but other lookups."""

    def look() -> list[Found]:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    try:
        return await asyncio.get_running_loop().run_in_executor(_lookups(), look)
    except UnicodeError:  # what can be no name at all
        raise OSError("no such name") from None


@functools.cache
def _lookups() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(LOOKUPS, "lookup")


async def _connected(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    connection = socket.socket(family, kind, protocol)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection
