"""Every endpoint, field, scope and error of AgentGate's page, against a running gateway."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.faces import AgentGate, open_agentgate
from tests.support.gateways import SECRET


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentGate]:
    with open_agentgate(tmp_path_factory.mktemp("agentgate")) as running:
        yield running


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# -- health ----------------------------------------------------------------------------------------------


def test_health_needs_no_key_and_has_status_and_timestamp(gate: AgentGate) -> None:
    answer = gate.ask("GET", "/health", by="nobody")
    assert answer.status == 200
    assert answer.json().keys() == {"status", "timestamp"}
    assert answer.json()["status"] == "ok"
    assert moment(answer.json()["timestamp"]).tzinfo is not None


def test_health_with_a_key_of_this_api_answers_too(gate: AgentGate) -> None:
    answer = gate.ask("GET", "/health", by="agent")
    assert (answer.status, answer.json()["status"]) == (200, "ok")


def test_health_does_not_mind_a_key_that_is_wrong(gate: AgentGate) -> None:
    answer = gate.gateway.get("/health", token="agk_" + "x" * 43)
    assert (answer.status, answer.json().keys()) == (200, {"status", "timestamp"})


def test_health_tells_the_people_all_of_it(gate: AgentGate) -> None:
    answer = gate.ask("GET", "/health", by="secret")
    assert {"status", "timestamp", "uptime", "pending_hitl", "version"} <= answer.json().keys()


# -- create ----------------------------------------------------------------------------------------------


def test_a_request_is_created_with_every_field_of_the_page(gate: AgentGate) -> None:
    body = {
        "action": "send_email",
        "params": {"to": "customer@example.com", "subject": "Order shipped"},
        "context": {"orderId": "12345"},
        "urgency": "normal",
        "expiresAt": in_an_hour(),
    }
    answer = gate.ask("POST", "/api/requests", body)
    assert answer.status == 201
    made = answer.json()
    assert made["id"].startswith("req_")
    assert {name: made[name] for name in ("action", "params", "context", "urgency")} == {
        name: body[name] for name in ("action", "params", "context", "urgency")
    }
    assert made["status"] == "pending"
    assert moment(made["expiresAt"]) == moment(str(body["expiresAt"]))
    assert abs(moment(made["createdAt"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_only_the_action_is_required(gate: AgentGate) -> None:
    made = gate.request("just_this")
    assert (made["status"], made["urgency"], made["params"], made["context"]) == ("pending", "normal", {}, {})
    life = moment(made["expiresAt"]) - moment(made["createdAt"])
    assert timedelta(minutes=59) < life <= timedelta(hours=1)


@pytest.mark.parametrize("urgency", ["low", "normal", "high", "critical"])
def test_every_urgency_is_kept_and_shown_to_people_as_a_risk(gate: AgentGate, urgency: str) -> None:
    made = gate.request(f"urgent_{urgency}", urgency=urgency)
    assert made["urgency"] == urgency
    shown = gate.gateway.get(f"/hitl/{made['id'].removeprefix('req_')}").json()
    assert shown["risk"] == {"low": "low", "normal": "low", "high": "medium", "critical": "high"}[urgency]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"action": ""},
        {"action": 7},
        {"action": "a\nb"},
        {"action": "x" * 201},
        {"action": "x", "params": []},
        {"action": "x", "context": "c"},
        {"action": "x", "urgency": "soon"},
        {"action": "x", "expiresAt": "tomorrow"},
        {"action": "x", "expiresAt": "2020-01-01T00:00:00Z"},
        {"action": "x", "expiresAt": 17},
        {"action": "x", "params": {"_context": 1}},
        b"{",
        b"[]",
        b'{"action": "x", "action": "y"}',
    ],
    ids=repr,
)
def test_a_wrong_body_is_a_bad_request(gate: AgentGate, wrong: Any) -> None:
    answer = gate.ask("POST", "/api/requests", wrong)
    assert answer.status == 400
    assert answer.json()["error"]["code"] == "bad_request"
    assert answer.json()["error"]["message"]


# -- list ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(gate: AgentGate) -> list[dict[str, Any]]:
    made = [gate.request("listed", urgency=urgency) for urgency in ("low", "high", "high")]
    gate.decide(made[1]["id"])
    gate.decide(made[2]["id"], "denied")
    return made


def test_the_list_is_a_plain_array_newest_first(gate: AgentGate, several: list[dict[str, Any]]) -> None:
    rows = gate.ask("GET", "/api/requests?action=listed").json()
    assert [row["id"] for row in rows] == [row["id"] for row in reversed(several)]
    assert {"id", "action", "status", "urgency", "createdAt"} <= rows[0].keys()


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("status=pending", [0]),
        ("status=approved", [1]),
        ("status=denied", [2]),
        ("status=expired", []),
        ("urgency=high", [2, 1]),
        ("urgency=low&status=pending", [0]),
        ("limit=2", [2, 1]),
        ("limit=2&offset=2", [0]),
        ("offset=5", []),
    ],
)
def test_the_list_is_filtered_and_paged(
    gate: AgentGate, several: list[dict[str, Any]], query: str, places: list[int]
) -> None:
    rows = gate.ask("GET", f"/api/requests?action=listed&{query}").json()
    assert [row["id"] for row in rows] == [several[place]["id"] for place in places]


def test_fifty_are_listed_unless_told_otherwise(gate: AgentGate) -> None:
    for _ in range(51):
        gate.request("many", by="bound")
        gate.gateway.app.state.services.limits._buckets.clear()
    assert len(gate.ask("GET", "/api/requests?action=many").json()) == 50
    assert len(gate.ask("GET", "/api/requests?action=many&limit=60").json()) == 51


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=0", "limit=-1", "offset=-1", "status=odd", "urgency=odd", "limit=1&limit=2"]
)
def test_a_wrong_parameter_is_a_bad_request(gate: AgentGate, query: str) -> None:
    answer = gate.ask("GET", f"/api/requests?{query}")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_request")


# -- get, decide -----------------------------------------------------------------------------------------


def test_an_approved_request_says_by_whom_when_and_why(gate: AgentGate) -> None:
    made = gate.request(params={"to": "x"}, context={"orderId": "1"})
    answer = gate.decide(made["id"], reason="Verified by security team")
    assert answer.status == 200
    assert {"id", "status", "decidedBy", "decidedAt"} <= answer.json().keys()
    assert (answer.json()["status"], answer.json()["decidedBy"]) == ("approved", "boss")
    seen = gate.get(made["id"])
    assert seen["params"] == {"to": "x"}
    assert seen["context"] == {"orderId": "1"}
    assert (seen["status"], seen["decidedBy"]) == ("approved", "boss")
    assert seen["decisionReason"] == "Verified by security team"
    assert moment(seen["decidedAt"]) >= moment(seen["createdAt"])


def test_a_denied_request_says_so(gate: AgentGate) -> None:
    made = gate.request()
    assert gate.decide(made["id"], "denied", reason="no").json()["status"] == "denied"
    seen = gate.get(made["id"])
    assert (seen["status"], seen["decisionReason"]) == ("denied", "no")


def test_the_decider_is_the_key_and_not_who_the_body_names(gate: AgentGate) -> None:
    made = gate.request()
    assert gate.decide(made["id"], decidedBy="ceo@example.com").json()["decidedBy"] == "boss"


def test_a_second_decision_is_a_conflict(gate: AgentGate) -> None:
    made = gate.request()
    gate.decide(made["id"])
    for decision in ("approved", "denied"):
        answer = gate.decide(made["id"], decision, by="second")
        assert (answer.status, answer.json()["error"]["code"]) == (409, "conflict")
    assert gate.get(made["id"])["status"] == "approved"


@pytest.mark.parametrize("wrong", [{}, {"decision": "maybe"}, {"decision": None}, {"reason": "x"}], ids=repr)
def test_a_wrong_decision_is_a_bad_request_and_decides_nothing(gate: AgentGate, wrong: Any) -> None:
    made = gate.request()
    answer = gate.ask("POST", f"/api/requests/{made['id']}/decide", wrong, by="boss")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_request")
    assert gate.get(made["id"])["status"] == "pending"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/requests/req_nothing", None),
        ("POST", "/api/requests/req_nothing/decide", {"decision": "approved"}),
        ("POST", "/api/requests/req_nothing/confirm", {}),
        ("GET", "/api/requests/req_nothing/audit", None),
        ("DELETE", "/api/keys/key_nothing", None),
        ("DELETE", "/api/webhooks/wh_nothing", None),
        ("GET", "/api/policies/pol_nothing", None),
        ("GET", "/api/nothing", None),
    ],
)
def test_what_is_not_there_is_not_found(gate: AgentGate, method: str, path: str, body: Any) -> None:
    answer = gate.ask(method, path, body, by="secret")
    assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_request_is_not_found_by_its_code(gate: AgentGate) -> None:
    made = gate.request()
    code = gate.gateway.get(f"/hitl/{made['id'].removeprefix('req_')}").json()["code"]
    assert gate.ask("GET", f"/api/requests/{code}").status == 404


# -- confirm, audit --------------------------------------------------------------------------------------


def test_an_approved_action_is_confirmed_once_by_whoever_asked(gate: AgentGate) -> None:
    made = gate.request()
    path = f"/api/requests/{made['id']}/confirm"
    result = {"success": True, "messageId": "msg_xyz"}
    assert gate.ask("POST", path, {"result": result}).status == 409, "nobody approved it yet"
    gate.decide(made["id"])
    assert gate.ask("POST", path, {"result": result}, by="other").status == 403
    assert gate.ask("POST", path, {"result": []}).status == 400
    answer = gate.ask("POST", path, {"result": result})
    assert answer.status == 200
    assert (answer.json()["status"], answer.json()["result"]) == ("approved", result)
    assert answer.json()["confirmedAt"]
    assert gate.ask("POST", path, {"result": result}).json()["error"]["code"] == "conflict"


def test_an_administrator_may_confirm_and_a_body_may_be_absent(gate: AgentGate) -> None:
    made = gate.request()
    gate.decide(made["id"])
    assert gate.ask("POST", f"/api/requests/{made['id']}/confirm", by="admin").status == 200


def test_a_denied_action_cannot_be_confirmed(gate: AgentGate) -> None:
    made = gate.request()
    gate.decide(made["id"], "denied")
    assert gate.ask("POST", f"/api/requests/{made['id']}/confirm", {}).status == 409


def test_the_audit_trail_is_that_of_the_page(gate: AgentGate) -> None:
    made = gate.request()
    gate.decide(made["id"], reason="Looks good")
    gate.ask("POST", f"/api/requests/{made['id']}/confirm", {"result": {"success": True}})
    rows = gate.ask("GET", f"/api/requests/{made['id']}/audit").json()
    assert [(row["event"], row["actor"], row.get("details")) for row in rows] == [
        ("created", "agent", None),
        ("approved", "boss", {"reason": "Looks good"}),
        ("confirmed", "agent", {"success": True}),
    ]
    assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)


def test_a_denial_is_in_the_trail(gate: AgentGate) -> None:
    made = gate.request()
    gate.decide(made["id"], "denied")
    rows = gate.ask("GET", f"/api/requests/{made['id']}/audit").json()
    assert [row["event"] for row in rows] == ["created", "denied"]


# -- keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/keys", "/api/api-keys"])
def test_a_key_is_made_listed_without_its_text_and_revoked(gate: AgentGate, path: str) -> None:
    body = {"name": "My Agent", "scopes": ["request:create", "request:read"], "rateLimit": 60}
    answer = gate.ask("POST", path, body, by="admin")
    assert answer.status == 201
    made = answer.json()
    assert made["key"].startswith("agk_")
    assert {name: made[name] for name in body} == body
    listed = gate.ask("GET", path, by="admin").json()
    (row,) = [one for one in listed if one["id"] == made["id"]]
    assert "key" not in row
    assert {name: row[name] for name in body} == body
    assert gate.gateway.get("/api/requests", token=made["key"]).status == 200
    assert gate.ask("DELETE", f"{path}/{made['id']}", by="admin").status == 200
    assert gate.gateway.get("/api/requests", token=made["key"]).status == 401
    assert gate.ask("DELETE", f"{path}/{made['id']}", by="admin").status == 404
    assert made["id"] not in {one["id"] for one in gate.ask("GET", path, by="admin").json()}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": "x"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "scopes": ["hook"]},
        {"name": "x", "scopes": ["admin"], "rateLimit": 0},
        {"name": "x", "scopes": ["admin"], "rateLimit": "60"},
        {"name": "", "scopes": ["admin"]},
        {"name": "x", "scopes": ["request:read"], "agentId": "nobody"},
        {"name": "x", "scopes": ["request:decide"], "agentId": "billing"},
        {"name": "x", "scopes": ["request:read"], "expiresAt": "2020-01-01T00:00:00Z"},
    ],
    ids=repr,
)
def test_a_wrong_key_is_a_bad_request(gate: AgentGate, wrong: Any) -> None:
    answer = gate.ask("POST", "/api/keys", wrong, by="admin")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_request")


def test_a_key_ends_when_it_says(gate: AgentGate) -> None:
    with HourKey(gate) as key:
        assert gate.gateway.get("/api/requests", token=key).status == 200
        gate.clock.forward(3_700_000)
        assert gate.gateway.get("/api/requests", token=key).status == 401


class HourKey:
    """A key for an hour; afterwards the clock is as it was."""

    def __init__(self, gate: AgentGate) -> None:
        self._gate = gate

    def __enter__(self) -> str:
        return self._gate.make_key("hour", "request:read", expiresAt=in_an_hour(), owner="alice")

    def __exit__(self, *_: object) -> None:
        self._gate.clock.ahead_ms = 0


# -- policies --------------------------------------------------------------------------------------------


def test_a_policy_is_stored_listed_changed_and_dropped(gate: AgentGate) -> None:
    body = {
        "name": "auto-approve-low-risk",
        "priority": 10,
        "enabled": True,
        "rules": [{"match": {"action": "never_sent"}, "decision": "auto_approve"}],
    }
    answer = gate.ask("POST", "/api/policies", body, by="admin")
    assert answer.status == 201
    made = answer.json()
    assert made["id"].startswith("pol_")
    assert {name: made[name] for name in body} == body
    rows = gate.ask("GET", "/api/policies", by="admin").json()
    assert [{name: row[name] for name in body} for row in rows if row["id"] == made["id"]] == [body]
    path = f"/api/policies/{made['id']}"
    changed = gate.ask("PUT", path, {"enabled": False}, by="admin").json()
    assert (changed["enabled"], changed["name"]) == (False, body["name"])
    assert gate.ask("GET", path, by="admin").json()["enabled"] is False
    assert gate.ask("DELETE", path, by="admin").json()["success"] is True
    assert gate.ask("GET", path, by="admin").status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": ""},
        {"name": "x", "priority": "first"},
        {"name": "x", "enabled": "yes"},
        {"name": "x", "rules": {}},
        {"name": "x", "rules": [{"match": {}}]},
        {"name": "x", "rules": [{"match": [], "decision": "auto_deny"}]},
        {"name": "x", "rules": [{"match": {}, "decision": "allow"}]},
        {"name": "x", "rules": [{"match": {"a": {"$near": 1}}, "decision": "auto_deny"}]},
        {"name": "x", "rules": [{"match": {"a": {"$regex": "("}}, "decision": "auto_deny"}]},
        {"name": "x", "rules": [{"match": {"a": {"$gt": "1"}}, "decision": "auto_deny"}]},
        {"name": "x", "rules": [{"match": {"a": {"$in": 1}}, "decision": "auto_deny"}]},
        {"name": "x", "rules": [{"match": {}, "decision": "auto_deny", "approvers": ["nobody"]}]},
    ],
    ids=repr,
)
def test_a_policy_that_cannot_be_read_is_refused(gate: AgentGate, wrong: Any) -> None:
    answer = gate.ask("POST", "/api/policies", wrong, by="admin")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_request")


# -- webhooks --------------------------------------------------------------------------------------------


def test_a_webhook_is_registered_listed_without_its_secret_and_dropped(gate: AgentGate) -> None:
    body = {
        "url": "https://example.com/webhook",
        "events": ["request.created", "request.decided"],
        "secret": "optional-signing-secret",
    }
    answer = gate.ask("POST", "/api/webhooks", body, by="hooks")
    assert answer.status == 201
    made = answer.json()
    assert {name: made[name] for name in body} == body
    (row,) = gate.ask("GET", "/api/webhooks", by="hooks").json()
    assert (row["id"], row["url"], row["events"]) == (made["id"], body["url"], body["events"])
    assert "secret" not in row
    assert gate.ask("DELETE", f"/api/webhooks/{made['id']}", by="hooks").status == 200
    assert gate.ask("GET", "/api/webhooks", by="hooks").json() == []


def test_a_webhook_without_a_secret_gets_one(gate: AgentGate) -> None:
    body = {"url": "https://example.com/webhook", "events": ["*"]}
    made = gate.ask("POST", "/api/webhooks", body, by="hooks").json()
    assert len(made["secret"]) == 64
    gate.ask("DELETE", f"/api/webhooks/{made['id']}", by="hooks")


@pytest.mark.parametrize(
    "wrong",
    [
        {"events": ["request.created"]},
        {"url": "https://example.com/"},
        {"url": "https://example.com/", "events": []},
        {"url": "https://example.com/", "events": ["request.burned"]},
        {"url": "http://example.com/", "events": ["*"]},
        {"url": "https://10.0.0.1/", "events": ["*"]},
        {"url": "https://169.254.169.254/latest", "events": ["*"]},
        {"url": "https://user:pass@example.com/", "events": ["*"]},
        {"url": "ftp://example.com/", "events": ["*"]},
        {"url": "https://example.com/", "events": ["*"], "secret": 7},
    ],
    ids=repr,
)
def test_a_wrong_webhook_is_a_bad_request(gate: AgentGate, wrong: Any) -> None:
    answer = gate.ask("POST", "/api/webhooks", wrong, by="hooks")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "bad_request")


# -- keys and scopes -------------------------------------------------------------------------------------

ROUTES = {
    ("POST", "/api/requests"): {"request:create"},
    ("GET", "/api/requests"): {"request:read"},
    ("GET", "/api/requests/x"): {"request:read"},
    ("POST", "/api/requests/x/decide"): {"request:decide"},
    ("POST", "/api/requests/x/confirm"): {"request:create"},
    ("GET", "/api/requests/x/audit"): {"request:read"},
    ("GET", "/api/policies"): set(),
    ("POST", "/api/policies"): set(),
    ("POST", "/api/keys"): set(),
    ("GET", "/api/keys"): set(),
    ("DELETE", "/api/keys/x"): set(),
    ("GET", "/api/webhooks"): {"webhook:manage"},
    ("POST", "/api/webhooks"): {"webhook:manage"},
    ("DELETE", "/api/webhooks/x"): {"webhook:manage"},
}
"""The page's routes and the scopes that open them; `admin` opens all."""

HOLDERS = {
    "agent": {"request:create", "request:read"},
    "boss": {"request:read", "request:decide"},
    "hooks": {"webhook:manage"},
    "admin": {"request:create", "request:read", "request:decide", "webhook:manage", "admin"},
}


@pytest.mark.parametrize(("method", "path"), list(ROUTES), ids=str)
@pytest.mark.parametrize("holder", list(HOLDERS))
def test_a_route_opens_for_its_scope_and_for_no_other(
    gate: AgentGate, method: str, path: str, holder: str
) -> None:
    answer = gate.ask(method, path, {} if method == "POST" else None, by=holder)
    if "admin" in HOLDERS[holder] or ROUTES[method, path] & HOLDERS[holder]:
        assert answer.status in {200, 400, 404}, answer.body
    else:
        assert (answer.status, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(("method", "path"), list(ROUTES), ids=str)
def test_without_a_key_or_with_a_wrong_one_nothing_opens(gate: AgentGate, method: str, path: str) -> None:
    gate.gateway.app.state.services.authenticator._guesses._buckets.clear()
    for token in (None, "agk_" + "x" * 43, "nonsense"):
        answer = gate.gateway.ask(method, path, {} if method == "POST" else None, token=token)
        assert (answer.status, answer.json()["error"]["code"]) == (401, "unauthorized")


def test_a_key_of_an_agent_decides_nothing_and_sees_only_its_own(gate: AgentGate) -> None:
    mine, foreign = gate.request("bound_act", by="bound"), gate.request("free_act")
    assert mine["agentId"] == "billing"
    rows = gate.ask("GET", "/api/requests?limit=1000", by="bound").json()
    assert {row["agentId"] for row in rows} == {"billing"}
    assert gate.ask("GET", f"/api/requests/{foreign['id']}", by="bound").status == 404
    assert gate.decide(mine["id"], by="bound").status == 403


def test_who_asks_cannot_decide_whatever_the_key_may(gate: AgentGate) -> None:
    made = gate.request(by="both")
    answer = gate.decide(made["id"], by="both")
    assert (answer.status, answer.json()["error"]["code"]) == (403, "forbidden")
    code = gate.gateway.get(f"/hitl/{made['id'].removeprefix('req_')}").json()["code"]
    assert code not in answer.body.decode()
    assert gate.get(made["id"])["status"] == "pending"
    assert gate.decide(gate.request()["id"], by="both").status == 200, "it may decide what others ask"


def test_an_error_inside_is_an_object_too(gate: AgentGate) -> None:
    answer = gate.ask("PATCH", "/api/requests")
    assert (answer.status, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    answer = gate.ask("POST", "/api/requests", b"x" * 2_000_000)
    assert (answer.status, answer.json()["error"]["code"]) == (413, "payload_too_large")
    answer = gate.ask("GET", "/api/requests", headers={"Host": "evil.example"})
    assert (answer.status, answer.json()["error"]["code"]) == (421, "misdirected")


def test_airlocks_own_routes_keep_their_own_errors(gate: AgentGate) -> None:
    assert gate.ask("GET", "/hitl/pending", by="nobody").json() == {"error": "Unauthorized", "details": None}


# -- limits ----------------------------------------------------------------------------------------------


def test_a_key_has_its_limit_with_the_three_headers_and_429_beyond(gate: AgentGate) -> None:
    key = gate.make_key("slow", "request:read", rateLimit=3)
    answers = [gate.gateway.get("/api/requests?limit=1", token=key) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["X-RateLimit-Limit"] for answer in answers] == ["3"] * 4
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert all(0 < int(answer.headers["X-RateLimit-Reset"]) <= 60 for answer in answers)
    assert answers[3].json()["error"]["code"] == "rate_limited"
    assert int(answers[3].headers["Retry-After"]) >= 1
    try:
        gate.clock.forward(120_000)
        assert gate.gateway.get("/api/requests?limit=1", token=key).status == 200
    finally:
        gate.clock.ahead_ms = 0
        gate.gateway.app.state.services.limits._buckets.clear()


def test_the_window_slides(gate: AgentGate) -> None:
    key = gate.make_key("sliding", "request:read", rateLimit=4)
    try:
        for _ in range(4):
            assert gate.gateway.get("/api/requests?limit=1", token=key).status == 200
        gate.clock.forward(75_000)  # a quarter of the next window: three quarters of the four still count
        statuses = [gate.gateway.get("/api/requests?limit=1", token=key).status for _ in range(3)]
        assert statuses == [200, 429, 429]
    finally:
        gate.clock.ahead_ms = 0
        gate.gateway.app.state.services.limits._buckets.clear()


# -- expiry ----------------------------------------------------------------------------------------------


def test_a_request_really_expires_and_cannot_be_decided_then(gate: AgentGate) -> None:
    made = gate.request("expiring", expiresAt=in_an_hour())
    try:
        gate.clock.forward(3_700_000)
        assert gate.get(made["id"])["status"] == "expired"
        rows = gate.ask("GET", "/api/requests?status=expired&action=expiring").json()
        assert [row["id"] for row in rows] == [made["id"]]
        assert gate.ask("GET", "/api/requests?status=pending&action=expiring").json() == []
        answer = gate.decide(made["id"])
        assert (answer.status, answer.json()["error"]["code"]) == (409, "conflict")
        gate.gateway.run(gate.gateway.gate.tidy())
        events = gate.ask("GET", f"/api/requests/{made['id']}/audit").json()
        assert [row["event"] for row in events] == ["created", "expired"]
        assert events[1]["actor"] == "system"
    finally:
        gate.clock.ahead_ms = 0


def test_an_approval_that_nobody_took_ends_with_the_request(gate: AgentGate) -> None:
    taken, left = (gate.request("taken", expiresAt=in_an_hour()) for _ in range(2))
    gate.decide(taken["id"])
    gate.decide(left["id"])
    assert gate.get(taken["id"])["status"] == "approved"
    try:
        gate.clock.forward(3_700_000)
        assert gate.get(taken["id"])["status"] == "approved"
        assert gate.get(left["id"])["status"] == "expired"
        assert gate.ask("POST", f"/api/requests/{left['id']}/confirm", {}).status == 409
    finally:
        gate.clock.ahead_ms = 0


# -- sending again ---------------------------------------------------------------------------------------


def test_two_equal_requests_are_two_questions(gate: AgentGate) -> None:
    one, other = gate.request("twice", params={"n": 1}), gate.request("twice", params={"n": 1})
    assert one["id"] != other["id"]
    gate.decide(one["id"])
    assert gate.get(one["id"])["status"] == "approved"
    assert gate.get(other["id"])["status"] == "pending"


def test_an_idempotency_key_makes_one_request_of_two(gate: AgentGate) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first = gate.ask("POST", "/api/requests", {"action": "once"}, headers=headers)
    again = gate.ask("POST", "/api/requests", {"action": "once"}, headers=headers)
    assert (first.status, again.status) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    changed = gate.ask("POST", "/api/requests", {"action": "else"}, headers=headers)
    assert (changed.status, changed.json()["error"]["code"]) == (409, "conflict")
    stranger = gate.ask("POST", "/api/requests", {"action": "once"}, headers=headers, by="other")
    assert stranger.json()["id"] != first.json()["id"]


def test_the_secret_is_the_peoples_and_may_do_all_of_it(gate: AgentGate) -> None:
    made = gate.request(by="secret")
    assert gate.decide(made["id"], by="secret").json()["decidedBy"] == "secret"
    assert SECRET not in str(gate.get(made["id"], by="secret"))
