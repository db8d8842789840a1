"""The public MCP conformance suite, directly and through Airlock: check by check the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fixtures import npm
from support.conformance import PACKAGE, SUITES, Outcome, differences, run
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
        for number, suite in enumerate(SUITES):
            for attempt in range(
                3
            ):  # it gives some answers 500 ms, which a busy machine does not always keep
                folder = tmp_path / f"{number}-{attempt}"
                direct, through = await asyncio.gather(
                    run(suite, url, folder / "direct"), run(suite, front.url + "/mcp", folder / "through")
                )
                found = wrong(direct, through)
                if not found:
                    break
            assert not found, suite


def wrong(direct: Outcome, through: Outcome) -> dict[str, Any]:
    """The checks that came out differently, or failed on both ways."""
    found: dict[str, Any] = dict(differences(direct, through))
    if found.get(STREAMS) == ({"SUCCESS": 1}, {"INFO": 1}):
        del found[STREAMS]
    return found | {name: ends for name, ends in direct.items() if "FAILURE" in ends}


async def warmed(front: Any) -> None:
    """Connect for the client that the suite gives 600 ms for its first answer."""
    client = Modern(front, elicitation={})
    client.meta[PREFIX + "clientInfo"] = {"name": "conformance-client", "version": "1.0.0"}
    await client.call("greet", {"name": "suite"})
    await client.close()
