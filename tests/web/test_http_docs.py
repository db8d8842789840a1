"""docs/http-api.md and docs/gateway.md: every command runs, every example has the shape that is served."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlock.loader.file import loads
from airlock.web import schemas
from tests.support.gates import call
from tests.support.gateways import SECRET, Gateway, open_gateway

DOCS = Path(__file__).parents[2] / "docs"
HTTP = (DOCS / "http-api.md").read_text(encoding="utf-8")
POLICY = f"""
server: {{api_secret: {SECRET}}}
agents: {{claude-code: {{ask: ["demo/*"]}}, deploy-bot: {{allow: ["deploy/production"]}}}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("docs"), POLICY) as running:
        yield running


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


CURLS = [line for block in blocks(HTTP, "console") for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("line", CURLS)
def test_every_command_of_the_page_works(gateway: Gateway, line: str) -> None:
    verdict = gateway.run(gateway.gate.submit(call("demo/x", n=line), attend=False))
    code = verdict.request.code  # type: ignore[union-attr]
    line = line.replace("K7QF2M", code)
    words = shlex.split(line.replace("$AIRLOCK_API_SECRET", SECRET).replace("$AIRLOCK_TOKEN", SECRET))
    assert words.pop(0) == "curl"
    method, headers, body, url = "", {}, None, ""
    while words:
        match words.pop(0):
            case "-X":
                method = words.pop(0)
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                headers[name] = value
            case "-d":
                body = words.pop(0).encode()
            case other:
                url = other
    path = url.removeprefix("http://localhost:4111")
    assert path.startswith("/")
    answer = gateway.ask(method or ("POST" if body else "GET"), path, body, token=None, headers=headers)
    assert answer.status == 200
    assert answer.json().get("ok", answer.json().get("allowed")) is True


EXAMPLES = {
    "### GET /health": schemas.HEALTH,
    "### GET /hitl/pending": schemas.REQUEST,
    "### GET /audit": schemas.ENTRY,
}


@pytest.mark.parametrize("heading", EXAMPLES)
def test_every_example_has_fields_and_types_that_are_served(heading: str) -> None:
    section = HTTP.split(heading)[1].split("\n### ")[0]
    example: Any = json.loads(blocks(section, "json")[0])
    members = example[0] if isinstance(example, list) else example
    from jsonschema import Draft202012Validator

    schema = EXAMPLES[heading]
    assert set(members) <= set(schema["properties"])
    for name, value in members.items():
        Draft202012Validator(schema["properties"][name]).validate(value)


@pytest.mark.parametrize("block", blocks((DOCS / "gateway.md").read_text(encoding="utf-8"), "yaml"))
def test_every_config_of_the_gateways_page_loads(tmp_path: Path, block: str) -> None:
    text = block if "agents:" in block else f"{block}\nagents: {{a: {{}}}}\n"
    env = {"AIRLOCK_API_SECRET": "s" * 32, "CLAUDE_CODE_TOKEN": "t" * 32}
    config = loads(text, tmp_path / "airlock.yaml", env)
    assert config.server.api_secret


def test_the_files_for_operations_are_there() -> None:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    for name in re.findall(r"\]\((operations/[^)]+)\)", text):
        assert (DOCS / name).is_file()
    unit = (DOCS / "operations" / "airlock.service").read_text(encoding="utf-8")
    assert "airlock --config" in unit
    assert "TimeoutStopSec=10" in unit
