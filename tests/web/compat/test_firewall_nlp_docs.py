"""What the pages say of NLP policies: every route, field, kind and test stands there."""

from __future__ import annotations

from pathlib import Path

from airlock.web.compat.firewall.nlp.detectors import LONGEST
from airlock.web.compat.firewall.nlp.patterns import KINDS
from airlock.web.compat.firewall.nlp.prompts import TYPES
from airlock.web.compat.firewall.nlp.routes import EVALUATED, POLICY, ROUTES, TRIED
from support.pages import defined_tests, named_tests, section

SECTION = section("Agent Action Firewall").split("\n### NLP policies")[1]
THREATS = (Path(__file__).parents[3] / "docs" / "threats.md").read_text(encoding="utf-8")
OF_EVERY_OBJECT = {"id", "created_at", "updated_at", "description"}


def test_every_endpoint_stands_in_the_page_with_its_scope() -> None:
    for route in ROUTES:
        start = f"| `{route.method} {route.path}` |"
        (row,) = [line for line in SECTION.splitlines() if line.startswith(start)]
        assert any(f"`{scope}`" in row for scope in route.scopes), row


def test_it_names_every_field_type_and_kind() -> None:
    details = TRIED["properties"]["details"]["properties"]
    fields = {*POLICY["properties"], *details, *EVALUATED["properties"]} - OF_EVERY_OBJECT
    for word in fields | set(TYPES):
        assert word in SECTION, word
    rows = [line for line in SECTION.splitlines() if line.startswith("| `")]
    for kind in KINDS:
        (row,) = [line for line in rows if f"`{kind.name}`" in line]
        assert f"| {kind.weight} |" in row, row
    assert f"{LONGEST:,}" in SECTION


def test_every_test_that_the_pages_name_is_there() -> None:
    there = defined_tests(Path(__file__).parent, "test_firewall_nlp_*.py")
    tried = THREATS.split("\n## NLP policies")[1].split("\n## ")[0]
    assert len(named_tests(SECTION)) > 5
    assert len(named_tests(tried)) > 15
    assert named_tests(SECTION) | named_tests(tried) <= there
