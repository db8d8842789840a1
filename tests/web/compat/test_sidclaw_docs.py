"""The pages about SidClaw: every endpoint and field stands there with its test; the short way is walked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airlock.config import FaceConfig
from airlock.web.compat.sidclaw import make_face
from airlock.web.compat.sidclaw.shapes import APPROVAL
from airlock.web.compat.sidclaw.webhooks import EVENTS
from fixtures import npm, pypi

DOCS = Path(__file__).parents[3] / "docs"
FACE = make_face(FaceConfig(name="sidclaw", agent="sidclaw"))
BOUND = 60


CURL = """
import sys, urllib.request
name, _, value = sys.argv[4].partition(": ")
print(urllib.request.urlopen(urllib.request.Request(sys.argv[2], headers={name: value})).read().decode())
"""
"""What `curl -s URL -H HEADER` does, for a machine without it."""


def program_at(path: Path, arguments: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
    path.chmod(0o700)


def section() -> str:
    text = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    return text.split("\n## SidClaw\n")[1].split("\n## ")[0]


def test_every_endpoint_field_and_event_stands_in_the_page() -> None:
    text = section()
    for route in FACE.routes:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{route.method} {route.path}` |")]
        assert any(f"`{scope}`" in row for scope in route.scopes) or "the same" in row, row
    for name in [*APPROVAL["properties"], *EVENTS]:
        assert f"`{name}`" in text, name


def test_every_test_that_the_page_names_is_there() -> None:
    there = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_sidclaw_*.py")
    )
    named = set(re.findall(r"`(test_[a-z_0-9]+)`", section()))
    assert len(named) > 20
    assert not {name for name in named if f"def {name}(" not in there}


@pytest.mark.real
def test_the_short_way_from_sidclaw_leads_there(tmp_path: Path) -> None:
    try:
        python = pypi.python("sidclaw")
    except npm.Missing as missing:
        pytest.skip(str(missing))
    text = (DOCS / "coming-from-sidclaw.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["yaml", "sh", "sh", "python", "sh", "sh"]
    (config, serve, keys, program, decide, look) = (block for _, block in blocks)
    assert "airlock gateway" in serve
    (tmp_path / "airlock.yaml").write_text(config)
    (tmp_path / "airlock.yaml").chmod(0o600)
    program_at(tmp_path / "airlock", "-m airlock")
    program_at(tmp_path / "python3", "")
    if shutil.which("curl") is None:
        program_at(tmp_path / "curl", f"-c '{CURL}'")
    env = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "AIRLOCK_API_SECRET": "0123456789abcdef0123456789abcdef",
        "AIRLOCK_STATE_DIR": str(tmp_path / "state"),
        "AIRLOCK_CONFIG": str(tmp_path / "airlock.yaml"),
    }
    gateway = subprocess.Popen(
        ["airlock", "gateway", "--port", "0"], stdout=subprocess.PIPE, text=True, env=env, cwd=tmp_path
    )
    try:
        assert gateway.stdout is not None
        url = gateway.stdout.readline().split()[-1]

        def here(block: str) -> str:
            return block.replace("http://127.0.0.1:4111", url)

        def shell(block: str) -> str:
            done = subprocess.run(
                ["sh", "-e", "-c", here(block)],
                capture_output=True,
                text=True,
                env=env,
                cwd=tmp_path,
                timeout=BOUND,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        shell(keys)
        with subprocess.Popen(
            [python, "-c", here(program)], stdout=subprocess.PIPE, text=True, env=env, cwd=tmp_path
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "approval_required\n"
            shell(decide)
            assert running.stdout.readline().startswith("approved ")
            assert running.wait(BOUND) == 0
        (approval,) = json.loads(shell(look))["data"]
        assert approval["decision_note"] == "a known partner"
        assert approval["context_snapshot"] == {"to": "eve@example.com"}
    finally:
        gateway.terminate()
        gateway.communicate(timeout=BOUND)
