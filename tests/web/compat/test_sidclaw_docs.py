"""The pages about SidClaw: every endpoint and field stands there with its test; the short way is walked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airlock.config import FaceConfig
from airlock.web.compat.sidclaw import make_face
from airlock.web.compat.sidclaw.shapes import APPROVAL
from airlock.web.compat.sidclaw.webhooks import EVENTS
from fixtures import npm, pypi
from support.pages import blocks, defined_tests, following, named_tests, section

FACE = make_face(FaceConfig(name="sidclaw", agent="sidclaw"))
SECTION = section("SidClaw")


def test_every_endpoint_field_and_event_stands_in_the_page() -> None:
    for route in FACE.routes:
        start = f"| `{route.method} {route.path}` |"
        (row,) = [line for line in SECTION.splitlines() if line.startswith(start)]
        assert any(f"`{scope}`" in row for scope in route.scopes) or "the same" in row, row
    for name in [*APPROVAL["properties"], *EVENTS]:
        assert f"`{name}`" in SECTION, name


def test_every_test_that_the_page_names_is_there() -> None:
    named = named_tests(SECTION)
    assert len(named) > 20
    assert named <= defined_tests(Path(__file__).parent, "test_sidclaw_*.py")


@pytest.mark.real
def test_the_short_way_from_sidclaw_leads_there(tmp_path: Path) -> None:
    try:
        python = pypi.python("sidclaw")
    except npm.Missing as missing:
        pytest.skip(str(missing))
    written = blocks("coming-from-sidclaw.md")
    assert [kind for kind, _ in written] == ["yaml", "sh", "sh", "python", "sh", "sh"]
    (config, serve, keys, program, decide, look) = (block for _, block in written)
    assert "airlock gateway" in serve
    with following(tmp_path, config, serve) as page:
        page.shell(keys)
        with page.program(program, str(python)) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "approval_required\n"
            page.shell(decide)
            assert running.stdout.readline().startswith("approved ")
        (approval,) = json.loads(page.shell(look))["data"]
        assert approval["decision_note"] == "a known partner"
        assert approval["context_snapshot"] == {"to": "eve@example.com"}
