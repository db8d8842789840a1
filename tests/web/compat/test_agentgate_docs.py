"""The pages about AgentGate: the table names every route, field and test there is; the way there is run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airlock.config import FaceConfig
from airlock.web.compat.agentgate import make_face, shapes
from airlock.web.compat.agentgate.announcing import EVENTS
from airlock.web.compat.agentgate.faults import CODES
from airlock.web.compat.agentgate.ruling import EFFECTS
from airlock.web.compat.agentgate.trail import EVENTS as TRAIL
from airlock.web.compat.matching import OPERATORS
from tests.support.faces import open_agentgate
from tests.support.gateways import BOUND
from tests.support.ports import free_port

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n## AgentGate\n")[1].split("\n## ")[0]
WAY = (ROOT / "docs" / "coming-from-agentgate.md").read_text(encoding="utf-8")
FACE = make_face(FaceConfig(name="agentgate", agent="agentgate"))
TESTS = {
    name
    for file in Path(__file__).parent.glob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
}


def test_the_table_names_every_route_and_no_other() -> None:
    rows = re.findall(r"^\| `(GET|POST|PUT|DELETE) (\S+)` \| (\S+) \|", SECTION, re.MULTILINE)
    told = {(method, path) for method, path, _ in rows}
    assert told == {(route.method, route.path) for route in FACE.routes} | {("GET", "/health")}
    scopes = {(method, path): scope.strip("`") for method, path, scope in rows}
    for route in FACE.routes:
        assert scopes[route.method, route.path] in {str(scope) for scope in route.scopes}


def test_every_test_that_it_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", SECTION))
    assert len(named) > 40
    assert named <= TESTS


def test_it_names_every_field_word_and_code() -> None:
    fields = {
        name
        for shape in (
            shapes.REQUEST,
            shapes.EVENT,
            shapes.POLICY,
            shapes.RULE,
            shapes.NEW_KEY,
            shapes.NEW_WEBHOOK,
            shapes.DELIVERY,
        )
        for name in shape["properties"]
    }
    words = fields | set(EVENTS) | set(CODES.values()) | set(EFFECTS) | set(TRAIL.values())
    for word in words | set(OPERATORS):
        assert re.search(rf"(?<![\w.]){re.escape(word)}(?![\w])", SECTION), word


def test_lists_can_be_wrapped_as_the_later_clients_read_them(tmp_path: Path) -> None:
    with open_agentgate(tmp_path, compat="{agentgate: {lists: wrapped}}") as gate:
        made = [gate.request("w")["id"] for _ in range(3)]
        answer = gate.ask("GET", "/api/requests?limit=2").json()
        assert [row["id"] for row in answer["requests"]] == made[:0:-1]
        assert answer["pagination"] == {"total": 3, "limit": 2, "offset": 0, "hasMore": True}
        last = gate.ask("GET", "/api/requests?limit=2&offset=2").json()
        assert (len(last["requests"]), last["pagination"]["hasMore"]) == (1, False)
        assert gate.ask("GET", "/api/policies", by="admin").json() == {"policies": []}
        assert gate.ask("GET", "/api/webhooks", by="admin").json() == {"webhooks": []}
        assert len(gate.ask("GET", "/api/keys", by="admin").json()["keys"]) == len(gate.keys)


# -- the way there, run as it stands ---------------------------------------------------------------------

BLOCK = re.compile(r"^```(yaml|console|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the page is followed: with `airlock` on the path, and the port that is free here."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "airlock"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m airlock "$@"\n')
    program.chmod(0o755)
    return tmp_path


def environment(folder: Path, port: int) -> dict[str, str]:
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "AIRLOCK_STATE_DIR": str(folder / "state"),
        "AGENTGATE_URL": f"http://localhost:{port}",
    }


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_way_from_agentgate_can_be_walked_as_it_is_written(folder: Path) -> None:
    blocks = BLOCK.findall(WAY)
    port = free_port()
    (folder / "airlock.yaml").write_text(blocks[0][1].replace("3000", str(port)))
    (folder / "airlock.yaml").chmod(0o600)
    known = environment(folder, port)
    prepare, command = blocks[1][1].rstrip().rsplit("\n", 1)
    shell(folder, known, prepare)
    gateway = subprocess.Popen(
        [folder / "bin" / "airlock", *command.split()[1:]],
        cwd=folder,
        env=known,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert gateway.stdout is not None
        assert str(port) in gateway.stdout.readline()
        said = ""
        for kind, text in blocks[2:]:
            if kind == "console":
                said = shell(folder, known, text.replace("3000", str(port)))
            elif kind == "text":
                assert said == text, text
    finally:
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(BOUND) == 0
        gateway.stdout.close()  # type: ignore[union-attr]


def shell(folder: Path, known: dict[str, str], text: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=known,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert done.returncode == 0, (text, done.stderr, done.stdout)
    return done.stdout
