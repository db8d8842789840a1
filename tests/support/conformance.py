"""The public MCP conformance suite as a function: a URL in, the outcome of every check out."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from pathlib import Path

from fixtures import npm

SECONDS = 300
STAMP = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")
PACKAGE = "conformance"
SUITES = {
    "0.1.16, all": ("0.1.16", "--suite", "all"),
    "0.2.0-alpha.12, 2025-11-25": ("0.2.0-alpha.12", "--requirements", "2025-11-25"),
    "0.2.0-alpha.12, 2026-07-28": ("0.2.0-alpha.12", "--requirements", "2026-07-28"),
}
TRACE = {"incoming-sse-event", "stream-closed", "incoming-response", "outgoing-request"}
"""Entries that tell what was seen on the wire: notes of the suite, not checks."""

Outcome = dict[str, Counter[str]]
"""Per `scenario: check` how often it ended how; a check may be made several times."""


async def run(suite: str, url: str, folder: Path) -> Outcome:
    """Run one suite against the server at `url`; `npm.Missing` when it cannot be had."""
    version, *switches = SUITES[suite]
    command = await asyncio.to_thread(npm.package, PACKAGE, version)
    process = await asyncio.create_subprocess_exec(
        *command,
        "server",
        "--url",
        url,
        *switches,
        "-o",
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "NO_PROXY": "*"},
    )
    async with asyncio.timeout(SECONDS):
        said, _ = await process.communicate()
    found = collected(folder)
    assert found, said.decode()[-2000:]
    return found


def collected(folder: Path) -> Outcome:
    """The checks that one run wrote down."""
    found: Outcome = {}
    for path in sorted(folder.glob("*/checks.json")):
        scenario = STAMP.sub("", path.parent.name).removeprefix("server-")
        for check in json.loads(path.read_text()):
            if check["id"] not in TRACE:
                name = f"{scenario}: {check['id']}"
                found.setdefault(name, Counter())[check["status"]] += 1
    return found


def differences(direct: Outcome, through: Outcome) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """The checks that came out differently."""
    names = sorted({*direct, *through})
    pairs = {name: (dict(direct.get(name, {})), dict(through.get(name, {}))) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
