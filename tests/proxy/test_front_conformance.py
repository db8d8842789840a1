"""The public MCP conformance suite, directly and through Airlock: check by check the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fixtures import npm
from support.conformance import PACKAGE, SUITES, Outcome, differences, run, totals
from support.fronts import Modern, gateway, http_server
from support.sessions import PREFIX

pytestmark = [pytest.mark.anyio, pytest.mark.real]

ALL = ["*/**", "resource:*/**", "prompt:*/**"]

STREAMS = "server-sse-multiple-streams: server-sse-streams-functional"
"""`INFO` says that answers came as JSON: so they do through Airlock when they come at once."""


def config(folder: Path, provider: dict[str, Any]) -> Path:
    """A policy that lets everything through, in front of one server whose names stay as they are."""
    path = folder / "airlock.yaml"
    whole = {
        "providers": {"up": {**provider, "prefix": "none"}},
        "agents": {"tester": {"allow": ALL}},
        "database": f"sqlite:///{folder}/a.db",
    }
    path.write_text(json.dumps(whole))
    return path


@pytest.fixture(autouse=True)
def suites_at_hand() -> None:
    for version in {suite[0] for suite in SUITES.values()}:
        try:
            npm.package(PACKAGE, version)
        except npm.Missing as missing:
            pytest.skip(str(missing))


async def test_the_suite_ends_through_airlock_as_it_does_directly(tmp_path: Path) -> None:
    async with (
        http_server("conformance_server.py") as url,
        gateway(config(tmp_path, {"type": "http", "url": url})) as front,
    ):
        await warmed(front)
        runs = [
            run(suite, target, tmp_path / f"{name}-{number}")
            for number, suite in enumerate(SUITES)
            for name, target in (("direct", url), ("through", front.url + "/mcp"))
        ]
        outcomes: list[Outcome] = await asyncio.gather(*runs)
    for suite, direct, through in zip(SUITES, outcomes[::2], outcomes[1::2], strict=True):
        found = differences(direct, through)
        if found.get(STREAMS) == ({"SUCCESS": 1}, {"INFO": 1}):
            del found[STREAMS]
        assert found == {}, suite
        assert "FAILURE" not in totals(direct), suite


async def warmed(front: Any) -> None:
    """Connect for the client that the suite gives 600 ms for its first answer."""
    client = Modern(front, elicitation={})
    client.meta[PREFIX + "clientInfo"] = {"name": "conformance-client", "version": "1.0.0"}
    await client.call("greet", {"name": "suite"})
    await client.close()
