"""SidClaw's agents and webhooks; and what the description says of all of this face's routes."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airlock.apikeys import Scope
from airlock.config import FaceConfig
from airlock.ports_faces import RecordFilter
from airlock.web.compat.sidclaw import make_face
from airlock.web.compat.sidclaw.webhooks import EVENTS, RETRIES
from tests.support.gateways import SECRET
from tests.support.sidclaws import SidClaws, open_sidclaw

FACE = make_face(FaceConfig(name="sidclaw", agent="sidclaw"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidClaws]:
    with open_sidclaw(tmp_path_factory.mktemp("management")) as made:
        yield made


def manage(house: SidClaws, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = house.ask(method, path, body, token=SECRET)
    return answer.status, answer.json() if answer.body else None


# -- agents -----------------------------------------------------------------------------------------------


def test_agents_of_the_config_and_registered_ones_are_one_list(house: SidClaws) -> None:
    status, made = manage(house, "POST", "/agents", {"name": "Reporter", "owner_name": "Dana", "team": "ops"})
    assert status == 201
    assert made["lifecycle_state"] == "active"
    assert made["policy_agent"] == "sidclaw", "it acts under the face's own agent"
    names = [one["name"] for one in manage(house, "GET", "/agents")[1]["data"]]
    assert names[:2] == ["mailer", "other"]
    assert "Reporter" in names
    status, changed = manage(house, "PATCH", f"/agents/{made['id']}", {"team": "sales"})
    assert (status, changed["team"], changed["owner_name"]) == (200, "sales", "Dana")
    assert house.evaluate(agent_id=made["id"]).json()["decision"] == "deny"
    assert manage(house, "DELETE", f"/agents/{made['id']}")[0] == 200
    assert manage(house, "GET", f"/agents/{made['id']}")[0] == 404
    assert house.evaluate(agent_id=made["id"]).status == 404


def test_an_agent_named_like_one_of_the_config_has_its_policy(house: SidClaws) -> None:
    made = manage(house, "POST", "/agents", {"name": "mailer"})[1]
    assert made["policy_agent"] == "mailer"
    answer = house.evaluate("read_contact", target_integration="crm", agent_id=made["id"]).json()
    assert answer["decision"] == "allow"
    manage(house, "DELETE", f"/agents/{made['id']}")


def test_a_suspended_agent_is_denied_on_every_road_and_comes_back(house: SidClaws) -> None:
    assert manage(house, "POST", "/agents/other/suspend")[1]["lifecycle_state"] == "suspended"
    assert house.evaluate(agent_id="other").json()["decision"] == "deny"
    hook = {"client": "ci", "tool": "sidclaw/x/y", "agent": "other", "input": {}}
    assert house.gateway.post("/hook", hook).json()["decision"] == "deny"
    assert manage(house, "POST", "/agents/other/suspend")[0] == 409
    assert manage(house, "POST", "/agents/other/reactivate")[1]["lifecycle_state"] == "active"
    assert house.evaluate(agent_id="other").json()["decision"] == "approval_required"


def test_a_revoked_agent_does_not_come_back(house: SidClaws) -> None:
    made = manage(house, "POST", "/agents", {"name": "gone"})[1]
    assert manage(house, "POST", f"/agents/{made['id']}/revoke")[1]["lifecycle_state"] == "revoked"
    for verb in ("reactivate", "suspend", "revoke"):
        status, body = manage(house, "POST", f"/agents/{made['id']}/{verb}")
        assert (status, body["error"]) == (409, "conflict")
    answer = house.evaluate(agent_id=made["id"]).json()
    assert (answer["decision"], answer["reason"]) == ("deny", "the agent is revoked")
    sneaky = manage(house, "PATCH", f"/agents/{made['id']}", {"lifecycle_state": "active"})[1]
    assert sneaky["lifecycle_state"] == "revoked"


def test_an_agent_of_the_config_keeps_its_name_and_its_place(house: SidClaws) -> None:
    assert manage(house, "PATCH", "/agents/mailer", {"owner_name": "Dana"})[1]["owner_name"] == "Dana"
    assert manage(house, "PATCH", "/agents/mailer", {"name": "root"})[0] == 400
    assert manage(house, "DELETE", "/agents/mailer")[0] == 409
    assert manage(house, "POST", "/agents", {"name": ""})[0] == 400
    manage(house, "PATCH", "/agents/mailer", {"owner_name": ""})


# -- webhooks ---------------------------------------------------------------------------------------------


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    got: list[tuple[dict[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    server.server_close()


def test_webhooks_hear_of_everything_signed_whatever_road_decided(
    house: SidClaws, inbox: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    url, got = inbox
    status, hook = manage(house, "POST", "/webhooks", {"url": url, "events": list(EVENTS)})
    assert status == 201
    assert len(hook["secret"]) == 64
    approved, denied = house.waiting(), house.waiting()
    house.decide("approve", approved)
    house.gateway.post(f"/hitl/deny/{denied.replace('-', '')}")
    trace = house.evaluate("read_contact", target_integration="crm").json()["trace_id"]
    house.ask("POST", f"/traces/{trace}/outcome", {"status": "success"})
    manage(house, "POST", "/agents/other/suspend")
    manage(house, "POST", "/agents/other/reactivate")
    made = manage(house, "POST", "/agents", {"name": "short-lived"})[1]
    manage(house, "POST", f"/agents/{made['id']}/revoke")
    body = {"policy_name": "p", "policy_effect": "deny", "rationale": "because it is so", "operation": "no"}
    manage(house, "POST", "/policies", body)
    expected = {
        "approval.requested",
        "approval.approved",
        "approval.denied",
        "trace.completed",
        "agent.suspended",
        "agent.revoked",
        "policy.updated",
    }
    house.gateway.until(lambda: expected <= {json.loads(body)["event"] for _, body in got})
    for headers, sent in got:
        mark = hmac.new(hook["secret"].encode(), sent, hashlib.sha256).hexdigest()
        assert headers["X-Webhook-Signature"] == f"sha256={mark}"
        assert headers["X-Webhook-ID"]
        assert headers["X-Webhook-Timestamp"]
        payload = json.loads(sent)
        assert set(payload) == {"id", "event", "timestamp", "tenant_id", "data"}
    (told,) = [json.loads(one) for _, one in got if json.loads(one)["event"] == "approval.approved"]
    assert (told["data"]["id"], told["data"]["status"]) == (approved, "approved")
    assert "code" not in told["data"]
    rows = house.gateway.until(
        lambda: (
            (rows := manage(house, "GET", f"/webhooks/{hook['id']}/deliveries")[1]["data"])
            and all(row["status"] == "delivered" for row in rows)
            and rows
        )
    )
    assert {row["http_status"] for row in rows} == {200}
    assert manage(house, "POST", f"/webhooks/{hook['id']}/test")[0] == 202
    house.gateway.until(lambda: "test" in {json.loads(body)["event"] for _, body in got})
    assert manage(house, "DELETE", f"/webhooks/{hook['id']}") == (204, None)
    assert manage(house, "GET", f"/webhooks/{hook['id']}")[0] == 404


def test_an_expired_approval_is_told(
    house: SidClaws, inbox: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    url, got = inbox
    hook = manage(house, "POST", "/webhooks", {"url": url, "events": ["approval.expired"]})[1]
    body = {
        "policy_name": "soon",
        "policy_effect": "approval_required",
        "rationale": "because it is so",
        "operation": "hurry",
        "max_session_ttl": 1,
    }
    manage(house, "POST", "/policies", body)
    approval = house.waiting(operation="hurry")
    house.gateway.until(lambda: house.status(approval)["status"] == "expired")
    house.gateway.run(house.gateway.gate.tidy())
    house.gateway.until(lambda: got)
    payload = json.loads(got[0][1])
    assert (payload["event"], payload["data"]["id"]) == ("approval.expired", approval)
    manage(house, "DELETE", f"/webhooks/{hook['id']}")


def test_a_webhook_is_changed_and_its_secret_is_never_shown_again(house: SidClaws) -> None:
    url = "https://hooks.example"
    hook = manage(house, "POST", "/webhooks", {"url": url, "events": ["*"], "description": "mine"})[1]
    path = f"/webhooks/{hook['id']}"
    changed = manage(house, "PATCH", path, {"is_active": False, "events": ["trace.completed"]})[1]
    assert (changed["is_active"], changed["events"], changed["description"]) == (
        False,
        ["trace.completed"],
        "mine",
    )
    assert manage(house, "POST", f"{path}/test")[0] == 400
    shown = [manage(house, "GET", "/webhooks")[1], manage(house, "GET", path)[1], changed]
    assert hook["secret"] not in json.dumps(shown)
    stored = house.gateway.run(house.gateway.gate.store.find_records(RecordFilter(kind="webhook")))  # type: ignore[attr-defined]
    assert hook["secret"] not in repr(stored), "it is sealed"
    manage(house, "DELETE", path)


@pytest.mark.parametrize(
    "body",
    [
        {"url": "http://hooks.example", "events": ["*"]},
        {"url": "https://10.0.0.1/x", "events": ["*"]},
        {"url": "https://169.254.169.254/latest", "events": ["*"]},
        {"url": "https://user:pw@hooks.example", "events": ["*"]},
        {"url": "https://hooks.example", "events": ["approval.odd"]},
        {"url": "https://hooks.example", "events": []},
        {"events": ["*"]},
    ],
)
def test_a_webhook_that_may_not_be_is_400(house: SidClaws, body: dict[str, Any]) -> None:
    assert manage(house, "POST", "/webhooks", body)[0] == 400


def test_five_attempts_are_made_with_the_published_pauses() -> None:
    assert [pause // 60_000 for pause in RETRIES] == [1, 5, 30, 120]


# -- the table --------------------------------------------------------------------------------------------


def test_every_route_has_a_scope_and_what_manages_is_for_people() -> None:
    for route in FACE.routes:
        assert route.scopes, route.path
        assert route.path.startswith("/api/v1/")
        if route.method != "GET" and not any(word in route.path for word in ("/evaluate", "/traces/")):
            assert route.people, route.path


def test_every_answer_of_an_error_is_an_object_with_code_message_and_status(house: SidClaws) -> None:
    for answer in (
        house.ask("GET", "/nowhere"),
        house.ask("DELETE", "/evaluate"),
        house.ask("POST", "/evaluate", b"{"),
        house.ask("POST", "/evaluate", b"[1]"),
        house.ask("POST", "/evaluate", b"{" + b" " * 1_100_000),
        house.gateway.ask("GET", "/api/v1/approvals", headers={"Origin": "https://evil.example"}),
        house.gateway.ask("GET", "/api/v1/approvals", headers={"Host": "evil.example"}),
    ):
        body = answer.json()
        assert body["status"] == answer.status
        assert body["error"] != "internal_error"
        assert body["message"]
        assert body["request_id"] == answer.headers["x-request-id"]


def test_the_limit_of_a_key_is_told_and_holds(house: SidClaws) -> None:
    key = house.key("slow", frozenset({Scope.EVALUATE}), rate=2).text
    answers = [house.evaluate("read_contact", target_integration="crm", token=key) for _ in range(3)]
    assert [one.status for one in answers] == [200, 200, 429]
    assert answers[0].headers["X-RateLimit-Limit"] == "2"
    assert answers[0].headers["X-RateLimit-Remaining"] == "1"
    assert int(answers[0].headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert answers[2].json()["error"] == "rate_limit_exceeded"
    assert int(answers[2].headers["Retry-After"]) >= 1
