"""The pages about HARP: every endpoint and field stands there with its test; the short way is walked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from airlock.config import FaceConfig
from airlock.web.compat.harp import make_face
from airlock.web.compat.harp.dnd import POLICY
from airlock.web.compat.harp.exchanges import DECISION, STATUS
from airlock.web.compat.harp.pairingroutes import STATUS as PAIRING
from support.pages import blocks, defined_tests, following, named_tests, section

FACE = make_face(FaceConfig(name="harp", agent="harp"))
SECTION = section("HARP Integrations Gateway")


def test_every_endpoint_and_field_stands_in_the_page() -> None:
    for route in FACE.routes:
        start = f"| `{route.method} {route.path}` |"
        (row,) = [line for line in SECTION.splitlines() if line.startswith(start)]
        assert any(f"`{scope}`" in row for scope in route.scopes) or "nothing" in row, row
    for shape in (POLICY, DECISION, STATUS, PAIRING):
        for name in shape["properties"]:
            assert f"`{name}`" in SECTION, name


def test_every_test_that_the_page_names_is_there() -> None:
    named = named_tests(SECTION)
    assert len(named) > 20
    assert named <= defined_tests(Path(__file__).parent, "test_harp_*.py")


@pytest.mark.real
def test_the_short_way_from_harp_leads_there(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing: install it")
    written = blocks("coming-from-harp.md")
    assert [kind for kind, _ in written] == ["yaml", "sh", "sh", "sh", "python", "sh"]
    (config, serve, key, code, program, decide) = (block for _, block in written)
    assert "airlock gateway" in serve
    with following(tmp_path, config, serve) as page:
        page.shell(key)
        page.shell(code)
        with page.program(program) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "submitted\n"
            (row,) = json.loads(page.shell("airlock pending --json"))
            assert row["args"]["artifact"] == {"commandText": "rm -rf build"}
            assert row["args"]["hash_verified"] is True
            page.shell(decide)
            assert running.stdout.readline() == "verified approve only the build folder\n"
