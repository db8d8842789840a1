"""The description of HARP's routes tells the truth: the fuzzer finds no other status or shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings

from airlock.config import FaceConfig
from airlock.web.compat.harp import CLAIMS, make_face
from tests.support.harps import APPROVER, Harp, later, open_harp
from tests.web.test_openapi import _validator, requests

ROUTES = make_face(FaceConfig(name="harp", agent="harp")).routes


@pytest.fixture(scope="module")
def harp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harp]:
    policy = APPROVER + "approvals: {max_pending: 10000}\n"
    with open_harp(tmp_path_factory.mktemp("described"), policy) as made:
        yield made


@pytest.fixture(scope="module")
def described(harp: Harp) -> dict[str, Any]:
    return dict(harp.gateway.get("/openapi.json").json()["paths"])


@pytest.fixture(scope="module")
def known(harp: Harp) -> dict[str, list[str]]:
    """Ids that exist, by what they are of. They are asked for with the people's secret."""
    policy = {"policyMode": "deny_all", "workspaceId": "none", "expiresAt": later(hours=1)}
    made = [harp.wire() for _ in range(20)]
    for wire in made:
        assert harp.gateway.post("/v1/artifacts", wire).status == 202
    begun = [harp.gateway.post("/v1/pairing/pre-generate", {}).json() for _ in range(4)]
    return {
        "exchanges": [wire["requestId"] for wire in made],
        "pairing": [one["pairingNonce"] for one in begun] + [one["pairingCode"] for one in begun],
        "policy": [harp.gateway.post("/v1/policy/dnd", policy).json()["requestId"] for _ in range(8)],
        "approvers": ["phone-1"],
        "presence": ["enforcer-1"],
    }


def test_every_route_is_described_claimed_and_has_its_own_errors(described: dict[str, Any]) -> None:
    there = {(method.upper(), path) for path, ways in described.items() for method in ways}
    assert {(route.method, route.path) for route in ROUTES} <= there
    for route in ROUTES:
        assert route.path.startswith(CLAIMS)
        assert route.error is not None
        assert route.scopes or route.path in {"/echo", "/v1/integrations/discovery"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_no_answer_differs_from_the_description(
    harp: Harp, described: dict[str, Any], known: dict[str, list[str]], route: Any
) -> None:
    way = described[route.path][route.method.lower()]
    validators = {status: _validator(one) for status, one in way["responses"].items()}
    kinds = route.path.split("/")
    ids = known.get(kinds[2] if len(kinds) > 2 else "", ["x"])
    services = harp.gateway.app.state.services

    @settings(max_examples=15, suppress_health_check=list(HealthCheck), database=None)
    @given(wanted=requests(route.path, way, ids))
    def fuzz(wanted: dict[str, Any]) -> None:
        services.limits._buckets.clear()
        services.authenticator._guesses._buckets.clear()
        if route.path.endswith("/wait"):
            wanted = {**wanted, "fill": "req-none", "query": wanted["query"]}
        target = re.sub(r"\{[A-Za-z]+\}", quote(wanted["fill"], safe=""), route.path)
        if wanted["query"]:
            target += "?" + urlencode(wanted["query"])
        body = wanted["body"]
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode("utf-8", "surrogatepass")
        headers = {"Origin": wanted["origin"]} if wanted["origin"] else {}
        answer = harp.gateway.ask(route.method, target, body, token=wanted["token"], headers=headers)
        if "/" in wanted["fill"] and answer.status in {404, 405}:
            return  # an encoded slash is another path
        assert answer.status < 500, answer.body
        assert str(answer.status) in validators, (answer.status, answer.body)
        media, validator = validators[str(answer.status)]
        if answer.status == 204:
            assert answer.body == b""
        elif validator is not None and answer.headers["content-type"].startswith(media):
            validator.validate(answer.json())

    fuzz()
