"""The page about Rego policies: its routes, fields, tests and examples are there and work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import uvloop

from airlock.web.compat.firewall.rego import routes
from airlock.web.compat.firewall.rego.child import OUTPUTS, REFUSED
from airlock.web.compat.firewall.rego.engine import Engine, Text
from airlock.web.compat.firewall.rego.meaning import CONFIG, said
from support.pages import defined_tests, named_tests, section

pytest.importorskip("regorus", reason="there is no wheel of the engine for this machine")

SECTION = section("Agent Action Firewall").split("\n### Rego policies\n")[1].split("\n### ")[0]
OLD, NEW = re.findall(r"^```rego\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
PEOPLE = frozenset({"alice", "bob"})


def test_every_endpoint_stands_in_the_page_with_its_scope() -> None:
    for route in routes.ROUTES:
        start = f"| `{route.method} {route.path}` |"
        (row,) = [line for line in SECTION.splitlines() if line.startswith(start)]
        assert any(f"`{scope}`" in row for scope in route.scopes), row


def test_it_names_every_field_rule_and_refused_function() -> None:
    shapes: tuple[Any, ...] = (routes.POLICY, routes.SIMULATED)
    fields = {name for shape in shapes for name in shape["properties"]}
    for word in {*fields, *OUTPUTS, *CONFIG, *REFUSED}:
        assert f"`{word}`" in SECTION, word


def test_every_test_that_the_page_names_is_there() -> None:
    named = named_tests(SECTION)
    assert len(named) > 10
    assert named <= defined_tests(Path(__file__).parent, "test_firewall_rego*.py")


def test_the_functions_that_the_engine_has_not_are_really_not_there() -> None:
    (row,) = [line for line in SECTION.splitlines() if "`io.jwt.*`" in line]
    (refused,) = [line for line in SECTION.splitlines() if line.startswith("| `rand.intn`")]
    assert "`uuid.rfc4122`" in refused
    names = re.findall(r"`([a-z_.]+[a-z])`", row)
    names += ["crypto.sha256", "io.jwt.decode", "graphql.is_valid", "rego.parse_module", "cast_array"]

    async def told(name: str) -> str:
        engine = Engine()
        try:
            await engine.read(Text(text=f"package a\nallow {{ {name}(input.x) }}\n"))
        except Exception as error:  # noqa: BLE001 - whatever it is, its text is looked at
            return str(error)
        finally:
            await engine.close()
        return "it is there"

    for name in names:
        assert uvloop.run(told(name)) == f"line 2: `{name}`: there is no such function here"


@pytest.mark.parametrize(
    ("text", "action", "effect", "reason"),
    [
        (OLD, {"tool": "crm", "operation": "read_contact", "params": {}}, "allow", ""),
        (OLD, {"tool": "crm", "operation": "drop", "params": {}}, "deny", ""),
        (OLD, {"tool": "crm", "operation": "read", "params": {"amount": 5000}}, "deny", "5000 is too much"),
        (OLD, {"tool": "mail", "operation": "send", "params": {}}, "ask", ""),
        (NEW, {"tool": "web", "operation": "GET", "params": {}}, "allow", "reads only"),
        (NEW, {"tool": "web", "operation": "PUT", "params": {}}, "ask", "nobody has seen this tool"),
    ],
)
def test_the_examples_say_what_one_reads_in_them(
    text: str, action: dict[str, Any], effect: str, reason: str
) -> None:
    async def outputs() -> Any:
        engine = Engine()
        try:
            await engine.read(Text(text=text))
            return (await engine.judge([Text(text=text)], {"action": action}))[0].outputs
        finally:
            await engine.close()

    found = said(uvloop.run(outputs()), PEOPLE)
    assert (found.effect, found.reason) == (effect, reason)
    if effect == "ask" and text is OLD:
        assert (found.quorum, found.reviewers, found.risk) == (2, PEOPLE, "high")
