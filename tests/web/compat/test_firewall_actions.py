"""`/v1/actions` of the Agent Action Firewall: submitted, judged, looked at; who may, and in what words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.firewalls import Firewall, open_firewall


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firewall]:
    with open_firewall(tmp_path_factory.mktemp("actions")) as running:
        yield running


def test_an_action_is_allowed_denied_or_asked_about(wall: Firewall) -> None:
    allowed = wall.submit("read", tool="database", by="bound")
    denied = wall.submit("drop", tool="database", by="bound")
    asked = wall.submit("update", tool="database", by="bound", params={"id": 7})
    assert [one["status"] for one in (allowed, denied, asked)] == ["allowed", "denied", "pending_approval"]
    assert allowed["id"].startswith("act_")
    assert asked["approval"]["id"].startswith("apr_")
    assert asked["decision"]["decision"] == "require_approval"
    assert wall.get(asked["id"], by="bound")["params"] == {"id": 7}


def test_after_an_approval_the_action_is_allowed(wall: Firewall) -> None:
    action = wall.submit()
    decided = wall.decide(action)
    assert decided.status == 200, decided.body
    assert decided.json()["status"] == "approved"
    assert wall.get(action["id"])["status"] == "allowed"
