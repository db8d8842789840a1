"""How long things of HARP live, by the clock; and both of its content types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gates import Timekeeper
from tests.support.harps import APPROVER, RELAY, Harp, later, open_harp

MINUTE = 60_000


@pytest.fixture
def clock() -> Timekeeper:
    return Timekeeper()


@pytest.fixture
def harp(tmp_path: Path, clock: Timekeeper) -> Iterator[Harp]:
    with open_harp(tmp_path, APPROVER, clock=clock) as made:
        yield made


@pytest.fixture
def relay(tmp_path: Path, clock: Timekeeper) -> Iterator[Harp]:
    with open_harp(tmp_path, RELAY, clock=clock) as made:
        yield made


def claim(harp: Harp, code: str) -> Any:
    return harp.ask(
        "POST", "/v1/pairing/claim", {"pairingCode": code, "deviceId": "d", "enforcerId": "enforcer-1"}
    )


def test_a_pre_generated_code_lives_for_thirty_minutes(harp: Harp, clock: Timekeeper) -> None:
    codes = [harp.gateway.post("/v1/pairing/pre-generate", {}).json()["pairingCode"] for _ in range(2)]
    clock.forward(30 * MINUTE - 30_000)
    assert claim(harp, codes[0]).status == 200
    clock.forward(60_000)
    assert claim(harp, codes[1]).status in {404, 410}


def test_a_pairing_that_nobody_answers_is_over_after_ten_minutes(relay: Harp, clock: Timekeeper) -> None:
    begun = relay.initiate()
    clock.forward(10 * MINUTE - 30_000)
    assert relay.pairing(begun["pairingNonce"])["state"].lower() == "pending"
    clock.forward(60_000)
    assert relay.pairing(begun["pairingNonce"])["state"].lower() == "expired"
    looked = relay.ask("GET", f"/v1/pairing/resolve/{begun['pairingCode']}", token=relay.approver)
    assert looked.status in {404, 410}


def test_an_enforcer_is_present_for_ten_minutes_after_its_heartbeat(harp: Harp, clock: Timekeeper) -> None:
    def present() -> int:
        answer = harp.ask("GET", "/v1/presence/enforcers/enforcer-9", token=harp.approver)
        return answer.status

    assert harp.ask("POST", "/v1/presence/heartbeat", {"enforcerId": "enforcer-9"}).status == 200
    clock.forward(10 * MINUTE - 30_000)
    assert present() == 200
    clock.forward(60_000)
    assert present() == 404
    assert harp.ask("POST", "/v1/presence/heartbeat", {"enforcerId": "enforcer-9"}).status == 200
    assert present() == 200


def test_an_exchange_without_an_end_of_its_own_is_open_for_ten_minutes(harp: Harp, clock: Timekeeper) -> None:
    request = harp.submit(expiresAt=None)
    clock.forward(10 * MINUTE - 30_000)
    assert harp.state(request) == "PendingApproval"
    clock.forward(60_000)
    assert harp.state(request) == "Expired"
    assert harp.gateway.get("/hitl/pending").json() == []


def test_an_exchange_that_ends_while_somebody_waits_is_expired(harp: Harp, clock: Timekeeper) -> None:
    request = harp.submit(expiresAt=later(minutes=2))
    clock.forward(2 * MINUTE - 1_000)
    gone = harp.wait(request, 20)
    assert (gone.status, gone.json()["body"]["code"]) == (410, "expired")
    assert harp.state(request) == "Expired"


def test_both_content_types_are_read_alike(harp: Harp) -> None:
    for media in ("application/json", "application/harp+json", "application/harp+json; charset=utf-8"):
        answer = harp.gateway.ask(
            "POST",
            "/v1/artifacts",
            harp.wire(),
            token=None,
            headers={"X-PAT": harp.enforcer, "Content-Type": media},
        )
        assert answer.status == 202, answer.body
        assert answer.headers["content-type"].startswith("application/json")


def test_a_decision_is_acknowledged_in_the_words_of_the_draft_and_of_its_clients(harp: Harp) -> None:
    for said in ("received", "processed", "delivered"):
        request = harp.submit(metadata={"requestLabel": said})
        harp.decide("deny", harp.row(label=said)["code"], "no")
        assert harp.wait(request).status == 200
        answer = harp.ask("POST", "/v1/acks", {"requestId": request, "body": {"status": said}})
        assert answer.status == 200, answer.body
        assert harp.state(request) == "Delivered"
    assert (
        json.loads(harp.ask("POST", "/v1/acks", {"requestId": request, "body": {"status": "lost"}}).body)[
            "body"
        ]["code"]
        == "validation_error"
    )
