"""/openapi.json tells the truth: a fuzzer that knows nothing else finds no 500, status or shape beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from airlock.web.app import TABLE
from airlock.web.openapi import all_replies, document
from tests.support.gates import call
from tests.support.gateways import SECRET, Gateway, open_gateway

POLICY = f"""
server: {{api_secret: {SECRET}}}
approvals: {{max_pending: 10000}}
agents: {{claude-code: {{allow: ["demo/echo", "file/*"], ask: ["demo/write", "bash/*"]}}}}
"""
DOCS = Path(__file__).parents[2] / "docs" / "http-api.md"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("fuzz"), POLICY) as running:
        yield running


@pytest.fixture(scope="module")
def described(gateway: Gateway) -> dict[str, Any]:
    return gateway.get("/openapi.json").json()  # type: ignore[no-any-return]


def test_the_description_is_what_the_table_says(described: dict[str, Any]) -> None:
    assert described == json.loads(json.dumps(document(TABLE)))
    paths = {(method.upper(), path) for path, ways in described["paths"].items() for method in ways}
    assert paths == {(route.method, route.path) for route in TABLE}
    names = [way["operationId"] for ways in described["paths"].values() for way in ways.values()]
    assert len(names) == len(set(names))


def test_every_schema_in_it_is_a_schema(described: dict[str, Any]) -> None:
    def walk(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            if "schema" in value:
                yield value["schema"]
            for inner in value.values():
                yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)

    schemas = list(walk(described["paths"]))
    assert len(schemas) > 30
    for schema in schemas:
        Draft202012Validator.check_schema(schema)


def test_every_route_scope_and_status_stands_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for route in TABLE:
        assert f"### {route.method} {route.path}" in text
        section = text.split(f"### {route.method} {route.path}")[1].split("\n### ")[0].split("\n## ")[0]
        for scope in route.scopes:
            assert f"`{scope}`" in section, (route.path, scope)
        for status in route.replies:
            assert str(status) in section, (route.path, status)
        for parameter in route.parameters:
            assert f"`{parameter.name}`" in section, (route.path, parameter.name)
    for route in TABLE:
        for status in all_replies(route):
            assert str(status) in text


# -- the fuzzer: knows the description and nothing else ---------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
odd_bytes = st.binary(max_size=60) | st.sampled_from([b"", b"{", b"null", b"[]", b'{"a":1,"a":2}', b"\xff"])


def valid(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema admits, for the few words that ours use."""
    if "anyOf" in schema:
        return st.one_of([valid(one) for one in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    ways = {
        "string": st.text(min_size=schema.get("minLength", 0), max_size=min(40, schema.get("maxLength", 40))),
        "integer": st.integers(schema.get("minimum", -5), schema.get("maximum", 10**7)),
        "number": st.floats(0, 5),
        "boolean": st.booleans(),
        "null": st.none(),
        "array": st.lists(valid(schema.get("items", {})), max_size=3) if kind == "array" else anything,
        "object": members(schema) if "object" in kinds else anything,
        None: anything,
    }
    return st.one_of([ways[one] for one in kinds])


def members(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = {name: valid(one) for name, one in schema.get("properties", {}).items()}
    required = {name: properties[name] for name in schema.get("required", [])}
    optional = {name: one for name, one in properties.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


printable = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)


def requests(path: str, way: dict[str, Any], known: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Requests by the description: right, nearly right, and wild."""
    query = {
        one["name"]: st.one_of(
            valid(one["schema"]), printable, st.sampled_from(["", "2026-01-01T00:00:00Z", "7"])
        )
        for one in way.get("parameters", [])
        if one["in"] == "query"
    }
    schema = way.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    bodies: st.SearchStrategy[Any] = st.none()
    if schema:
        wrong = members({**schema, "properties": {key: {} for key in schema["properties"]}, "required": []})
        bodies = st.one_of(st.none(), valid(schema), wrong, anything, odd_bytes)
    return st.fixed_dictionaries(
        {
            "path": st.just(path),
            "fill": st.one_of(st.sampled_from(known), st.sampled_from(known), printable.filter(bool)),
            "query": st.fixed_dictionaries({}, optional=query),
            "body": bodies,
            "token": st.sampled_from([SECRET] * 8 + [None, "wrong"]),
            "origin": st.sampled_from([None] * 9 + ["https://evil.example"]),
        }
    )


OPERATIONS = [(route.method.lower(), route.path) for route in TABLE]


@pytest.fixture(scope="module")
def known(gateway: Gateway) -> list[str]:
    """References that exist, in several states, and a key's."""
    found = []
    for number in range(60):
        verdict = gateway.run(gateway.gate.submit(call("demo/write", n=number), attend=False))
        found.append(verdict.request.code if number % 2 else verdict.request.id)  # type: ignore[union-attr]
    return found


@pytest.fixture(scope="module")
def known_keys(gateway: Gateway) -> list[str]:
    made = [gateway.post("/keys", {"name": f"n{number}", "scopes": ["read"]}).json() for number in range(20)]
    return [key["id"] for key in made]


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
def test_no_answer_differs_from_the_description(
    gateway: Gateway,
    described: dict[str, Any],
    known: list[str],
    known_keys: list[str],
    method: str,
    path: str,
) -> None:
    way = described["paths"][path][method]
    validators = {status: _validator(one) for status, one in way["responses"].items()}
    gateway.app.state.services.limits._buckets.clear()
    seen: set[int] = set()

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
    @given(wanted=requests(path, way, known_keys if path.startswith("/keys") else known))
    def fuzz(wanted: dict[str, Any]) -> None:
        gateway.app.state.services.authenticator._guesses._buckets.clear()
        if path == "/events" and not wanted["query"]:
            return  # a stream has no end: its own tests read it
        target = re.sub(r"\{[a-z]+\}", quote(wanted["fill"], safe=""), path)
        if path == "/events":
            wanted["query"] = {"after": "x" + str(wanted["query"].get("after"))}
        if path == "/hook":
            wanted["query"]["timeout"] = "1"
        if wanted["query"]:
            target += "?" + urlencode(wanted["query"])
        body = wanted["body"]
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode("utf-8", "surrogatepass")
        headers = {"Origin": wanted["origin"]} if wanted["origin"] else {}
        answer = gateway.ask(method.upper(), target, body, token=wanted["token"], headers=headers)
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
    assert seen & {200, 201, 400}, "the fuzzer only ever met closed doors"


def _validator(reply: dict[str, Any]) -> tuple[str, Draft202012Validator | None]:
    ((media, content),) = reply["content"].items()
    schema = content["schema"]
    checker = FormatChecker()
    return media, Draft202012Validator(schema, format_checker=checker) if media.endswith("json") else None
