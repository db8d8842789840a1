"""Who may do what over HTTP: every route, every kind of credential, and the ways around that were tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlock.apikeys import Scope
from airlock.ids import make_id, now_ms
from airlock.keyring import Keyring, Wish
from airlock.web.app import TABLE
from airlock.web.routes import Route, always
from tests.support.gates import call
from tests.support.gateways import SECRET, Gateway, open_gateway

TOKEN = "the-token-of-claude-code"
AGENTS = f"""
providers: {{demo: {{type: builtin}}}}
agents:
  claude-code: {{token: {TOKEN}, ask: ["demo/*"]}}
  other: {{ask: ["demo/*"]}}
"""
POLICY = (
    f"server: {{api_secret: {SECRET}, allowed_hosts: [box.lan]}}\napprovals: {{max_pending: 10000}}\n{AGENTS}"
)

SCOPED = [route for route in TABLE if route.scopes]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("access"), POLICY) as running:
        yield running


@pytest.fixture(scope="module")
def keys(gateway: Gateway) -> dict[str, str]:
    """A key for each scope, and one bound to an agent with every scope that one can be written with."""
    ring = Keyring(gateway.gate.store, clock=now_ms, make_id=make_id)  # type: ignore[arg-type]
    everything = frozenset(Scope)
    made = {
        scope: gateway.run(ring.create(Wish(scope, frozenset({scope})), by="secret", within=everything)).text
        for scope in Scope
    }
    bound = Wish("bound", everything, "other")  # no face makes one: the row could be old, or edited
    made["bound"] = gateway.run(ring.create(bound, by="secret", within=everything)).text
    return made


def question(gateway: Gateway, agent: str = "claude-code") -> str:
    verdict = gateway.run(gateway.gate.submit(call("demo/x", agent, n=make_id()), attend=False))
    return str(verdict.request.id)  # type: ignore[union-attr]


def send(gateway: Gateway, route: Route, **more: Any) -> Any:
    path = route.path.replace("{id}", "knosuch")
    if "{ref}" in path:
        path = path.replace("{ref}", question(gateway))
    body = (
        {"name": "n", "scopes": ["keys:manage"]} if route.path == "/keys" and route.method == "POST" else None
    )
    if route.path == "/events":
        path += "?after=x"  # refused after the checks, so the stream is not opened
    return gateway.ask(route.method, path, body, **more)


def ids(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_every_route_has_a_scope_or_stands_on_the_short_public_list() -> None:
    public = {(route.method, route.path) for route in TABLE if not route.scopes}
    assert public == {("GET", "/ready")}
    without = {route.path for route in TABLE if route.public is always}
    assert without == {"/ready"}


def test_no_two_routes_claim_the_same_method_and_path() -> None:
    claims = [(route.method, route.path) for route in TABLE]
    assert len(claims) == len(set(claims))


def test_what_decides_or_manages_is_for_people() -> None:
    strong = {Scope.APPROVALS_DECIDE, Scope.KEYS_MANAGE, Scope.POLICY_WRITE, Scope.ADMIN}
    assert all(route.people for route in TABLE if route.scopes & strong)


REST = [route for route in SCOPED if route.raw is None]


@pytest.mark.parametrize("route", REST, ids=ids)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": SECRET},
        {"Authorization": f"Bearer {SECRET}x"},
        {"Authorization": f"Bearer {SECRET[:-1]}"},
        {"Authorization": f"Bearer {SECRET.upper()}"},
        {"Authorization": "Bearer alk_" + "a" * 43},
        {"Authorization": "Bearer " + "x" * 5000},
        {"Authorization": f"Bearer {SECRET}, Bearer {SECRET}"},
        {"X-Api-Key": SECRET},
        {"Cookie": f"token={SECRET}"},
    ],
    ids=lambda headers: str(headers)[:40],
)
def test_no_route_opens_without_the_right_credential(
    tmp_path_factory: pytest.TempPathFactory, gateway: Gateway, route: Route, headers: dict[str, str]
) -> None:
    _forget_guesses(gateway)
    answer = send(gateway, route, token=None, headers=headers)
    assert answer.status == 401
    assert answer.json() == {"error": "Unauthorized", "details": None}
    assert answer.headers["www-authenticate"].startswith("Bearer")


def _forget_guesses(gateway: Gateway) -> None:
    gateway.app.state.services.authenticator._guesses._buckets.clear()


@pytest.mark.parametrize("path", ["/health?token=", "/health?access_token=", "/health?api_key="])
def test_a_secret_in_the_query_opens_nothing(gateway: Gateway, path: str) -> None:
    assert gateway.get(path + SECRET, token=None).status == 401


def test_two_authorization_headers_are_none(gateway: Gateway) -> None:
    data = gateway.raw(
        f"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer x\r\n"
        f"Authorization: Bearer {SECRET}\r\n\r\n".encode()
    )
    assert data.startswith(b"HTTP/1.1 401")


def test_a_line_break_in_a_token_is_no_second_header(gateway: Gateway) -> None:
    for smuggled in (b"x\r\nAuthorization: Bearer ", b"x\nAuthorization: Bearer ", b"x\x00", b"x\x0b"):
        data = gateway.raw(
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer "
            + smuggled
            + SECRET.encode()
            + b"\r\n\r\n"
        )
        assert data.split(b" ")[1] in {b"400", b"401"}


@pytest.mark.parametrize("route", REST, ids=ids)
def test_a_key_opens_the_routes_of_its_scope_and_no_other(
    gateway: Gateway, keys: dict[str, str], route: Route
) -> None:
    for scope in Scope:
        answer = send(gateway, route, token=keys[scope])
        allowed = scope in route.scopes or scope is Scope.ADMIN
        assert (answer.status != 403) is allowed, (scope, answer.status)
        assert answer.status != 401


@pytest.mark.parametrize("route", [route for route in REST if route.people], ids=ids)
@pytest.mark.parametrize("credential", ["token", "bound"])
def test_an_agent_is_403_at_every_route_for_people(
    gateway: Gateway, keys: dict[str, str], route: Route, credential: str
) -> None:
    bearer = TOKEN if credential == "token" else keys["bound"]
    for path in (route.path, route.path.replace("{ref}", "pending")):
        target = path.replace("{ref}", question(gateway)).replace("{id}", "k")
        assert gateway.ask(route.method, target, token=bearer).status == 403
    # With the people's secret beside it, the first header alone would have been enough for a sloppy reader.
    assert send(gateway, route, token=bearer, headers={"X-Api-Key": SECRET}).status == 403


def test_an_agent_does_not_decide_its_own_call_by_any_route(gateway: Gateway, keys: dict[str, str]) -> None:
    request_id = question(gateway)
    code = gateway.get(f"/hitl/{request_id}").json()["code"]
    before = gateway.get(f"/hitl/{request_id}").json()
    bodies: list[Any] = [None, {}, {"agent": "other"}, {"identity": "secret"}, {"decidedBy": "alice"}]
    for bearer in (TOKEN, keys["bound"], keys[Scope.HOOK], keys[Scope.MCP], keys[Scope.READ]):
        for reference in (request_id, code, code.lower()):
            for body in bodies:
                for path in (f"/hitl/approve/{reference}", f"/hitl/approve/{reference}?agent=other"):
                    answer = gateway.post(path, body, token=bearer, headers={"X-Forwarded-User": "alice"})
                    assert answer.status == 403
            for method in ("PUT", "PATCH", "GET", "DELETE"):
                override = {"X-HTTP-Method-Override": "POST"}
                answer = gateway.ask(method, f"/hitl/approve/{reference}", token=bearer, headers=override)
                assert answer.status == 405
    assert gateway.get(f"/hitl/{request_id}").json() == before


def test_whoever_asks_with_an_unbound_key_does_not_decide_with_it(gateway: Gateway) -> None:
    ring = Keyring(gateway.gate.store, clock=now_ms, make_id=make_id)  # type: ignore[arg-type]
    scopes = frozenset({Scope.HOOK, Scope.APPROVALS_DECIDE})
    made = gateway.run(ring.create(Wish("both", scopes), by="secret", within=frozenset(Scope)))
    payload = {"client": "ci", "agent": "other", "tool": "demo/deploy", "input": {}}
    answer = gateway.post("/hook?timeout=1", payload, token=made.text)
    assert answer.json()["decision"] == "deny"
    row = next(row for row in gateway.pending() if row["tool"] == "demo/deploy")
    assert gateway.post(f"/hitl/approve/{row['id']}", token=made.text).status == 403
    assert gateway.post(f"/hitl/approve/{row['id']}").status == 200


def test_a_revoked_key_is_401_at_once(gateway: Gateway) -> None:
    made = gateway.post("/keys", {"name": "short", "scopes": ["read"]})
    assert made.status == 201
    key = made.json()
    assert gateway.get("/hitl/pending", token=key["key"]).status == 200
    assert gateway.ask("DELETE", f"/keys/{key['id']}").status == 200
    assert gateway.get("/hitl/pending", token=key["key"]).status == 401
    assert gateway.ask("DELETE", f"/keys/{key['id']}").status == 404
    listed = gateway.get("/keys")
    assert key["key"] not in listed.body.decode()
    assert next(row for row in listed.json() if row["id"] == key["id"])["revoked_at"]


def test_nobody_gives_a_scope_that_they_do_not_hold(gateway: Gateway, keys: dict[str, str]) -> None:
    manager = keys[Scope.KEYS_MANAGE]
    assert gateway.post("/keys", {"name": "n", "scopes": ["admin"]}, token=manager).status == 403
    assert gateway.post("/keys", {"name": "n", "scopes": ["approvals:decide"]}, token=manager).status == 403
    assert gateway.post("/keys", {"name": "n", "scopes": ["keys:manage"]}, token=manager).status == 201


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "n"},
        {"name": "", "scopes": ["read"]},
        {"name": "n\n", "scopes": ["read"]},
        {"name": "\u202egnp", "scopes": ["read"]},
        {"name": "n" * 101, "scopes": ["read"]},
        {"name": "n", "scopes": []},
        {"name": "n", "scopes": "read"},
        {"name": "n", "scopes": ["root"]},
        {"name": "n", "scopes": ["read"], "agent": "nobody"},
        {"name": "n", "scopes": ["approvals:decide"], "agent": "other"},
        {"name": "n", "scopes": ["read"], "rate": 0},
        {"name": "n", "scopes": ["read"], "rate": True},
    ],
)
def test_a_key_that_makes_no_sense_is_400(gateway: Gateway, body: dict[str, Any]) -> None:
    assert gateway.post("/keys", body).status == 400


def test_a_key_bound_to_an_agent_sees_only_that_agents_history(
    gateway: Gateway, keys: dict[str, str]
) -> None:
    question(gateway, "claude-code")
    question(gateway, "other")
    entries = gateway.get("/audit?view=events", token=keys["bound"]).json()
    assert {entry["agent"] for entry in entries} == {"other"}
    assert gateway.get("/audit?agent=claude-code", token=keys["bound"]).status == 403


def test_a_keys_own_rate_holds_and_is_told(gateway: Gateway) -> None:
    made = gateway.post("/keys", {"name": "slow", "scopes": ["read"], "rate": 3}).json()
    answers = [gateway.get("/hitl/pending", token=made["key"]) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert all(answer.headers["x-ratelimit-limit"] == "3" for answer in answers)
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert int(answers[-1].headers["x-ratelimit-reset"]) > now_ms() // 1000
    assert gateway.get("/hitl/pending").status == 200


def test_guessing_is_slowed_down_and_keys_still_work(gateway: Gateway, keys: dict[str, str]) -> None:
    _forget_guesses(gateway)
    statuses = {gateway.get("/health", token=f"guess-{number}").status for number in range(70)}
    assert statuses == {401, 429}
    assert gateway.get("/health").status == 429
    assert gateway.get("/health", token=keys[Scope.READ]).status == 200
    _forget_guesses(gateway)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "a b", "localhost, evil"])
def test_a_rebound_name_gets_421_on_every_route(gateway: Gateway, host: str) -> None:
    for route in REST:
        assert send(gateway, route, headers={"Host": host}).status in {421, 400}
    assert gateway.get("/ready", token=None, headers={"Host": host}).status in {421, 400}


def test_a_listed_host_is_served(gateway: Gateway) -> None:
    assert gateway.get("/health", headers={"Host": "box.lan:4111"}).status == 200


def test_another_sites_page_gets_403_on_every_route_and_no_cors_headers(gateway: Gateway) -> None:
    for route in REST:
        answer = send(gateway, route, headers={"Origin": "https://evil.example"})
        assert answer.status == 403
        assert answer.json()["error"] == "Origin not allowed"
        assert not any(name.lower().startswith("access-control") for name in answer.headers)
    assert gateway.get("/health", headers={"Origin": f"http://localhost:{gateway.port}"}).status == 200


def test_the_checks_stay_on_for_every_bind_address(tmp_path: Path) -> None:
    policy = f'server: {{host: "0.0.0.0", api_secret: {SECRET}}}\n{AGENTS}'
    with open_gateway(tmp_path, policy, bound="10.1.2.3") as open_wide:
        assert open_wide.get("/health", headers={"Host": "evil.example"}).status == 421
        assert open_wide.get("/health", headers={"Host": "0.0.0.0:4111"}).status == 421
        assert open_wide.get("/health", headers={"Host": "10.1.2.3:4111"}).status == 200


def test_without_a_secret_all_is_open_but_an_agents_token_still_decides_nothing(tmp_path: Path) -> None:
    with open_gateway(tmp_path, AGENTS, token=None) as unlocked:
        assert unlocked.get("/health").status == 200
        assert unlocked.get("/health", token="whatever").status == 200
        request_id = question(unlocked)
        assert unlocked.post(f"/hitl/approve/{request_id}", token=TOKEN).status == 403
        assert (
            unlocked.post(f"/hitl/approve/{request_id}", headers={"Origin": "http://localhost:1"}).status
            == 403
        )
        answer = unlocked.post(f"/hitl/approve/{request_id}")
        assert (answer.status, answer.json()["status"]) == (200, "approved")


def test_health_is_public_only_where_the_config_says_so_and_then_short(tmp_path: Path) -> None:
    policy = f"server: {{api_secret: {SECRET}, public_health: true}}\n{AGENTS}"
    with open_gateway(tmp_path, policy) as gateway:
        answer = gateway.get("/health", token=None)
        assert answer.status == 200
        assert set(answer.json()) == {"status", "timestamp"}
        assert gateway.get("/health", token="wrong").status == 401
        assert "pending_hitl" in gateway.get("/health").json()
        assert gateway.get("/metrics", token=None).status == 401


def test_a_reload_changes_the_secret_at_once(tmp_path: Path) -> None:
    from dataclasses import replace

    from airlock.config import Secret

    with open_gateway(tmp_path, POLICY) as gateway:
        config = gateway.gate.config
        server = replace(config.server, api_secret=Secret("another"))
        gateway.gate.adopt(gateway.gate.policy, replace(config, server=server))
        assert gateway.get("/health").status == 401
        assert gateway.get("/health", token="another").status == 200
