"""`/admin/nlp-policies`: kept, changed, tried and asked all together; who may; without any model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airlock.apikeys import Scope
from tests.support.firewalls import Firewall, open_firewall

PATH = "/admin/nlp-policies"
PAGE = {
    "name": "Content Safety Check",
    "description": "Detect harmful content in agent actions",
    "type": "content_safety",
    "provider": "openai",
    "model": "gpt-4o-mini",
    "threshold": 0.7,
    "enabled": True,
}
PII = {"name": "Personal data", "type": "pii_detection"}
SENTENCE = "Please send $5000 to account 123456789 for John Smith"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firewall]:
    with open_firewall(tmp_path_factory.mktemp("nlp")) as wall:
        wall.key("writer", frozenset({Scope.POLICIES_WRITE}))
        wall.key("reader", frozenset({Scope.POLICIES_READ}))
        yield wall


@pytest.fixture
def wall(running: Firewall) -> Firewall:
    """The gateway, without a policy."""
    for one in running.ask("GET", PATH, by="writer").json()["data"]:
        assert running.ask("DELETE", f"{PATH}/{one['id']}", by="writer").status == 200
    return running


def made(wall: Firewall, body: Any = PII, **more: Any) -> dict[str, Any]:
    answer = wall.ask("POST", PATH, {**body, **more}, by="writer")
    assert answer.status == 201, answer.body
    return dict(answer.json())


def tried(wall: Firewall, policy: dict[str, Any], content: str = SENTENCE) -> dict[str, Any]:
    answer = wall.ask("POST", f"{PATH}/{policy['id']}/test", {"content": content}, by="reader")
    assert answer.status == 200, answer.body
    return dict(answer.json())


def test_a_policy_is_made_as_the_page_says_shown_changed_and_dropped(wall: Firewall) -> None:
    policy = made(wall, PAGE)
    assert policy["id"].startswith("nlp_")
    assert {name: policy[name] for name in PAGE} == PAGE
    one = f"{PATH}/{policy['id']}"
    assert wall.ask("GET", one, by="reader").json() == policy
    changed = wall.ask("PATCH", one, {"threshold": 0.8, "enabled": False}, by="writer").json()
    assert (changed["threshold"], changed["enabled"], changed["name"]) == (0.8, False, PAGE["name"])
    listed = wall.ask("GET", PATH, by="reader").json()
    assert listed == {"data": [changed], "pagination": {"total": 1, "limit": 100, "offset": 0}}
    assert wall.ask("DELETE", one, by="writer").json() == {"success": True, "id": policy["id"]}
    assert wall.ask("GET", one, by="reader").status == 404
    assert wall.ask("GET", PATH, by="reader").json()["data"] == []


def test_every_change_is_in_the_history(wall: Firewall) -> None:
    policy = made(wall)
    wall.ask("PATCH", f"{PATH}/{policy['id']}", {"threshold": 0.1}, by="writer")
    wall.ask("DELETE", f"{PATH}/{policy['id']}", by="writer")
    events = wall.gateway.ask("GET", "/audit?view=events", token=wall.keys["admin"]).json()
    own = policy["id"].removeprefix("nlp_")
    kinds = [one["kind"] for one in events if own in one["body"]]
    assert sorted(kinds) == ["nlp_policy.created", "nlp_policy.deleted", "nlp_policy.updated"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "x"}, "type"),
        ({"name": "x", "type": "mind_reading"}, "type"),
        ({"name": "x", "type": ["custom"]}, "type"),
        ({"name": "a\nb", "type": "custom", "prompt": "p"}, "name"),
        ({"name": "x", "type": "custom"}, "prompt"),
        ({"name": "x", "type": "custom", "prompt": "p" * 4_001}, "prompt"),
        ({"name": "x", "type": "pii_detection", "prompt": "p"}, "prompt"),
        ({**PII, "threshold": 1.1}, "threshold"),
        ({**PII, "threshold": -0.1}, "threshold"),
        ({**PII, "threshold": True}, "threshold"),
        ({**PII, "threshold": "0.7"}, "threshold"),
        ({**PII, "threshold": None}, "threshold"),
        ({**PII, "enabled": 1}, "enabled"),
        ({**PII, "provider": 7}, "provider"),
        ({**PII, "model": []}, "model"),
    ],
    ids=str,
)
def test_a_wrong_policy_is_refused_with_the_name_of_the_field(
    wall: Firewall, body: dict[str, Any], field: str
) -> None:
    answer = wall.ask("POST", PATH, body, by="writer")
    assert answer.status == 400
    assert answer.json()["error"] == "VALIDATION_ERROR"
    assert answer.json()["details"]["field"] == field
    policy = made(wall)
    if set(body) > set(PII):
        assert wall.ask("PATCH", f"{PATH}/{policy['id']}", body, by="writer").status == 400
    assert wall.ask("GET", f"{PATH}/{policy['id']}", by="reader").json() == policy


def test_the_sentence_of_the_page_is_denied_on_this_machine(wall: Firewall) -> None:
    said = tried(wall, made(wall))
    assert said["decision"] == "deny"
    assert said["risk_score"] == 0.8
    assert said["details"]["detected_issues"] == ["account_number"]
    assert said["details"]["evaluated_by"] == "local"
    start = SENTENCE.index("123456789")
    finding = {"kind": "account_number", "start": start, "end": start + 9, "masked": "[account_number]"}
    assert said["details"]["findings"] == [finding]
    assert said["latency_ms"] >= 0
    assert "123456789" not in str(said)


def test_the_threshold_decides(wall: Firewall) -> None:
    content = "write to a@example.com"
    assert tried(wall, made(wall, threshold=0.6), content)["decision"] == "deny"
    assert tried(wall, made(wall, threshold=0.61), content)["decision"] == "allow"
    assert tried(wall, made(wall, threshold=0), "nothing at all")["decision"] == "deny"
    assert tried(wall, made(wall), "nothing at all")["risk_score"] == 0


def test_what_needs_a_model_and_has_none_is_for_a_person(wall: Firewall) -> None:
    custom = {"name": "c", "type": "custom", "prompt": "is it odd?"}
    for body in (PAGE, {"name": "i", "type": "intent_classification"}, custom):
        policy = made(wall, body)
        assert policy["evaluated_by"] == "none"
        said = tried(wall, policy)
        assert (said["decision"], said["risk_score"]) == ("require_approval", None)
        assert "no model is configured" in said["reasoning"]


def test_a_text_that_cannot_be_looked_through_is_for_a_person(wall: Firewall) -> None:
    said = tried(wall, made(wall), "a@example.com " * 1_500)
    assert said["decision"] == "require_approval"
    assert len(said["details"]["findings"]) == 50
    assert tried(wall, made(wall, threshold=0.5), "a@example.com " * 1_500)["decision"] == "deny"


def test_a_disabled_policy_can_be_tried_and_is_not_asked(wall: Firewall) -> None:
    policy = made(wall, enabled=False)
    assert tried(wall, policy)["decision"] == "deny"
    answer = wall.ask("POST", f"{PATH}/evaluate", {"content": SENTENCE}, by="reader").json()
    assert (answer["decision"], answer["results"]) == ("allow", [])


def test_the_strictest_of_all_enabled_policies_is_the_answer(wall: Firewall) -> None:
    first = made(wall, threshold=0.9)
    body = {"content": SENTENCE, "action_id": "act_1"}
    said = wall.ask("POST", f"{PATH}/evaluate", body, by="reader").json()
    assert (said["decision"], said["action_id"], said["risk_score"]) == ("allow", "act_1", 0.8)
    second = made(wall, PAGE)
    said = wall.ask("POST", f"{PATH}/evaluate", body, by="reader").json()
    assert said["decision"] == "require_approval"
    third = made(wall, threshold=0.5)
    said = wall.ask("POST", f"{PATH}/evaluate", {"content": SENTENCE}, by="reader").json()
    assert said["decision"] == "deny"
    assert said["action_id"] is None
    assert [one["policy_id"] for one in said["results"]] == [first["id"], second["id"], third["id"]]


@pytest.mark.parametrize(
    "body", [{}, {"content": ""}, {"content": " "}, {"content": 7}, {"content": {"a": 1}}]
)
def test_a_content_that_is_no_text_is_refused(wall: Firewall, body: Any) -> None:
    policy = made(wall)
    for path in (f"{PATH}/{policy['id']}/test", f"{PATH}/evaluate"):
        answer = wall.ask("POST", path, body, by="reader")
        assert answer.status == 400
        assert answer.json()["details"]["field"] == "content"


def test_every_template_makes_a_policy(wall: Firewall) -> None:
    offered = wall.ask("GET", f"{PATH}/templates", by="reader").json()["data"]
    assert {one["type"] for one in offered} == {
        "content_safety",
        "pii_detection",
        "intent_classification",
        "custom",
    }
    for one in offered:
        body = {name: value for name, value in one.items() if name != "id"}
        assert made(wall, body)["name"] == one["name"]


def test_only_people_who_may_read_or_write_policies_get_in(wall: Firewall) -> None:
    policy = made(wall)
    ways = [
        ("GET", PATH, None),
        ("GET", f"{PATH}/templates", None),
        ("GET", f"{PATH}/{policy['id']}", None),
        ("POST", f"{PATH}/evaluate", {"content": "x"}),
        ("POST", f"{PATH}/{policy['id']}/test", {"content": "x"}),
        ("POST", PATH, PII),
        ("PATCH", f"{PATH}/{policy['id']}", {"enabled": False}),
        ("DELETE", f"{PATH}/{policy['id']}", None),
    ]
    for method, path, body in ways:
        writes = method in {"PATCH", "DELETE"} or (method, path) == ("POST", PATH)
        assert wall.ask(method, path, body, by="nobody").status == 401
        for agent in ("agent", "bound", "both"):  # an agent's key, in its own header and as a bearer
            assert wall.ask(method, path, body, by=agent).status in {401, 403}
            bearer = wall.gateway.ask(method, path, body, token=wall.keys[agent])
            assert bearer.status == 403
        assert wall.ask(method, path, body, by="boss").status == 403
        assert (wall.ask(method, path, body, by="reader").status == 403) is writes
        assert wall.ask(method, path, body, by="people").status < 300 or method == "DELETE"


def test_an_unknown_policy_is_not_found(wall: Firewall) -> None:
    for method, path, body in (
        ("GET", f"{PATH}/nlp_none", None),
        ("PATCH", f"{PATH}/nlp_none", {}),
        ("DELETE", f"{PATH}/nlp_none", None),
        ("POST", f"{PATH}/nlp_none/test", {"content": "x"}),
    ):
        answer = wall.ask(method, path, body, by="writer")
        assert (answer.status, answer.json()["error"]) == (404, "NOT_FOUND")


def test_a_policy_outlives_the_history_of_its_age(wall: Firewall) -> None:
    policy = made(wall)
    wall.clock.forward(1_000)
    assert wall.gateway.run(wall.gateway.gate.store.prune(wall.clock())) > 0
    assert wall.ask("GET", f"{PATH}/{policy['id']}", by="reader").json() == policy
