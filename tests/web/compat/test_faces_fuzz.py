"""/openapi.json tells the truth of AgentGate's routes too: the same fuzzer, which knows nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings

from airlock.config import FaceConfig
from airlock.web.app import TABLE, whole_table
from airlock.web.compat.agentgate import make_face
from airlock.web.openapi import document
from tests.support.faces import AgentGate, open_agentgate
from tests.web.test_openapi import _validator, requests

FACE = make_face(FaceConfig(name="agentgate", agent="agentgate"))
OPERATIONS = [(route.method.lower(), route.path) for route in FACE.routes]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentGate]:
    with open_agentgate(tmp_path_factory.mktemp("fuzz")) as running:
        yield running


@pytest.fixture(scope="module")
def described(gate: AgentGate) -> dict[str, Any]:
    return gate.gateway.get("/openapi.json").json()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def known(gate: AgentGate) -> dict[str, list[str]]:
    """Ids that exist, by the kind of thing."""
    made = [gate.request(f"a{number % 3}")["id"] for number in range(30)]
    for identity in made[:10]:
        gate.decide(identity)
    rule = {"name": "p", "enabled": False, "rules": [{"match": {"action": "x"}, "decision": "auto_deny"}]}
    stored = [gate.ask("POST", "/api/policies", rule, by="admin").json()["id"] for _ in range(15)]
    hook = {"url": "https://127.0.0.1:9/", "events": ["request.expired"]}
    hooks = [gate.ask("POST", "/api/webhooks", hook, by="hooks").json()["id"] for _ in range(15)]
    gone = [gate.make_key(f"n{number}", "request:read") and gate.ids[f"n{number}"] for number in range(15)]
    return {"requests": made, "policies": stored, "webhooks": hooks, "keys": gone, "api-keys": gone}


def test_the_description_covers_the_face(described: dict[str, Any]) -> None:
    assert described == json.loads(json.dumps(document((*TABLE, *FACE.routes))))
    assert whole_table((FACE,)) == (*TABLE, *FACE.routes)
    names = [way["operationId"] for ways in described["paths"].values() for way in ways.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
def test_no_answer_differs_from_the_description(
    gate: AgentGate, described: dict[str, Any], known: dict[str, list[str]], method: str, path: str
) -> None:
    way = described["paths"][path][method]
    validators = {status: _validator(one) for status, one in way["responses"].items()}
    services = gate.gateway.app.state.services
    services.limits._buckets.clear()
    seen: set[int] = set()

    @settings(max_examples=40, suppress_health_check=list(HealthCheck), database=None)
    @given(wanted=requests(path, way, known[path.split("/")[2]]))
    def fuzz(wanted: dict[str, Any]) -> None:
        services.authenticator._guesses._buckets.clear()
        target = re.sub(r"\{[a-z]+\}", quote(wanted["fill"], safe=""), path)
        if wanted["query"]:
            target += "?" + urlencode(wanted["query"])
        body = wanted["body"]
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode("utf-8", "surrogatepass")
        headers = {"Origin": wanted["origin"]} if wanted["origin"] else {}
        answer = gate.gateway.ask(method.upper(), target, body, token=wanted["token"], headers=headers)
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
    assert seen & {200, 201, 400, 404, 409}, "the fuzzer only ever met closed doors"


def test_its_routes_are_of_the_one_table() -> None:
    """Every route has a scope, and none is open to an agent's key but asking, looking and confirming."""
    for route in FACE.routes:
        assert route.scopes
        assert route.error is not None
    free = {(route.method, route.path) for route in FACE.routes if not route.people}
    assert free == {
        ("POST", "/api/requests"),
        ("GET", "/api/requests"),
        ("GET", "/api/requests/{id}"),
        ("POST", "/api/requests/{id}/confirm"),
        ("GET", "/api/requests/{id}/audit"),
    }
