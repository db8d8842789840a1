"""The description of the routes of NLP policies tells the truth: the fuzzer finds nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings

from airlock.web.compat.firewall.nlp.routes import ROUTES
from tests.support.firewalls import Firewall, open_firewall
from tests.support.judges import judges
from tests.web.test_openapi import _validator, requests

PATH = "/admin/nlp-policies"


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firewall]:
    with judges() as server:
        compat = f"{{firewall: {{nlp: {{m: {{url: '{server.url}', models: small}}}}}}}}"
        with open_firewall(tmp_path_factory.mktemp("described"), compat=compat) as running:
            yield running


@pytest.fixture(scope="module")
def described(wall: Firewall) -> dict[str, Any]:
    return dict(wall.gateway.get("/openapi.json").json()["paths"])


@pytest.fixture(scope="module")
def known(wall: Firewall) -> list[str]:
    """Ids that exist; dropping them is part of the game."""
    types = ["content_safety", "pii_detection", "intent_classification"] * 6
    bodies = [{"name": "p", "type": one, "enabled": False} for one in types]
    return [wall.ask("POST", PATH, body, by="admin").json()["id"] for body in bodies]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_no_answer_differs_from_the_description(
    wall: Firewall, described: dict[str, Any], known: list[str], route: Any
) -> None:
    way = described[route.path][route.method.lower()]
    validators = {status: _validator(one) for status, one in way["responses"].items()}
    services = wall.gateway.app.state.services
    seen: set[int] = set()

    @settings(max_examples=30, suppress_health_check=list(HealthCheck), database=None)
    @given(wanted=requests(route.path, way, known))
    def fuzz(wanted: dict[str, Any]) -> None:
        services.limits._buckets.clear()
        services.authenticator._guesses._buckets.clear()
        target = re.sub(r"\{[a-z]+\}", quote(wanted["fill"], safe=""), route.path)
        if wanted["query"]:
            target += "?" + urlencode(wanted["query"])
        body = wanted["body"]
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode("utf-8", "surrogatepass")
        headers = {"Origin": wanted["origin"]} if wanted["origin"] else {}
        answer = wall.gateway.ask(route.method, target, body, token=wanted["token"], headers=headers)
        if "/" in wanted["fill"] and answer.status == 404:
            return  # an encoded slash is another path
        seen.add(answer.status)
        assert answer.status < 500, answer.body
        assert str(answer.status) in validators, (answer.status, answer.body)
        media, validator = validators[str(answer.status)]
        assert answer.headers["content-type"].startswith(media)
        if validator is not None:
            validator.validate(answer.json())

    fuzz()
    assert seen & {200, 201, 400, 404}, "the fuzzer only ever met closed doors"


def test_every_route_is_for_people_with_a_scope() -> None:
    for route in ROUTES:
        assert route.people
        assert route.scopes
        assert route.error is not None
