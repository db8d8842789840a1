"""`/v1/actions` of the Agent Action Firewall: submitted, judged, looked at; who may, and in what words."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from airlock.apikeys import Scope
from airlock.model import Effect, Risk
from airlock.web.compat.firewall.opinions import HOUR, MOST_LIFE, USUAL_LIFE, Opinion
from airlock.web.compat.firewall.ruling import joined
from airlock.web.compat.firewall.words import policy_name
from tests.support.firewalls import AGENT, Firewall, open_firewall
from tests.support.gateways import BOUND, SECRET

ASKED = "pending_approval"


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firewall]:
    with open_firewall(tmp_path_factory.mktemp("actions")) as running:
        yield running


def waiting(wall: Firewall, action: dict[str, Any]) -> dict[str, Any]:
    own = action["id"].removeprefix("act_")
    return wall.gateway.get(f"/hitl/{own}").json()  # type: ignore[no-any-return]


def test_an_action_is_allowed_denied_or_asked_about(wall: Firewall) -> None:
    allowed = wall.submit("read", tool="database", by="bound")
    denied = wall.submit("drop", tool="database", by="bound")
    asked = wall.submit("update", tool="database", by="bound", params={"id": 7})
    assert [one["status"] for one in (allowed, denied, asked)] == ["allowed", "denied", "pending_approval"]
    assert [one["decision"]["decision"] for one in (allowed, denied, asked)] == [
        "allow",
        "deny",
        "require_approval",
    ]
    assert (allowed["approval"], denied["approval"]) == (None, None)
    assert allowed["decision"]["policy_id"] == "agents.crm-agent.allow"
    assert asked["decision"]["reason"]


def test_a_submitted_action_has_every_field(wall: Firewall) -> None:
    context = {"user_id": "u1", "session_id": "s1", "purpose": "tidying", "metadata": {"a": 1}}
    made = wall.submit("send", params={"to": "eve"}, context=context, metadata={"ticket": "T1"})
    assert made["id"].startswith("act_")
    assert made["approval"]["id"].startswith("apr_")
    assert (made["tool"], made["operation"], made["params"]) == ("mail", "send", {"to": "eve"})
    assert (made["context"], made["metadata"]) == (context, {"ticket": "T1"})
    assert made["agent_id"] == "firewall"
    assert made["execution"] is None
    assert wall.get(made["id"]) == made
    row = waiting(wall, made)
    assert row["tool"] == "firewall/mail/send"
    assert row["args"] == {"to": "eve", "_context": context, "_metadata": {"ticket": "T1"}}
    assert row["session_id"] == "s1"
    assert row["code"] not in json.dumps(made), "a code is for people"


def test_the_status_is_in_the_code_too(wall: Firewall) -> None:
    body = {"tool": "database", "operation": "read", "params": {}}
    assert wall.ask("POST", "/v1/actions", body, by="bound").status == 201
    assert wall.ask("POST", "/v1/actions", {**body, "operation": "update"}, by="bound").status == 202


def test_after_an_approval_the_action_is_allowed(wall: Firewall) -> None:
    action = wall.submit()
    decided = wall.decide(action)
    assert decided.status == 200, decided.body
    assert decided.json()["status"] == "approved"
    found = wall.get(action["id"])
    assert found["status"] == "allowed"
    assert found["approval"]["approved_by"]["name"] == "boss"
    assert found["approval"]["comment"] == "go on"
    assert wall.get(action["id"])["status"] == "allowed", "a poll that is repeated hears the same"
    assert waiting(wall, action)["status"] == "used"


def test_after_a_denial_it_is_denied(wall: Firewall) -> None:
    action = wall.submit()
    wall.decide(action, "deny")
    found = wall.get(action["id"])
    assert (found["status"], found["approval"]["status"]) == ("denied", "denied")
    assert found["approval"]["reason"] == "no way"


def test_what_nobody_answers_expires_after_a_day_or_as_the_rule_says(wall: Firewall) -> None:
    usual, soon = wall.submit(), wall.submit("quick")
    wall.clock.forward(6_000)
    assert wall.get(soon["id"])["status"] == "expired"
    assert wall.get(usual["id"])["status"] == "pending_approval"
    wall.clock.forward(23 * 3_600_000)
    assert wall.get(usual["id"])["status"] == "pending_approval"
    wall.clock.forward(3_600_000)
    found = wall.get(usual["id"])
    assert (found["status"], found["approval"]["status"]) == ("expired", "expired")


def test_an_approval_that_was_taken_back_is_denied(wall: Firewall) -> None:
    action = wall.submit()
    wall.decide(action)
    wall.gateway.run(wall.gateway.gate.undo(waiting(wall, action)["code"], "local:bob"))
    assert wall.get(action["id"])["status"] == "denied"


def test_where_no_policy_names_it_a_person_is_asked(wall: Firewall) -> None:
    made = wall.submit("whatever", tool="unheard_of")
    assert made["status"] == "pending_approval"
    assert made["decision"]["policy_id"] is None
    assert "no policy names it" in made["decision"]["reason"]


def test_rules_look_at_the_params_and_tell_the_risk(wall: Firewall) -> None:
    denied = wall.submit("pay", tool="bank", params={"amount": 5_000})
    assert (denied["status"], denied["decision"]["reason"]) == ("denied", "too much")
    assert wall.submit("pay", tool="bank", params={"amount": 5})["status"] == "pending_approval"
    assert wall.submit("wire", tool="bank")["decision"]["risk_level"] == "high"


# -- what is sent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"tool": None}, "tool"),
        ({"tool": ""}, "tool"),
        ({"tool": "  "}, "tool"),
        ({"tool": " mail"}, "tool"),
        ({"tool": "a\nb"}, "tool"),
        ({"tool": 7}, "tool"),
        ({"tool": "x" * 201}, "tool"),
        ({"operation": None}, "operation"),
        ({"operation": ["x"]}, "operation"),
        ({"params": None}, "params"),
        ({"params": []}, "params"),
        ({"params": "x"}, "params"),
        ({"params": {"_context": {}}}, "params._context"),
        ({"context": []}, "context"),
        ({"metadata": "x"}, "metadata"),
        ({"idempotency_key": 7}, "idempotency_key"),
        ({"idempotency_key": "x" * 256}, "idempotency_key"),
    ],
)
def test_what_cannot_be_read_is_a_validation_error_that_names_the_field(
    wall: Firewall, wrong: dict[str, Any], field: str
) -> None:
    body = {"tool": "mail", "operation": "send", "params": {}, **wrong}
    answer = wall.ask("POST", "/v1/actions", {name: one for name, one in body.items() if one is not None})
    assert answer.status == 400, answer.body
    error = answer.json()
    assert error["error"] == "VALIDATION_ERROR"
    assert (error["details"]["field"], bool(error["details"]["issue"])) == (field, True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"tool": "a", "tool": "b"}'])
def test_a_body_that_is_none_is_a_validation_error(wall: Firewall, body: bytes) -> None:
    answer = wall.ask("POST", "/v1/actions", body)
    assert (answer.status, answer.json()["error"]) == (400, "VALIDATION_ERROR")


def test_an_operation_is_the_same_in_any_case(wall: Firewall) -> None:
    for word in ("drop", "DROP", "Drop", "dROP"):
        assert wall.submit(word, tool="database", by="bound")["status"] == "denied"
    shown = wall.submit("UPDATE", tool="database", by="bound")
    assert (shown["operation"], shown["status"]) == ("UPDATE", "pending_approval")
    assert waiting(wall, shown)["tool"] == "firewall/database/update"


def test_names_with_slashes_stay_within_their_segment(wall: Firewall) -> None:
    """An agent that calls its tool `database/read` does not become that one."""
    for tool, operation in (("database/read", "x"), ("database", "read/x"), ("..", "database/read")):
        assert wall.submit(operation, tool=tool, by="bound")["status"] != "allowed"
    assert policy_name("a/b", "C/d%") == "a%2Fb/c%2Fd%25"
    assert policy_name("x", "\u212a") == "x/%E2%84%AA", "only plain letters change their case"


def test_a_header_names_nobody(wall: Firewall) -> None:
    body = {"tool": "database", "operation": "read", "params": {"n": 1}}
    answer = wall.ask("POST", "/v1/actions", body, headers={"X-Agent-Id": "crm-agent"})
    made = answer.json()
    assert (made["agent_id"], made["status"]) == ("firewall", "pending_approval")
    assert waiting(wall, made)["client"] == "crm-agent", "shown, and believed in nothing"


# -- idempotency ------------------------------------------------------------------------------------------


def test_a_key_that_comes_again_finds_its_action(wall: Firewall) -> None:
    body = {"tool": "mail", "operation": "send", "params": {"n": 1}, "idempotency_key": "k1"}
    first = wall.ask("POST", "/v1/actions", body)
    again = wall.ask("POST", "/v1/actions", body)
    assert (first.status, again.status) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    other = wall.ask("POST", "/v1/actions", {**body, "params": {"n": 2}})
    assert (other.status, other.json()["error"]) == (409, "CONFLICT")
    stranger = wall.ask("POST", "/v1/actions", body, by="other")
    assert stranger.json()["id"] != first.json()["id"], "a key is its owner's"


def test_a_key_that_comes_again_after_the_yes_spends_nothing(wall: Firewall) -> None:
    body = {"tool": "mail", "operation": "send", "params": {"n": 3}, "idempotency_key": "k3"}
    made = wall.ask("POST", "/v1/actions", body).json()
    wall.decide(made)
    assert wall.ask("POST", "/v1/actions", body).json()["status"] == "allowed"
    assert waiting(wall, made)["status"] == "approved"


def test_two_at_once_under_one_key_are_one_action(wall: Firewall) -> None:
    body = {"tool": "mail", "operation": "send", "params": {"n": 9}, "idempotency_key": "k9"}
    many = [wall.gateway.later(lambda: wall.ask("POST", "/v1/actions", body)) for _ in range(8)]
    answers = [one.result() for one in many]
    assert sorted(one.status for one in answers) == [200] * 7 + [202]
    assert len({one.json()["id"] for one in answers}) == 1


# -- who may ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Agent-Key": ""},
        {"X-Agent-Key": "nonsense"},
        {"X-Agent-Key": SECRET},
        {"X-Agent-Key": "aaf_" + "x" * 43},
        {"X-Agent-Id": "crm-agent"},
        {"Authorization": f"Bearer {SECRET}"},
    ],
)
def test_without_an_agents_key_nothing_is_submitted(wall: Firewall, headers: dict[str, str]) -> None:
    body = {"tool": "mail", "operation": "send", "params": {}}
    answer = wall.ask("POST", "/v1/actions", body, by="nobody", headers=headers)
    assert (answer.status, answer.json()["error"]) == (401, "UNAUTHORIZED")


def test_a_key_of_another_prefix_is_not_even_looked_up(wall: Firewall) -> None:
    own = wall.gateway.post("/keys", {"name": "own", "scopes": ["actions:write", "actions:read"]})
    key = own.json()["key"]
    assert key.startswith("alk_")
    sent = {"X-Agent-Key": key}
    assert wall.ask("GET", "/v1/actions", by="nobody", headers=sent).status == 401
    assert (
        wall.ask("GET", "/v1/actions", by="nobody", headers={"Authorization": f"Bearer {key}"}).status == 200
    )


def test_a_route_opens_for_its_scope_and_for_no_other(wall: Firewall) -> None:
    wall.key("reader", frozenset({Scope.ACTIONS_READ}), is_agent=True)
    body = {"tool": "mail", "operation": "send", "params": {}}
    refused = wall.ask("POST", "/v1/actions", body, by="reader")
    assert (refused.status, refused.json()["error"]) == (403, "FORBIDDEN")
    assert wall.ask("GET", "/v1/actions", by="reader").status == 200
    for path in ("/v1/approvals", "/v1/approvals/apr_x"):
        assert wall.ask("GET", path, by="reader").status == 401, "an agent's key is no bearer"
        sent = {"Authorization": f"Bearer {wall.keys['reader']}"}
        assert wall.ask("GET", path, by="nobody", headers=sent).status == 403


def test_another_agents_action_is_not_there(wall: Firewall) -> None:
    mine = wall.submit()
    for by in ("other", "bound"):
        answer = wall.ask("GET", f"/v1/actions/{mine['id']}", by=by)
        assert (answer.status, answer.json()["error"]) == (404, "NOT_FOUND")
        rows = wall.ask("GET", "/v1/actions?limit=100", by=by).json()["data"]
        assert mine["id"] not in {row["id"] for row in rows}
    assert wall.get(mine["id"], by="admin")["id"] == mine["id"]


def test_an_agents_key_sees_no_more_when_it_comes_as_a_bearer(wall: Firewall) -> None:
    mine, theirs = wall.submit(), wall.submit(by="other")
    sent = {"Authorization": f"Bearer {wall.keys['agent']}"}
    rows = wall.ask("GET", "/v1/actions?limit=100", by="nobody", headers=sent).json()["data"]
    ids = {row["id"] for row in rows}
    assert mine["id"] in ids
    assert theirs["id"] not in ids
    path = f"/v1/actions/{theirs['id']}"
    assert wall.ask("GET", path, by="nobody", headers=sent).status == 404
    trial = {"tool": "mail", "operation": "send", "params": {}}
    assert wall.ask("POST", "/v1/dry-run", trial, by="nobody", headers=sent).status == 403


def test_only_whoever_asked_uses_the_yes(wall: Firewall) -> None:
    action = wall.submit("update", tool="database", by="bound")
    wall.key("twin", AGENT, is_agent=True, agent="crm-agent")
    wall.decide(action)
    for by in ("admin", "people", "twin"):
        assert wall.get(action["id"], by=by)["status"] == "allowed"
    wall.ask("GET", "/v1/actions", by="bound")
    assert waiting(wall, action)["status"] == "approved"
    wall.get(action["id"], by="bound")
    assert waiting(wall, action)["status"] == "used"


@pytest.mark.parametrize("identity", ["act_nothing", "nothing", "act_", "%20", "apr_1"])
def test_what_is_not_there_is_not_found(wall: Firewall, identity: str) -> None:
    answer = wall.ask("GET", f"/v1/actions/{identity}")
    assert (answer.status, answer.json()["error"]) == (404, "NOT_FOUND")


def test_a_code_is_no_id(wall: Firewall) -> None:
    action = wall.submit()
    code = waiting(wall, action)["code"]
    assert wall.ask("GET", f"/v1/actions/{code}").status == 404
    assert wall.ask("POST", f"/v1/approvals/{code}/approve", {}, by="boss").status == 404


# -- lists ------------------------------------------------------------------------------------------------


def test_actions_are_listed_filtered_and_paged(tmp_path_factory: pytest.TempPathFactory) -> None:
    with open_firewall(tmp_path_factory.mktemp("lists")) as wall:
        read = [wall.submit("read", tool="database", by="bound")["id"] for _ in range(3)]
        wall.submit("drop", tool="database", by="bound")
        asked = wall.submit("wire", tool="bank")["id"]

        def rows(query: str, by: str = "admin") -> list[str]:
            answer = wall.ask("GET", f"/v1/actions?{query}", by=by)
            assert answer.status == 200, answer.body
            return [row["id"] for row in answer.json()["data"]]

        assert rows("status=allowed") == read[::-1]
        assert rows("status=pending_approval") == [asked]
        assert rows("agent_id=crm-agent&status=allowed") == read[::-1]
        assert rows("agent_id=nobody") == []
        assert rows("tool=bank") == [asked]
        assert rows("risk_level=high") == [asked]
        assert rows("status=allowed&limit=2&offset=2") == read[:1]
        assert rows("agent_id=firewall", "bound") == []
        assert len(rows("", "bound")) == 4
        assert rows("", "agent") == [asked]
        page = wall.ask("GET", "/v1/actions?limit=2&offset=1", by="admin").json()
        assert page["pagination"] == {"total": 5, "limit": 2, "offset": 1}
        assert len(page["data"]) == 2
        for query in (
            "status=nothing",
            "risk_level=grave",
            "limit=0",
            "limit=x",
            "offset=-1",
            "status=a&status=b",
        ):
            answer = wall.ask("GET", f"/v1/actions?{query}", by="admin")
            assert (answer.status, answer.json()["error"]) == (400, "VALIDATION_ERROR")


# -- dry run ----------------------------------------------------------------------------------------------


def test_a_dry_run_decides_and_does_nothing_else(wall: Firewall) -> None:
    def state() -> tuple[Any, ...]:
        events = wall.gateway.get("/audit?limit=10000&view=events").json()
        return len(events), len(wall.gateway.get("/hitl/pending").json())

    before = state()
    body = {"tool": "database", "operation": "DROP", "params": {"password": "hidden-from-all"}}
    for agent, status in (
        ("crm-agent", "denied"),
        ("firewall", "pending_approval"),
        (None, "pending_approval"),
    ):
        answer = wall.ask("POST", "/v1/dry-run", {**body, "agent_id": agent}, by="admin")
        assert answer.status == 200, answer.body
        assert answer.json()["status"] == status
        assert "hidden-from-all" not in answer.body.decode()
    assert answer.json()["dry_run"] is True
    assert answer.json()["decision"]["decision"] == "require_approval"
    assert state() == before
    assert wall.ask("POST", "/v1/dry-run", body).status == 401, "an agent does not try out the policy"
    sent = {"Authorization": f"Bearer {wall.keys['bound']}"}
    assert wall.ask("POST", "/v1/dry-run", body, by="nobody", headers=sent).status == 403
    assert wall.ask("POST", "/v1/dry-run", {**body, "tool": ""}, by="admin").status == 400


# -- limits -----------------------------------------------------------------------------------------------


def test_an_agent_has_a_hundred_actions_a_minute_and_people_fifty(wall: Firewall) -> None:
    wall.key("usual", AGENT, is_agent=True, rate=None)
    wall.key("reading", frozenset({Scope.APPROVALS_READ}), rate=None)
    for by, path, limit in (("usual", "/v1/actions?limit=1", 100), ("reading", "/v1/approvals?limit=1", 50)):
        answers = [wall.ask("GET", path, by=by) for _ in range(limit)]
        assert {one.status for one in answers} == {200}
        assert answers[0].headers["X-RateLimit-Limit"] == str(limit)
        beyond = wall.ask("GET", path, by=by)
        assert (beyond.status, beyond.json()["error"]) == (429, "RATE_LIMITED")
        assert 1 <= int(beyond.headers["Retry-After"]) <= 120


@pytest.mark.skipif(sys.platform != "linux", reason="only there all of 127.0.0.0/8 is this machine")
def test_a_key_has_no_more_requests_from_other_addresses(wall: Firewall) -> None:
    headers = {"X-Agent-Key": wall.key("moving", AGENT, is_agent=True, rate=None).text}
    statuses = []
    for number in range(101):
        source = (f"127.0.1.{number + 1}", 0)
        connection = http.client.HTTPConnection(
            "127.0.0.1", wall.gateway.port, timeout=BOUND, source_address=source
        )
        with contextlib.closing(connection):
            connection.request("GET", "/v1/actions?limit=1", headers=headers)
            statuses.append(connection.getresponse().status)
    assert statuses == [*[200] * 100, 429]


# -- what several policies come to ------------------------------------------------------------------------


def opinion(effect: Effect | None, name: str = "p", **more: Any) -> Opinion:
    return Opinion(effect=effect, kind="policy", policy_id=f"pol_{name}", name=name, **more)


def test_the_most_restrictive_opinion_wins_whatever_the_order() -> None:
    allow, ask, deny = (opinion(one, str(one)) for one in (Effect.ALLOW, Effect.ASK, Effect.DENY))
    assert joined([allow, ask, deny]).effect is Effect.DENY
    assert joined([deny, ask, allow]).effect is Effect.DENY
    assert joined([allow, ask]).effect is Effect.ASK
    assert joined([ask, allow]).rule == "firewall:pol_ask"
    assert joined([allow, opinion(None)]).effect is Effect.ALLOW
    assert joined([opinion(None, risk="critical")]).effect is None
    assert joined([opinion(None, risk="critical")]).risk is Risk.HIGH
    assert joined([]).life_ms == USUAL_LIFE


def test_everyone_who_asks_sets_terms_and_the_shortest_life_counts_within_bounds() -> None:
    some = [
        opinion(Effect.ASK, "a", quorum=2, life_ms=5 * HOUR),
        opinion(Effect.ASK, "b", reviewers=frozenset({"alice"}), life_ms=2 * HOUR),
        opinion(Effect.ALLOW, "c", quorum=9, life_ms=HOUR),
    ]
    overlay = joined(some)
    assert overlay.life_ms == 2 * HOUR
    assert {(one.rule, one.quorum, one.names) for one in overlay.reviewers} == {
        ("firewall:pol_a", 2, frozenset()),
        ("firewall:pol_b", 1, frozenset({"alice"})),
    }
    assert joined([opinion(Effect.ASK, life_ms=1)]).life_ms == 300_000
    assert joined([opinion(Effect.ASK, life_ms=10**12)]).life_ms == MOST_LIFE


def test_an_approval_is_for_the_policies_texts_in_whatever_order() -> None:
    one, two = opinion(Effect.ASK, "a", digest="x"), opinion(Effect.ASK, "b", digest="y")
    assert joined([one, two]).digest == joined([two, one]).digest
    assert joined([one, two]).digest != joined([one, opinion(Effect.ASK, "b", digest="z")]).digest
