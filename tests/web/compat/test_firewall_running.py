"""The requests that the gateway makes itself: allowed or approved first, and each at most once."""

from __future__ import annotations

import contextlib
import http.client
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.firewalls import Firewall, open_firewall
from tests.support.gateways import BOUND, SECRET, open_gateway
from tests.support.targets import Reply, TargetServer, target_server

RULES = """  - {id: reading, agent: firewall, tool: firewall/http_proxy/get, effect: allow}
  - {id: never, agent: firewall, tool: firewall/http_proxy/delete, effect: deny}
"""


@pytest.fixture(scope="module")
def target() -> Iterator[TargetServer]:
    with target_server() as running:
        yield running


def compat(target: TargetServer, more: str = "") -> str:
    return f'{{firewall: {{http_proxy: {{allow_hosts: ["127.0.0.1:{target.port}"]{more}}}}}}}'


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory, target: TargetServer) -> Iterator[Firewall]:
    with open_firewall(tmp_path_factory.mktemp("running"), compat=compat(target), more=RULES) as running:
        yield running


@pytest.fixture(autouse=True)
def quiet(wall: Firewall, target: TargetServer) -> None:
    """Nothing is under way, and nothing was asked."""
    wall.gateway.until(lambda: len(wall.gateway.app.state.services.errands) == 0)
    target.seen.clear()
    target.replies.clear()


def proxy(wall: Firewall, url: str, method: str = "GET", **params: Any) -> dict[str, Any]:
    return wall.submit(method, tool="http_proxy", params={"url": url, "method": method, **params})


def ended(wall: Firewall, action: dict[str, Any], *, by: str = "agent") -> dict[str, Any]:
    """The action once its execution is over."""
    return wall.gateway.until(
        lambda: (found := wall.get(action["id"], by=by))["status"] in {"succeeded", "failed"} and found
    )


def test_an_allowed_request_is_made_and_its_answer_is_the_result(
    wall: Firewall, target: TargetServer
) -> None:
    target.replies.append(
        Reply(201, {"Content-Type": "application/json", "X-A": "1", "Set-Cookie": "s=1"}, b'{"ok": true}')
    )
    action = proxy(wall, f"{target.url}/a?b=1", headers={"X-Mine": "yes"})
    assert (action["status"], action["execution"]["status"]) == ("allowed", "running")
    found = ended(wall, action)
    assert found["status"] == "succeeded"
    execution = found["execution"]
    assert execution["id"].startswith("exec_")
    assert (execution["status"], execution["attempts"], execution["error"]) == ("succeeded", 1, None)
    assert execution["started_at"] <= execution["completed_at"]
    result = execution["result"]
    assert (result["statusCode"], result["body"]) == (201, {"ok": True})
    assert result["headers"]["x-a"] == "1"
    assert "set-cookie" not in result["headers"]
    assert found["result"] == result
    (row,) = wall.ask("GET", "/v1/actions?status=succeeded&limit=1").json()["data"]
    assert row["execution"]["result"] == {"statusCode": 201}, "a list has no bodies"
    (seen,) = target.seen
    assert (seen.method, seen.path, seen.headers["X-Mine"]) == ("GET", "/a?b=1", "yes")
    assert "Authorization" not in seen.headers
    assert "Cookie" not in seen.headers


def test_what_needs_a_yes_is_made_once_when_its_client_comes_for_it(
    wall: Firewall, target: TargetServer
) -> None:
    action = proxy(wall, f"{target.url}/pay", "POST", body={"amount": 5})
    assert (action["status"], action["execution"]) == ("pending_approval", None)
    assert wall.get(action["id"])["status"] == "pending_approval"
    wall.decide(action)
    for by in ("admin", "people"):
        assert wall.get(action["id"], by=by)["status"] == "allowed"
    assert target.seen == [], "a yes runs nothing by itself, and looking at it neither"
    wall.clock.forward(3_600_000)
    first = wall.get(action["id"])
    assert (first["status"], first["execution"]["status"]) == ("allowed", "running")
    found = ended(wall, action)
    for _ in range(3):
        wall.get(action["id"])
    (seen,) = target.seen
    assert (seen.method, json.loads(seen.body)) == ("POST", {"amount": 5})
    assert seen.headers["Content-Type"] == "application/json"
    assert found["execution"]["result"]["statusCode"] == 200
    (entry,) = wall.gateway.get("/audit?tool=firewall/http_proxy/post&limit=1").json()
    assert (entry["hitl_outcome"], entry["result"]) == ("approved", "success")
    assert entry["duration_ms"] < 60_000, "what it took, not how long nobody came for it"


def test_many_polls_at_once_make_one_request(wall: Firewall, target: TargetServer) -> None:
    action = proxy(wall, f"{target.url}/once", "POST")
    wall.decide(action)
    polls = [wall.gateway.later(lambda: wall.get(action["id"])) for _ in range(8)]
    assert {poll.result()["status"] for poll in polls} <= {"allowed", "succeeded"}
    assert ended(wall, action)["status"] == "succeeded"
    assert len(target.seen) == 1


def test_two_gateways_on_one_database_make_one_request(tmp_path: Path, target: TargetServer) -> None:
    with open_firewall(tmp_path, compat=compat(target), more=RULES) as one:
        text = (tmp_path / "airlock.yaml").read_text()
        with open_gateway(tmp_path, text) as gateway:
            other = Firewall(gateway, one.clock, one.keys, one.agents)
            action = proxy(one, f"{target.url}/both", "POST", body="x")
            other.decide(action)
            walls = [one, other] * 4
            polls = [one.gateway.later(lambda wall=wall: wall.get(action["id"])) for wall in walls]  # type: ignore[misc]
            for poll in polls:
                poll.result()
            assert ended(other, action)["status"] == "succeeded"
            assert len(target.seen) == 1


def test_a_gateway_that_ends_meanwhile_makes_it_failed_and_never_makes_it_again(
    tmp_path: Path, target: TargetServer
) -> None:
    held = threading.Event()
    try:
        with open_firewall(tmp_path, compat=compat(target, ", timeout: 300s"), more=RULES) as wall:
            target.replies.append(Reply(then=held.wait))
            action = proxy(wall, f"{target.url}/slow", "POST")
            wall.decide(action)
            assert wall.get(action["id"])["execution"]["status"] == "running"
            target.wait(1)
            keys, agents = wall.keys, wall.agents
        text = (tmp_path / "airlock.yaml").read_text()
        clock = wall.clock
        with open_gateway(tmp_path, text, clock=clock) as gateway:
            again = Firewall(gateway, clock, keys, agents)
            assert again.get(action["id"])["status"] == "allowed"
            clock.forward(316_000)
            found = again.get(action["id"])
            assert found["status"] == "failed"
            assert "nobody knows whether it arrived" in found["execution"]["error"]
            assert again.get(action["id"])["status"] == "failed"
            entry = gateway.get("/audit?tool=firewall/http_proxy/post&limit=1").json()[0]
            assert entry["result"] == "unknown"
        assert len(target.seen) == 1
    finally:
        held.set()


def test_a_gateway_that_is_killed_meanwhile_makes_it_failed_too(tmp_path: Path, target: TargetServer) -> None:
    """The process itself, ended as nothing can refuse."""
    held = threading.Event()
    with open_firewall(tmp_path, compat=compat(target), more=RULES) as wall:
        keys, agents, clock = wall.keys, wall.agents, wall.clock
    config = tmp_path / "airlock.yaml"
    gateway = subprocess.Popen(
        [sys.executable, "-m", "airlock", "--config", str(config), "gateway", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert gateway.stdout is not None
        port = int(gateway.stdout.readline().rpartition(":")[2])
        target.replies.append(Reply(then=held.wait))

        def ask(method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND)) as there:
                there.request(method, path, json.dumps(body) if body is not None else None, headers)
                return dict(json.loads(there.getresponse().read()))

        body = {"tool": "http_proxy", "operation": "POST", "params": {"url": f"{target.url}/killed"}}
        key = {"X-Agent-Key": keys["agent"]}
        action = ask("POST", "/v1/actions", body, **key)
        path = f"/v1/approvals/{action['approval']['id']}/approve"
        ask("POST", path, {}, Authorization=f"Bearer {keys['boss']}")
        assert ask("GET", f"/v1/actions/{action['id']}", **key)["execution"]["status"] == "running"
        target.wait(1)
    finally:
        gateway.kill()
        gateway.communicate(timeout=BOUND)
        held.set()
    with open_gateway(tmp_path, config.read_text(), clock=clock) as after:
        again = Firewall(after, clock, keys, agents)
        assert again.get(action["id"])["status"] == "allowed"
        clock.forward(46_000)
        assert again.get(action["id"])["status"] == "failed"
    assert len(target.seen) == 1


def test_a_secret_in_the_params_is_sent_and_never_kept(
    wall: Firewall, target: TargetServer, tmp_path: Path
) -> None:
    target.replies.append(
        Reply(
            200,
            {"Content-Type": "application/json"},
            b'{"you": "Bearer tell-nobody-this", "token": "abc123"}',
        )
    )
    headers = {"Authorization": "Bearer tell-nobody-this"}
    action = proxy(wall, f"{target.url}/me", "POST", headers=headers, body="{}")
    assert "tell-nobody" not in json.dumps(action)
    wall.decide(action)
    wall.get(action["id"])
    found = ended(wall, action)
    assert target.seen[0].headers["Authorization"] == "Bearer tell-nobody-this"
    assert "tell-nobody" not in json.dumps(found)
    assert "abc123" not in json.dumps(found["execution"])
    assert "tell-nobody" not in wall.gateway.get("/audit?limit=5").body.decode()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"all": "Bearer tell\\/nobody", "\\u0074ell/nobody": ["tell\\u002Fnobody"]}'),
        ("application/json", b'{"broken": "tell/nobody'),
        ("text/plain", b"you are tell/nobody"),
    ],
)
def test_a_secret_that_comes_back_in_another_form_is_not_kept_either(
    wall: Firewall, target: TargetServer, kind: str, body: bytes
) -> None:
    target.replies.append(Reply(200, {"Content-Type": kind, "X-You": "tell/nobody"}, body))
    action = proxy(wall, f"{target.url}/me", headers={"Authorization": "Bearer tell/nobody"})
    found = ended(wall, action)
    assert found["status"] == "succeeded"
    assert "nobody" not in json.dumps(found)


def test_a_secret_that_a_restart_forgot_is_asked_for_again(tmp_path: Path, target: TargetServer) -> None:
    with open_firewall(tmp_path, compat=compat(target), more=RULES) as wall:
        action = proxy(wall, f"{target.url}/me", "POST", headers={"Authorization": "Bearer gone"})
        wall.decide(action)
        keys, agents, clock = wall.keys, wall.agents, wall.clock
    with open_gateway(tmp_path, (tmp_path / "airlock.yaml").read_text()) as gateway:
        found = Firewall(gateway, clock, keys, agents).get(action["id"])
    assert found["status"] == "failed"
    assert "submit it again" in found["execution"]["error"]
    assert target.seen == []


def test_what_was_changed_in_the_database_since_the_yes_is_not_sent(
    tmp_path: Path, target: TargetServer
) -> None:
    with open_firewall(tmp_path, compat=compat(target), more=RULES) as wall:
        action = proxy(wall, f"{target.url}/small", "POST", body={"amount": 1})
        wall.decide(action)
        with contextlib.closing(sqlite3.connect(tmp_path / "airlock.db")) as database, database:
            changed = database.execute(
                "UPDATE request SET arguments = replace(arguments, '\"amount\":1', '\"amount\":1000')"
            )
            assert changed.rowcount == 1
        found = wall.get(action["id"])
    assert found["status"] == "failed"
    assert "not those that were submitted" in str(found["execution"]["error"])
    assert target.seen == []


def test_a_denied_request_is_never_made(wall: Firewall, target: TargetServer) -> None:
    for method in ("DELETE", "delete", "Delete"):
        action = wall.submit(method, tool="http_proxy", params={"url": f"{target.url}/x"})
        assert (action["status"], action["execution"]) == ("denied", None)
    asked = proxy(wall, f"{target.url}/x", "PUT")
    wall.decide(asked, "deny")
    assert wall.get(asked["id"])["status"] == "denied"
    assert target.seen == []


def test_the_policy_of_the_moment_of_use_holds(wall: Firewall, target: TargetServer) -> None:
    action = proxy(wall, f"{target.url}/x", "PATCH")
    wall.decide(action)
    gate = wall.gateway.gate
    wall.gateway.run(gate.pause("", "local:bob"))
    try:
        assert wall.get(action["id"])["status"] == "pending_approval"
    finally:
        wall.gateway.run(gate.resume("", "local:bob"))
    assert target.seen == []
    assert wall.get(action["id"])["status"] == "allowed"
    assert ended(wall, action)["status"] == "succeeded"


def test_a_redirect_is_an_answer_and_is_not_followed(wall: Firewall, target: TargetServer) -> None:
    target.replies.append(Reply(302, {"Location": "http://169.254.169.254/latest/meta-data"}))
    found = ended(wall, proxy(wall, f"{target.url}/r"))
    assert found["execution"]["result"]["statusCode"] == 302
    assert len(target.seen) == 1


def test_an_error_of_the_server_fails_the_action_with_its_answer(
    wall: Firewall, target: TargetServer
) -> None:
    target.replies.append(Reply(503, body=b"later"))
    found = ended(wall, proxy(wall, f"{target.url}/e"))
    assert (found["status"], found["execution"]["result"]["body"]) == ("failed", "later")


def test_a_long_answer_is_cut_and_says_so(wall: Firewall, target: TargetServer) -> None:
    target.replies.append(Reply(body=b"x" * 300_000))
    result = ended(wall, proxy(wall, f"{target.url}/long"))["execution"]["result"]
    assert (len(result["body"]), result["truncated"]) == (262_144, True)
    target.replies.append(Reply(body=b"x" + "ä".encode() * 150_000))
    result = ended(wall, proxy(wall, f"{target.url}/half"))["execution"]["result"]
    assert (result["body"][-1], len(result["body"])) == ("ä", 131_072), "without the half of a character"


def test_bytes_that_are_no_text_are_counted(wall: Firewall, target: TargetServer) -> None:
    target.replies.append(Reply(body=b"\xff\xfe\x00"))
    result = ended(wall, proxy(wall, f"{target.url}/raw"))["execution"]["result"]
    assert (result["body"], result["bodyBytes"]) == (None, 3)


def test_a_server_that_does_not_answer_fails_the_action(tmp_path: Path, target: TargetServer) -> None:
    held = threading.Event()
    with open_firewall(tmp_path, compat=compat(target, ", timeout: 200ms"), more=RULES) as wall:
        target.replies.append(Reply(then=held.wait))
        found = ended(wall, proxy(wall, f"{target.url}/hang"))
        target.wait(1)  # it may come to it only now
        held.set()
    assert found["status"] == "failed"
    assert "may have arrived" in found["execution"]["error"]


def test_only_so_many_requests_are_under_way_and_no_yes_is_lost_by_that(
    wall: Firewall, target: TargetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airlock.web.compat.firewall.running.MOST_AT_ONCE", 1)
    held = threading.Event()
    target.replies.append(Reply(then=held.wait))
    approved = proxy(wall, f"{target.url}/approved", "POST")
    wall.decide(approved)
    try:
        first = proxy(wall, f"{target.url}/first")
        target.wait(1)
        body = {"tool": "http_proxy", "operation": "GET", "params": {"url": f"{target.url}/second"}}
        refused = wall.ask("POST", "/v1/actions", body)
        assert (refused.status, refused.json()["error"]) == (503, "UNAVAILABLE")
        assert int(refused.headers["Retry-After"]) > 0
        assert wall.ask("GET", f"/v1/actions/{approved['id']}").status == 503
    finally:
        held.set()
    ended(wall, first)
    assert wall.gateway.until(
        lambda: (answer := wall.ask("GET", f"/v1/actions/{approved['id']}")).status == 200 and answer
    )
    assert ended(wall, approved)["status"] == "succeeded"


def test_many_that_come_at_once_are_no_more_under_way_than_may_be(
    wall: Firewall, target: TargetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airlock.web.compat.firewall.running.MOST_AT_ONCE", 2)
    held = threading.Event()
    target.replies += [Reply(then=held.wait) for _ in range(12)]
    body = {"tool": "http_proxy", "operation": "GET", "params": {"url": f"{target.url}/many"}}
    together = threading.Barrier(12)

    def submit() -> int:
        together.wait(BOUND)
        return wall.ask("POST", "/v1/actions", body).status

    try:
        waiting = [wall.gateway.later(submit) for _ in range(12)]
        statuses = sorted(one.result() for one in waiting)
        assert statuses == [201] * 2 + [503] * 10
    finally:
        held.set()
    wall.gateway.until(lambda: proxy_is_free(wall, target))


def test_an_agent_whose_servers_never_answer_leaves_places_for_the_others(
    wall: Firewall, target: TargetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airlock.web.compat.firewall.running.MOST_OF_ONE", 1)
    held = threading.Event()
    target.replies.append(Reply(then=held.wait))
    try:
        first = proxy(wall, f"{target.url}/first")
        target.wait(1)
        body = {"tool": "http_proxy", "operation": "GET", "params": {"url": f"{target.url}/second"}}
        assert wall.ask("POST", "/v1/actions", body).status == 503
        asked = wall.submit("GET", tool="http_proxy", params=body["params"], by="bound")
        wall.decide(asked)
        wall.get(asked["id"], by="bound")
        assert ended(wall, asked, by="bound")["status"] == "succeeded"
    finally:
        held.set()
    ended(wall, first)


def proxy_is_free(wall: Firewall, target: TargetServer) -> bool:
    body = {"tool": "http_proxy", "operation": "GET", "params": {"url": f"{target.url}/free"}}
    return wall.ask("POST", "/v1/actions", body).status == 201


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"url": "http://127.0.0.1:9/"}, "params.url"),
        ({"url": "http://127.0.0.1/"}, "params.url"),
        ({"url": "http://10.0.0.1/"}, "params.url"),
        ({"url": "ftp://example.com/"}, "params.url"),
        ({"url": "http://u:p@example.com/"}, "params.url"),
        ({"url": 7}, "params.url"),
        ({}, "params.url"),
        ({"url": "http://example.com/", "method": "POST"}, "params.method"),
        ({"url": "http://example.com/", "auth": "x"}, "params.auth"),
        ({"url": "http://example.com/", "body": {}}, "params.body"),
        ({"url": "http://example.com/", "headers": {"Host": "evil"}}, "params.headers"),
        ({"url": "http://example.com/", "headers": {"X": "a\r\nY: b"}}, "params.headers"),
        ({"url": "http://example.com/", "headers": ["x"]}, "params.headers"),
    ],
)
def test_what_may_not_be_fetched_is_refused_before_anybody_is_asked(
    wall: Firewall, params: dict[str, Any], field: str
) -> None:
    body = {"tool": "http_proxy", "operation": "GET", "params": params}
    for path, by in (("/v1/actions", "agent"), ("/v1/dry-run", "admin")):
        answer = wall.ask("POST", path, body, by=by)
        assert answer.status == 400, answer.body
        assert answer.json()["details"]["field"] == field


def test_a_name_that_leads_inside_is_refused_when_it_is_fetched(tmp_path: Path) -> None:
    with open_firewall(tmp_path, compat="{firewall: {http_proxy: {}}}", more=RULES) as wall:
        found = ended(wall, proxy(wall, "http://localhost/"))
    assert found["status"] == "failed"
    assert "refused, nothing was sent" in found["execution"]["error"]


def test_without_the_option_the_client_makes_its_request(tmp_path: Path, target: TargetServer) -> None:
    with open_firewall(tmp_path, more=RULES) as wall:
        action = proxy(wall, f"{target.url}/x")
        assert (action["status"], action["execution"]) == ("allowed", None)
        assert wall.get(action["id"])["status"] == "allowed"
    assert target.seen == []


def test_the_secret_of_the_people_makes_no_action(wall: Firewall, target: TargetServer) -> None:
    body = {"tool": "http_proxy", "operation": "GET", "params": {"url": f"{target.url}/x"}}
    assert wall.ask("POST", "/v1/actions", body, by="people").status == 401
    sent = {"X-Agent-Key": SECRET}
    assert wall.ask("POST", "/v1/actions", body, by="nobody", headers=sent).status == 401
    assert target.seen == []


def test_where_no_secret_is_set_everything_works_without_a_key(tmp_path: Path, target: TargetServer) -> None:
    policy = f"compat: {compat(target)}\nagents: {{}}\n"
    with open_gateway(tmp_path, policy, token=None) as gateway:
        body = {"tool": "http_proxy", "operation": "POST", "params": {"url": f"{target.url}/open"}}
        action = gateway.post("/v1/actions", body).json()
        assert action["status"] == "pending_approval"
        assert gateway.post(f"/v1/approvals/{action['approval']['id']}/approve", {}).status == 200
        path = f"/v1/actions/{action['id']}"
        gateway.until(lambda: gateway.get(path).json()["status"] == "succeeded")
    assert len(target.seen) == 1
