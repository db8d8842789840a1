"""The host of a URL, when every reader of URLs would find the same one."""

from __future__ import annotations

import ipaddress
import re

_PLAIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?(?:[/?#][^\\\s]*)?",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE)
_AUTHORITY = re.compile(r"^[\x00-\x20]*[A-Za-z][A-Za-z0-9+.-]*:[/\\]*([^/\\?#]*)")


def host_of(url: str) -> tuple[str, bool]:
    """The host in lower case, and whether it is sure.

    Not sure are user names, backslashes, blanks, escapes, letters outside ASCII and odd number forms: there
    one reader finds another host than the next (`http://good@evil/`, `http://2130706433/`).
    """
    found = _PLAIN.fullmatch(url)
    if found is None:
        authority = _AUTHORITY.match(url)
        guess = authority[1].rpartition("@")[2].partition(":")[0].lower() if authority else ""
        return guess, False
    host = found["host"].lower().removesuffix(".")
    if host.startswith("["):
        return _address(host[1:-1])
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _address(host)
    return host, bool(host) and ".." not in host and not host.startswith(".")


def _address(text: str) -> tuple[str, bool]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text, False
    return str(address), not (address.version == 6 and address.ipv4_mapped)
