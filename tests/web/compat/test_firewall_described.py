"""The description of this face's routes tells the truth: the fuzzer finds no other status or shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airlock.config import FaceConfig
from airlock.web.compat.firewall import make_face
from tests.support.firewalls import Firewall, open_firewall
from tests.web.test_openapi import _validator, requests

ROUTES = make_face(FaceConfig(name="firewall", agent="firewall")).routes


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firewall]:
    folder = tmp_path_factory.mktemp("described")
    with open_firewall(folder, compat="{firewall: {http_proxy: {}}}") as made:
        yield made


@pytest.fixture(scope="module")
def described(wall: Firewall) -> dict[str, Any]:
    return dict(wall.gateway.get("/openapi.json").json()["paths"])


@pytest.fixture(scope="module")
def known(wall: Firewall) -> dict[str, list[str]]:
    """Ids that exist, by what they are of."""
    asked = [wall.submit(f"op{number}") for number in range(30)]
    actions = [wall.submit("read", tool="database", by="bound")["id"] for _ in range(4)]
    rego = {"name": "p", "content": 'package a\nallow { input.action.tool == "t" }', "enabled": False}
    policies = [
        wall.ask("POST", "/admin/policies", rego, by="admin").json().get("id", "x") for _ in range(12)
    ]
    return {
        "policies": policies,
        "approvals": [one["approval"]["id"] for one in asked],
        "actions": [*actions, *(one["id"] for one in asked[:8])],
        "audit": actions,
    }


def test_the_description_names_every_route(described: dict[str, Any]) -> None:
    there = {(method.upper(), path) for path, ways in described.items() for method in ways}
    assert {(route.method, route.path) for route in ROUTES} <= there


def test_the_description_says_how_an_agent_shows_its_key(wall: Firewall) -> None:
    whole = wall.gateway.get("/openapi.json").json()
    scheme = whole["components"]["securitySchemes"]["agentKey"]
    assert (scheme["in"], scheme["name"]) == ("header", "X-Agent-Key")
    paths = whole["paths"]
    assert paths["/v1/actions"]["post"]["security"] == [{"agentKey": []}]
    assert paths["/v1/actions"]["get"]["security"] == [{"agentKey": []}, {"bearer": []}]
    assert paths["/v1/approvals"]["get"]["security"] == [{"bearer": []}]


def test_every_route_has_a_scope_and_agents_get_no_further_than_their_actions() -> None:
    for route in ROUTES:
        assert route.scopes
        assert route.error is not None
    free = {(route.method, route.path) for route in ROUTES if not route.people}
    assert free <= {
        ("POST", "/v1/actions"),
        ("GET", "/v1/actions"),
        ("GET", "/v1/actions/{id}"),
        ("GET", "/v1/approvals"),
        ("GET", "/v1/approvals/{id}"),
    } | {(route.method, route.path) for route in ROUTES if route.path.startswith("/admin/")}
    for route in ROUTES:
        if route.path.startswith("/admin/") and route.method != "GET":
            assert route.people, route.path


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_no_answer_differs_from_the_description(
    wall: Firewall, described: dict[str, Any], known: dict[str, list[str]], route: Any
) -> None:
    way = described[route.path][route.method.lower()]
    validators = {status: _validator(one) for status, one in way["responses"].items()}
    ids = known.get(route.path.split("/")[2], ["x"])
    seen: set[int] = set()
    keys = st.sampled_from(["", "nonsense", *(wall.keys[name] for name in ("agent", "bound", "both"))])

    @settings(max_examples=30, suppress_health_check=list(HealthCheck), database=None)
    @given(wanted=requests(route.path, way, ids), key=keys)
    def fuzz(wanted: dict[str, Any], key: str) -> None:
        services = wall.gateway.app.state.services
        services.limits._buckets.clear()
        services.authenticator._guesses._buckets.clear()
        target = re.sub(r"\{[a-z]+\}", quote(wanted["fill"], safe=""), route.path)
        if wanted["query"]:
            target += "?" + urlencode(wanted["query"])
        body = wanted["body"]
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode("utf-8", "surrogatepass")
        headers = {"Origin": wanted["origin"]} if wanted["origin"] else {}
        headers |= {"X-Agent-Key": key} if key else {}
        answer = wall.gateway.ask(route.method, target, body, token=wanted["token"], headers=headers)
        if "/" in wanted["fill"] and answer.status == 404:
            return  # an encoded slash is another path
        seen.add(answer.status)
        assert answer.status < 500, answer.body
        assert str(answer.status) in validators, (answer.status, answer.body)
        media, validator = validators[str(answer.status)]
        if answer.status == 204:
            assert answer.body == b""
        elif validator is not None and answer.headers["content-type"].startswith(media):
            validator.validate(answer.json())

    fuzz()
    assert seen & {200, 201, 202, 204, 400, 404, 409}, "the fuzzer only ever met closed doors"
