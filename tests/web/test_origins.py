"""Host and Origin, as tables."""

from __future__ import annotations

import pytest

from airlock.config import Secret, ServerConfig
from airlock.web.origins import check

HOSTS = [
    ("127.0.0.1:4111", True),
    ("localhost:4111", True),
    ("LOCALHOST", True),
    ("localhost.", True),
    ("[::1]:4111", True),
    ("127.8.8.8:80", True),
    ("box.lan:4111", True),  # listed
    ("BOX.LAN:9", True),
    ("10.0.0.5:4111", True),  # bound
    ("evil.example", False),
    ("evil.example:4111", False),
    ("127.0.0.1.evil.example", False),
    ("localhost.evil.example", False),
    ("localhost@evil.example", False),
    ("evil.example#localhost", False),
    ("localhost, evil.example", False),
    ("localhost:4111:1", False),
    ("localhost:99999", False),
    ("localhost:", False),
    ("0.0.0.0:4111", False),
    ("[::]:4111", False),
    ("2130706433", False),
    ("0x7f.1", False),
    ("ⓛocalhost", False),
    ("", False),
    ("a" * 300, False),
]

SERVER = ServerConfig(host="0.0.0.0", allowed_hosts=("box.lan",), api_secret=Secret("x"))
OPEN = ServerConfig()


@pytest.mark.parametrize(("host", "allowed"), HOSTS)
def test_a_host_is_served_only_under_its_own_names(host: str, allowed: bool) -> None:
    refused = check([host], [], server=SERVER, bound="10.0.0.5")
    assert (refused is None) is allowed
    assert allowed or (refused is not None and refused.status == 421)


@pytest.mark.parametrize("hosts", [[], ["localhost", "localhost"], ["localhost", "evil.example"]])
def test_none_or_two_hosts_are_refused(hosts: list[str]) -> None:
    assert check(hosts, [], server=SERVER) is not None


ORIGINS = [
    ("http://127.0.0.1:4111", True, True),
    ("http://localhost:4111", False, True),  # another name than the Host's: needs a secret
    ("http://localhost:3000", False, True),
    ("http://127.0.0.1:3000", False, True),
    ("https://app.example", True, True),  # listed
    ("null", False, False),
    ("", False, False),
    ("https://evil.example", False, False),
    ("http://localhost.evil.example", False, False),
    ("http://localhost:3000@evil.example", False, False),
    ("file://", False, False),
    ("ftp://127.0.0.1:4111", False, False),
    ("chrome-extension://abc", False, False),
    ("https://app.example.evil.example", False, False),
]


@pytest.mark.parametrize(("origin", "when_open", "with_secret"), ORIGINS)
def test_only_our_own_pages_and_listed_ones_may_speak(
    origin: str, when_open: bool, with_secret: bool
) -> None:
    for server, allowed in (
        (ServerConfig(allowed_origins=("https://app.example",)), when_open),
        (ServerConfig(allowed_origins=("https://app.example",), api_secret=Secret("x")), with_secret),
    ):
        refused = check(["127.0.0.1:4111"], [origin], server=server)
        assert (refused is None) is allowed, server
        assert allowed or (refused is not None and refused.status == 403)


def test_two_origins_are_refused() -> None:
    twice = ["http://127.0.0.1:4111", "http://127.0.0.1:4111"]
    assert check(["127.0.0.1:4111"], twice, server=OPEN) is not None
