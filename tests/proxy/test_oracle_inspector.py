"""The MCP inspector's command line, directly and through Airlock: the same output and the same exit code."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fixtures import npm
from support.fronts import FIXTURES, gateway, http_server
from support.processes import command

pytestmark = [pytest.mark.anyio, pytest.mark.real]

VERSION = "2.12.0"
SECONDS = 60
SERVER = "conformance_server.py"

ASKS = {
    "tools": ["tools/list"],
    "several kinds": ["tools/call", "--tool-name", "test_multiple_content_types"],
    "a tool's error": ["tools/call", "--tool-name", "test_error_handling"],
    "no such tool": ["tools/call", "--tool-name", "nobody"],
    "a resource": ["resources/read", "--uri", "test://static-text"],
    "no such resource": ["resources/read", "--uri", "test://nobody"],
    "a prompt": ["prompts/get", "--prompt-name", "test_simple_prompt"],
}


@pytest.fixture(scope="module", autouse=True)
def inspector() -> list[str]:
    try:
        return npm.package("inspector", VERSION)
    except npm.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
async def targets(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, list[list[str]]]]:
    """By transport: how the server is reached directly, and how through Airlock."""
    folder = tmp_path_factory.mktemp("inspector")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRLOCK_STATE_DIR", str(folder / "state"))
        async with http_server(SERVER) as url:
            words = [sys.executable, str(FIXTURES / SERVER), "--stdio"]
            piped = config(folder / "a", {"type": "stdio", "command": words[0], "args": words[1:]})
            called = config(folder / "b", {"type": "http", "url": url})
            async with gateway(called) as front:
                yield {"stdio": [words, command(piped)], "http": [[url], [front.url + "/mcp"]]}


def config(folder: Path, provider: dict[str, Any]) -> Path:
    folder.mkdir()
    path = folder / "airlock.yaml"
    whole = {
        "providers": {"up": {**provider, "prefix": "none"}},
        "agents": {"tester": {"allow": ["*/**", "resource:*/**", "prompt:*/**"]}},
        "database": f"sqlite:///{folder}/a.db",
    }
    path.write_text(json.dumps(whole))
    return path


async def said(inspector: list[str], target: list[str], switches: list[str], home: Path) -> tuple[Any, Any]:
    """The exit code and the JSON of one run."""
    words = [*inspector, "--cli", *switches, "--format", "json", "-q", "--connect-timeout", "20000"]
    place = ["--", *target] if len(target) > 1 else target
    environment = {
        **os.environ,
        "HOME": str(home),
        "NO_PROXY": "*",
        "AIRLOCK_STATE_DIR": str(home / "state"),
        "MCP_CATALOG_PATH": str(home / "catalog.json"),
    }
    passed = ["-e", f"AIRLOCK_STATE_DIR={home / 'state'}"] if len(target) > 1 else []
    process = await asyncio.create_subprocess_exec(
        *words,
        *passed,
        *place,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    text = out.decode()
    assert text.strip() or process.returncode, err.decode()[-500:]
    return process.returncode, json.loads(text) if text.strip() else errors(err.decode())


def errors(text: str) -> Any:
    """The JSON error line that it writes to stderr."""
    return [json.loads(row) for row in text.splitlines() if row.startswith("{")]


PAIRINGS = [(transport, era) for transport in ("stdio", "http") for era in ("legacy", "modern")]


def private(answer: tuple[Any, Any]) -> tuple[Any, Any]:
    """The answer as Airlock gives it: what one agent may see is nobody else's, whatever the server says."""
    code, found = answer
    result = found.get("result") if isinstance(found, dict) else None
    if isinstance(result, dict) and "cacheScope" in result:
        result["cacheScope"] = "private"
    return code, found


@pytest.mark.parametrize("number", range(4), ids=[" ".join(one) for one in PAIRINGS])
async def test_the_inspector_says_the_same_through_airlock(
    inspector: list[str], targets: dict[str, list[list[str]]], number: int, tmp_path: Path
) -> None:
    """Each question is put over one of the pairings, the list of tools over all of them."""
    transport, era = PAIRINGS[number]
    different = {}
    for index, (name, (method, *more)) in enumerate(ASKS.items()):
        if index and index % 4 != number:
            continue
        switches = ["--method", method, *more, "--protocol-era", era]
        direct, through = await asyncio.gather(
            *(said(inspector, target, switches, tmp_path) for target in targets[transport])
        )
        if private(direct) != through:
            different[name] = (direct, through)
    assert different == {}
