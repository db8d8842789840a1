"""The description of this face's routes tells the truth: the fuzzer finds no other status or shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings

from airlock.config import FaceConfig
from airlock.web.compat.sidclaw import make_face
from tests.support.gateways import SECRET
from tests.support.sidclaws import SidClaws, open_sidclaw
from tests.web.test_openapi import _validator, requests

ROUTES = make_face(FaceConfig(name="sidclaw", agent="sidclaw")).routes


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidClaws]:
    with open_sidclaw(tmp_path_factory.mktemp("described")) as made:
        yield made


@pytest.fixture(scope="module")
def described(house: SidClaws) -> dict[str, Any]:
    return dict(house.gateway.get("/openapi.json").json()["paths"])


@pytest.fixture(scope="module")
def known(house: SidClaws) -> dict[str, list[str]]:
    """Ids that exist, by what they are of."""

    def made(path: str, body: dict[str, Any]) -> list[str]:
        return [house.ask("POST", path, body, token=SECRET).json()["id"] for _ in range(8)]

    policy = {"policy_name": "p", "policy_effect": "deny", "rationale": "because it is so", "operation": "x"}
    approvals = [house.waiting() for _ in range(30)]
    traces = [house.evaluate("read_contact", target_integration="crm").json()["trace_id"] for _ in range(8)]
    return {
        "approvals": approvals,
        "traces": [*traces, *approvals[:4]],
        "policies": made("/policies", policy),
        "agents": ["mailer", *made("/agents", {"name": "fuzzed"})],
        "webhooks": made("/webhooks", {"url": "https://hooks.example", "events": ["agent.revoked"]}),
    }


def test_the_description_names_every_route(described: dict[str, Any]) -> None:
    there = {(method.upper(), path) for path, ways in described.items() for method in ways}
    assert {(route.method, route.path) for route in ROUTES} <= there


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_no_answer_differs_from_the_description(
    house: SidClaws, described: dict[str, Any], known: dict[str, list[str]], route: Any
) -> None:
    way = described[route.path][route.method.lower()]
    validators = {status: _validator(one) for status, one in way["responses"].items()}
    ids = known.get(route.path.split("/")[3], ["x"])

    @settings(max_examples=25, suppress_health_check=list(HealthCheck), database=None)
    @given(wanted=requests(route.path, way, ids))
    def fuzz(wanted: dict[str, Any]) -> None:
        services = house.gateway.app.state.services
        services.limits._buckets.clear()
        services.authenticator._guesses._buckets.clear()
        target = re.sub(r"\{[a-z]+\}", quote(wanted["fill"], safe=""), route.path)
        if wanted["query"]:
            target += "?" + urlencode(wanted["query"])
        body = wanted["body"]
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode("utf-8", "surrogatepass")
        headers = {"Origin": wanted["origin"]} if wanted["origin"] else {}
        answer = house.gateway.ask(route.method, target, body, token=wanted["token"], headers=headers)
        if "/" in wanted["fill"] and answer.status == 404:
            return  # an encoded slash is another path
        assert answer.status < 500, answer.body
        assert str(answer.status) in validators, (answer.status, answer.body)
        media, validator = validators[str(answer.status)]
        if answer.status == 204:
            assert answer.body == b""
        elif validator is not None and answer.headers["content-type"].startswith(media):
            validator.validate(answer.json())

    fuzz()
