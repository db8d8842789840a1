"""`compat: {firewall: …}`: its options, and patterns that would name no action of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlock.config import HttpProxyConfig
from airlock.errors import ConfigError
from airlock.loader.file import loads

FILE = Path("c.yaml")


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, FILE, {})
    return [str(problem) for problem in caught.value.problems]


def test_the_gateway_makes_requests_only_where_the_config_says_so() -> None:
    assert loads("compat: [firewall]", FILE, {}).compat["firewall"].http_proxy is None
    assert loads("compat: {firewall: {}}", FILE, {}).compat["firewall"].http_proxy is None
    assert loads("compat: {firewall: {http_proxy: {}}}", FILE, {}).compat["firewall"].http_proxy == (
        HttpProxyConfig()
    )


def test_its_bounds_are_read() -> None:
    text = """
compat:
  firewall:
    http_proxy:
      allow_hosts: ["intranet.example", "10.0.0.7:8080", "[::1]:9000"]
      timeout: 5s
      max_response_bytes: 10
"""
    assert loads(text, FILE, {}).compat["firewall"].http_proxy == HttpProxyConfig(
        allow_hosts=frozenset({"intranet.example", "10.0.0.7:8080", "[::1]:9000"}),
        timeout_ms=5_000,
        max_response_bytes=10,
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("allow_hosts: [http://a]", "`http://a` is not a host, or a host and a port"),
        ('allow_hosts: ["*.example"]', "`*.example` is not a host"),
        ("allow_hosts: [A.example]", "in small letters"),
        ('allow_hosts: ["a:0"]', "`a:0` is not a host"),
        ('allow_hosts: ["[0:0::1]:80"]', "is not a host"),
        ('allow_hosts: ["127.1"]', "is not a host"),
        ('allow_hosts: ["example.com."]', "is not a host"),
        ("timeout: 6m", "must be at most 5m"),
        ("max_response_bytes: 2000000", "must be between 1 and 1048576"),
        ("redirects: true", "unknown key `redirects`"),
    ],
)
def test_what_cannot_be_is_said(options: str, said: str) -> None:
    (error,) = errors_of(f"compat: {{firewall: {{http_proxy: {{{options}}}}}}}")
    assert said in error


def test_it_is_an_option_of_this_api_alone() -> None:
    (error,) = errors_of("compat: {agentgate: {http_proxy: {}}}")
    assert "is an option of `firewall`" in error


@pytest.mark.parametrize(
    "policy",
    [
        'agents: {a: {deny: ["firewall/http_proxy/DELETE"]}}',
        'agents: {a: {allow: ["firewall/http_proxy/Get"]}}',
        'agents: {a: {deny: ["firewall/**", "!firewall/db/READ"]}}',
        'agents: {a: {ask: ["firewall/**Drop"]}}',
        'agents: {a: {deny: ["*/*/DROP"]}}',
        'profiles: {p: {deny: ["**/DROP"]}}',
        "rules: [{id: r, tool: firewall/db/DROP, effect: deny}]",
        "rules: [{id: r, tool: fire*/db/DROP, effect: ask}]",
    ],
)
def test_an_operation_in_capitals_is_an_error_since_it_would_match_nothing(policy: str) -> None:
    (error,) = errors_of(f"compat: [firewall]\n{policy}")
    assert "write operations in small letters" in error


@pytest.mark.parametrize(
    "policy",
    [
        'agents: {a: {deny: ["firewall/GitHub/*", "firewall/a/b%2Fc", "demo/DROP", "*/DROP"]}}',
        'agents: {a: {allow: ["**/Get"]}}',
        'agents: {a: {deny: ["firewall/*/drop"]}}',
    ],
)
def test_capitals_elsewhere_are_nobodys_business(policy: str) -> None:
    loads(f"compat: [firewall]\n{policy}", FILE, {})
    loads('agents: {a: {deny: ["x/y/DROP"]}}', FILE, {})
