"""The management API as published: every endpoint, field, type and status, on a running gateway."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import airlock
from airlock.model import Proceed, Refuse, Resolution
from tests.support.gates import call
from tests.support.gateways import SECRET, Gateway, open_gateway

POLICY = f"""
server: {{api_secret: {SECRET}}}
providers:
  demo: {{type: builtin}}
agents:
  claude-code:
    token: the-token-of-claude-code
    allow: ["demo/echo", "exec/run"]
    ask: ["demo/write_note", "demo/pay"]
    deny: ["demo/delete_note"]
  other: {{ask: ["demo/*"]}}
people:
  alice: {{local: alice}}
  bob: {{local: bob}}
rules:
  - {{id: big, agent: [claude-code], tool: demo/pay, args: {{amount: {{gt: 100}}}}, effect: ask, quorum: 2}}
"""

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
CODE = re.compile(r"[A-Z0-9]{6}\Z")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with open_gateway(tmp_path, POLICY) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for the tests that leave nothing behind."""
    with open_gateway(tmp_path_factory.mktemp("shared"), POLICY) as running:
        yield running


_numbers = itertools.count()


def ask(gateway: Gateway, tool: str = "demo/write_note", **arguments: Any) -> dict[str, Any]:
    """Open a question, and find it in the queue."""
    known = {row["id"] for row in gateway.get("/hitl/pending").json()}
    arguments = arguments or {"n": next(_numbers)}
    gateway.run(gateway.gate.submit(call(tool, **arguments), attend=False))
    return next(row for row in gateway.get("/hitl/pending").json() if row["id"] not in known)


HEALTH = {
    "status": "ok",
    "uptime": int,
    "pending_hitl": int,
    "log_bytes": int,
    "version": airlock.__version__,
    "timestamp": TIME,
}
PENDING = {
    "id": re.compile(r"[0-9a-f]{32}\Z"),
    "code": CODE,
    "agent_id": "claude-code",
    "tool": "demo/write_note",
    "args": {"text": "git push origin main"},
    "status": "pending",
    "created_at": TIME,
    "expires_at": TIME,
}
ENTRY = {
    "id": str,
    "agent_id": "claude-code",
    "tool": "demo/echo",
    "args": '{"command":"git status"}',
    "result": "success",
    "duration_ms": int,
    "hitl_outcome": None,
    "created_at": TIME,
}


def holds(shape: dict[str, Any], value: dict[str, Any]) -> None:
    """Every published field is there, with its type and, where it is fixed, its value."""
    for name, wanted in shape.items():
        assert name in value
        got = value[name]
        if isinstance(wanted, re.Pattern):
            assert wanted.match(got), (name, got)
        elif isinstance(wanted, type):
            assert type(got) is wanted, (name, got)
        else:
            assert got == wanted, name


def test_health_has_its_published_fields(gateway: Gateway) -> None:
    answer = gateway.get("/health")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    holds(HEALTH, answer.json())
    assert answer.json()["pending_hitl"] == 0
    ask(gateway)
    assert gateway.get("/health").json()["pending_hitl"] == 1


def test_pending_lists_requests_with_their_published_fields(gateway: Gateway) -> None:
    assert gateway.get("/hitl/pending").json() == []
    ask(gateway, text="git push origin main")
    answer = gateway.get("/hitl/pending")
    assert answer.status == 200
    rows = answer.json()
    assert len(rows) == 1
    holds(PENDING, rows[0])


@pytest.mark.parametrize("by", ["id", "code"])
@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("approve", None, "approved"),
        ("approve", b"", "approved"),
        ("approve", {}, "approved"),
        ("deny", None, "denied"),
        ("deny", {"reason": "Not authorized for production pushes"}, "denied"),
        ("deny", {"reason": None}, "denied"),
    ],
)
def test_a_request_is_decided_by_id_or_code(
    shared: Gateway, by: str, verb: str, body: Any, status: str
) -> None:
    row = ask(shared)
    answer = shared.post(f"/hitl/{verb}/{row[by]}", body)
    assert answer.status == 200
    assert answer.json() == {"ok": True, "id": row["id"], "code": row["code"], "status": status}
    assert row["id"] not in {one["id"] for one in shared.get("/hitl/pending").json()}
    after = shared.get(f"/hitl/{row['code']}").json()
    assert (after["status"], after["decided_by"]) == (status, "secret")
    assert after["note"] == ((body or {}).get("reason") or None)


def test_a_code_is_found_in_any_case(shared: Gateway) -> None:
    row = ask(shared)
    assert shared.post(f"/hitl/approve/{row['code'].lower()}").status == 200


def test_deciding_needs_no_content_type(shared: Gateway) -> None:
    row = ask(shared)
    data = shared.raw(
        f"POST /hitl/approve/{row['id']} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Authorization: Bearer {SECRET}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert data.startswith(b"HTTP/1.1 200")


def test_the_parked_call_goes_on_with_a_yes_and_hears_the_reason_of_a_no(gateway: Gateway) -> None:
    for verb, body in (("approve", None), ("deny", {"reason": "not on a Friday"})):
        waiting = gateway.later(lambda: gateway.run(gateway.gate.authorize(call("demo/write_note"))))
        (row,) = gateway.pending()
        assert gateway.post(f"/hitl/{verb}/{row['code']}", body).status == 200
        verdict = waiting.result()
        assert isinstance(verdict, Proceed if verb == "approve" else Refuse)
        if isinstance(verdict, Refuse):
            assert "not on a Friday" in verdict.reason
            assert row["code"] not in verdict.reason


def test_unknown_decided_and_over_are_404_409_and_410(gateway: Gateway) -> None:
    for verb in ("approve", "deny"):
        missing = gateway.post(f"/hitl/{verb}/nosuch")
        assert missing.status == 404
        assert set(missing.json()) == {"error", "details"}
    assert gateway.get("/hitl/nosuch").status == 404
    row = ask(gateway, text="1")
    gateway.post(f"/hitl/deny/{row['id']}")
    again = gateway.post(f"/hitl/approve/{row['id']}")
    assert again.status == 409
    assert again.json()["details"] == {"status": "denied"}
    withdrawn = ask(gateway, text="2")
    gateway.post(f"/hitl/approve/{withdrawn['id']}")
    gateway.run(gateway.gate.undo(withdrawn["id"], "local:alice"))
    assert gateway.post(f"/hitl/approve/{withdrawn['id']}").status == 410
    expired = ask(gateway, text="3")
    gateway.run(_expire(gateway, expired["id"]))
    late = gateway.post(f"/hitl/approve/{expired['id']}")
    assert late.status == 410
    assert gateway.get(f"/hitl/{expired['id']}").json()["status"] == "expired"


async def _expire(gateway: Gateway, request_id: str) -> None:
    from dataclasses import replace

    from airlock.ports import Change

    request = await gateway.gate.request(request_id)
    past = replace(request, version=request.version + 1, expires_at=request.created_at + 1)
    await gateway.gate.store.commit(Change(events=(), requests=(past,)))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/hitl/deny/{id}", b"[]"),
        ("/hitl/deny/{id}", b"{"),
        ("/hitl/deny/{id}", b'{"reason": 5}'),
        ("/hitl/deny/{id}", b'{"reason": "a", "reason": "b"}'),
        ("/hitl/deny/{id}", b'{"reason": "' + b"x" * 3000 + b'"}'),
        ("/hitl/deny/{id}", b"\xff\xfe"),
        ("/hitl/deny/{id}", b"[" * 100_000),
        ("/hitl/approve/{id}", b'{"for": "soon"}'),
        ("/hitl/approve/{id}", b'{"for": 10}'),
        ("/hitl/approve/{id}", b'{"any_args": true}'),
        ("/hitl/approve/{id}", b'{"note": NaN}'),
    ],
)
def test_a_malformed_body_is_400_and_decides_nothing(shared: Gateway, path: str, body: bytes) -> None:
    row = ask(shared)
    answer = shared.post(path.format(id=row["id"]), body)
    assert answer.status == 400
    assert set(answer.json()) == {"error", "details"}
    assert shared.get(f"/hitl/{row['id']}").json()["status"] == "pending"


def test_a_yes_below_the_quorum_is_counted(gateway: Gateway) -> None:
    row = ask(gateway, "demo/pay", amount=500)
    assert (row["approvals"], row["needed"]) == (0, 2)
    first = gateway.post(f"/hitl/approve/{row['id']}")
    assert first.status == 200
    assert first.json() == {
        "ok": True,
        "id": row["id"],
        "code": row["code"],
        "status": "pending",
        "approvals": 1,
        "needed": 2,
    }
    assert gateway.post(f"/hitl/approve/{row['id']}").status == 409
    gateway.run(gateway.gate.resolve(row["id"], Resolution(approve=True, identity="local:alice")))
    assert gateway.get(f"/hitl/{row['id']}").json()["status"] == "approved"


def test_a_yes_with_a_length_also_grants(gateway: Gateway) -> None:
    row = ask(gateway)
    assert gateway.post(f"/hitl/approve/{row['id']}", {"for": "10m", "note": "fine"}).status == 200
    (grant,) = gateway.run(gateway.gate.grants())
    assert grant.expires_at - grant.granted_at == 600_000


def run_one(gateway: Gateway, tool: str, **arguments: Any) -> None:
    from airlock.model import Outcome

    verdict = gateway.run(gateway.gate.submit(call(tool, **arguments)))
    if isinstance(verdict, Proceed):
        gateway.run(gateway.gate.complete(verdict, Outcome.SUCCESS))


def test_audit_entries_have_their_published_fields(gateway: Gateway) -> None:
    run_one(gateway, "demo/echo", command="git status")
    answer = gateway.get("/audit?agent=claude-code&tool=demo/echo&limit=50")
    assert answer.status == 200
    (entry,) = answer.json()
    holds(ENTRY, entry)
    assert json.loads(entry["args"]) == {"command": "git status"}


def test_audit_filters_and_counts(gateway: Gateway) -> None:
    for number in range(3):
        run_one(gateway, "demo/echo", n=number)
    run_one(gateway, "demo/delete_note")
    entries = gateway.get("/audit").json()
    assert [entry["tool"] for entry in entries] == ["demo/delete_note", *["demo/echo"] * 3]
    assert [entry["result"] for entry in entries] == ["denied", "success", "success", "success"]
    assert gateway.get("/audit?tool=demo").json() == []
    assert len(gateway.get("/audit?limit=2").json()) == 2
    assert len(gateway.get("/audit?agent=other").json()) == 0
    middle = entries[2]["created_at"]
    since = gateway.get(f"/audit?since={middle}").json()
    assert {entry["id"] for entry in since} >= {entry["id"] for entry in entries[:3]}
    plus = middle.replace("Z", "+00:00")
    assert gateway.get(f"/audit?since={plus}").json() == since
    assert gateway.get("/audit?since=2999-01-01").json() == []
    events = gateway.get("/audit?view=events&limit=3").json()
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    assert gateway.get(f"/audit?view=events&after={events[-1]['seq']}").json()[0]["seq"] > events[-1]["seq"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=10001",
        "limit=-1",
        "limit=1.5",
        "limit=ten",
        "limit=%D9%A1",  # an Arabic one
        "limit=%C2%B2",
        "limit=1&limit=2",
        "limit=" + "9" * 5000,
        "since=yesterday",
        "since=2026-13-01",
        "since=%00",
        "view=all",
        "after=x&view=events",
        "after=-1",
    ],
)
def test_a_malformed_audit_query_is_400(shared: Gateway, query: str) -> None:
    answer = shared.get(f"/audit?{query}")
    assert answer.status == 400
    assert set(answer.json()) == {"error", "details"}


def test_ready_says_only_that(shared: Gateway) -> None:
    answer = shared.get("/ready", token=None)
    assert (answer.status, answer.json()) == (200, {"status": "ready"})


def test_metrics_are_prometheus_text(gateway: Gateway) -> None:
    ask(gateway)
    gateway.get("/health", token=None)
    answer = gateway.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    assert 'airlock_pending_requests{agent="claude-code"} 1' in text
    assert "airlock_unauthorized_total 1" in text
    assert re.search(r"^airlock_log_bytes [1-9]", text, re.MULTILINE)
    assert 'airlock_http_requests_total{method="GET",route="/health",status="401"} 1' in text
    sample = re.compile(r'[a-z_]+(\{([a-z]+="[^"\n]*",?)*\})? [0-9.e+-]+\Z')
    for line in text.splitlines():
        assert line.startswith("# ") or sample.match(line), line


def test_a_secret_never_reaches_the_audit_or_the_queue(gateway: Gateway) -> None:
    row = ask(gateway, password="hunter2hunter2", text="fine")
    assert "hunter2" not in json.dumps(row)
    assert "hunter2" not in gateway.get("/audit?view=events").body.decode()


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("POST", "/health", 405, "GET"),
        ("GET", "/hitl/approve/x", 405, "POST"),
        ("DELETE", "/hitl/x", 405, "GET"),
        ("PUT", "/audit", 405, "GET"),
        ("GET", "/hook", 405, "POST"),
        ("PATCH", "/health", 405, "GET"),
        ("GET", "/", 404, None),
        ("GET", "/Health", 404, None),
        ("GET", "/health/", 404, None),
        ("GET", "//health", 404, None),
        ("GET", "/./health", 404, None),
        ("GET", "/hitl/%2e%2e/health", 404, None),
        ("GET", "/hitl/..%2fhealth", 404, None),
        ("GET", "/hitl/%00", 404, None),
        ("GET", "/hitl/" + "x" * 5000, 404, None),
        ("POST", "/hitl/approve/", 404, None),
        ("POST", "/hitl/approve/a/b", 404, None),
    ],
)
def test_wrong_methods_and_paths(
    shared: Gateway, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = shared.ask(method, path)
    assert answer.status == status
    assert set(answer.json()) == {"error", "details"}
    if allow:
        assert allow in answer.headers["allow"]


def test_head_answers_like_get_without_a_body(shared: Gateway) -> None:
    answer = shared.ask("HEAD", "/health")
    assert (answer.status, answer.body) == (200, b"")


def test_a_database_that_cannot_be_used_is_503(gateway: Gateway) -> None:
    gateway.run(gateway.gate.store.close())
    assert gateway.get("/hitl/pending").status == 503
    health = gateway.get("/health")
    assert (health.status, health.json()["status"]) == (503, "degraded")
    assert gateway.get("/ready", token=None).status == 200
