"""The pages about the Agent Action Firewall: every route, field and test stands there; the way is walked."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from airlock.config import FaceConfig
from airlock.web.compat.firewall import (
    actions,
    approvals,
    happened,
    history,
    make_face,
    shapes,
    submitted,
    trial,
)
from airlock.web.compat.firewall.faults import CODES
from airlock.web.compat.firewall.words import ACTION_STATUSES, APPROVAL_STATUSES, DECISIONS, RISKS
from support.pages import blocks, defined_tests, following, named_tests, section

ROUTES = (*actions.ROUTES, *approvals.ROUTES, *trial.ROUTES, *history.ROUTES)
SECTION = section("Agent Action Firewall").split("\n### NLP policies")[0]
TESTS = Path(__file__).parents[2]


def test_every_endpoint_stands_in_the_page_with_what_it_needs() -> None:
    for route in ROUTES:
        start = f"| `{route.method} {route.path}` |"
        (row,) = [line for line in SECTION.splitlines() if line.startswith(start)]
        assert any(f"`{scope}`" in row for scope in route.scopes) or "the same" in row, row


def test_no_route_of_the_face_is_missing() -> None:
    whole = section("Agent Action Firewall")
    told = set(re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (\S+)` \|", whole, re.MULTILINE))
    routes = make_face(FaceConfig(name="firewall", agent="firewall")).routes
    assert told == {(route.method, route.path) for route in routes}


def test_it_names_every_field_word_and_code() -> None:
    fields = {
        name
        for shape in (
            submitted.BODY,
            shapes.ACTION,
            shapes.DECISION,
            shapes.EXECUTION,
            approvals.DETAIL,
            approvals.DECIDED,
            approvals.HISTORY,
            shapes.PERSON,
            trial.ANSWER,
            history.EVENT,
        )
        for name in shape["properties"]  # type: ignore[attr-defined]
    }
    words = {*ACTION_STATUSES, *APPROVAL_STATUSES, *DECISIONS.values(), *RISKS}
    for word in fields | words | set(CODES.values()) | set(approvals.EVENTS.values()) | set(happened.NAMES):
        assert f"`{word}`" in SECTION, word


def test_every_test_that_the_page_names_is_there() -> None:
    named = named_tests(SECTION)
    assert len(named) > 25
    there = defined_tests(Path(__file__).parent, "test_firewall_*.py")
    assert named <= there | defined_tests(TESTS, "test_loader_firewall.py")


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_way_there_can_be_walked_as_it_is_written(tmp_path: Path) -> None:
    written = blocks("coming-from-agent-action-firewall.md")
    assert [kind for kind, _ in written[:3]] == ["yaml", "sh", "console"]
    assert "airlock gateway" in written[1][1]
    with following(tmp_path, written[0][1], written[1][1]) as page:
        said = ""
        for kind, text in written[2:]:
            if kind == "console":
                said = page.shell(text)
            elif kind == "text":
                assert said == text, (said, text)
        assert re.search(r"http_proxy: \{allow_hosts", written[-1][1])
