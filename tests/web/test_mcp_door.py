"""Who gets to MCP, and as whom: the door in front of the app that speaks the protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airlock.apikeys import Scope
from airlock.ids import make_id, now_ms
from airlock.keyring import Keyring, Wish
from tests.support.gateways import SECRET, Gateway, open_gateway

TOKEN = "the-token-of-guarded"
TWO = f"""
server: {{api_secret: {SECRET}}}
agents:
  guarded: {{token: {TOKEN}}}
  other: {{}}
"""
ONE = f"server: {{api_secret: {SECRET}}}\nagents: {{only: {{}}}}\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """A small app in MCP's place: says who speaks."""
    principal = scope["airlock.principal"]
    body = json.dumps(
        {"agent": principal.name, "identity": principal.identity, "path": scope["path"]}
    ).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("door"), TWO, mcp_app=echo) as running:
        yield running


def key(gateway: Gateway, *scopes: Scope, agent: str = "") -> str:
    ring = Keyring(gateway.gate.store, clock=now_ms, make_id=make_id)  # type: ignore[arg-type]
    wish = Wish("k", frozenset(scopes), agent)
    return str(gateway.run(ring.create(wish, by="secret", within=frozenset(Scope))).text)


@pytest.mark.parametrize("path", ["mcp", "sse", "messages"])
def test_a_token_opens_its_own_agents_routes_and_no_others(gateway: Gateway, path: str) -> None:
    answer = gateway.post(f"/agents/guarded/{path}", token=TOKEN)
    assert answer.status == 200
    assert answer.json() == {
        "agent": "guarded",
        "identity": "agent:guarded",
        "path": f"/agents/guarded/{path}",
    }
    assert gateway.post(f"/agents/other/{path}", token=TOKEN).status == 403
    for bearer in (None, "wrong"):
        refused = gateway.post(f"/agents/guarded/{path}", token=bearer)
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")


def test_an_agent_with_a_token_accepts_nothing_else(gateway: Gateway) -> None:
    for bearer in (SECRET, key(gateway, Scope.MCP), key(gateway, Scope.ADMIN)):
        assert gateway.post("/agents/guarded/mcp", token=bearer).status == 403
        assert gateway.post("/agents/other/mcp", token=bearer).status == 200


def test_a_bound_key_fixes_the_agent(gateway: Gateway) -> None:
    bound = key(gateway, Scope.MCP, agent="other")
    assert gateway.post("/mcp", token=bound).json()["agent"] == "other"
    assert gateway.post("/agents/other/mcp", token=bound).status == 200
    assert gateway.post("/agents/guarded/mcp", token=bound).status == 403


def test_a_key_without_the_scope_is_403(gateway: Gateway) -> None:
    assert gateway.post("/agents/other/mcp", token=key(gateway, Scope.HOOK)).status == 403


def test_whoever_asks_by_an_unbound_key_is_known_by_it(gateway: Gateway) -> None:
    said = gateway.post("/agents/other/mcp", token=key(gateway, Scope.MCP)).json()
    assert said["agent"] == "other"
    assert said["identity"].startswith("key:k")
    assert gateway.post("/agents/other/mcp").json()["identity"] == "agent:other"


def test_the_shared_path_needs_to_know_whose_it_is(gateway: Gateway) -> None:
    assert gateway.post("/mcp", token=TOKEN).json()["agent"] == "guarded"
    assert gateway.post("/mcp").status == 400
    assert gateway.post("/agents/nobody/mcp").status == 404
    assert gateway.post("/agents//mcp").status == 404
    assert gateway.post("/agents/other/mcp/extra").status == 404
    assert gateway.post("/agents/other%2f..%2fguarded/mcp").status == 404


def test_with_one_agent_the_shared_path_is_its(tmp_path_factory: pytest.TempPathFactory) -> None:
    with open_gateway(tmp_path_factory.mktemp("one"), ONE, mcp_app=echo) as gateway:
        assert gateway.post("/mcp").json()["agent"] == "only"


def test_host_and_origin_are_checked_before_mcp(gateway: Gateway) -> None:
    for path in ("/mcp", "/agents/guarded/mcp", "/agents/guarded/sse"):
        assert gateway.post(path, token=TOKEN, headers={"Host": "evil.example"}).status == 421
        assert gateway.post(path, token=TOKEN, headers={"Origin": "https://evil.example"}).status == 403
