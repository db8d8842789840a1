"""The pages about HARP: every endpoint and field stands there with its test; the short way is walked."""

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
from airlock.web.compat.harp import make_face
from airlock.web.compat.harp.dnd import POLICY
from airlock.web.compat.harp.exchanges import DECISION, STATUS
from airlock.web.compat.harp.pairingroutes import STATUS as PAIRING

DOCS = Path(__file__).parents[3] / "docs"
FACE = make_face(FaceConfig(name="harp", agent="harp"))
BOUND = 60


def section() -> str:
    text = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    return text.split("\n## HARP Integrations Gateway\n")[1].split("\n## ")[0]


def test_every_endpoint_and_field_stands_in_the_page() -> None:
    text = section()
    for route in FACE.routes:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{route.method} {route.path}` |")]
        assert any(f"`{scope}`" in row for scope in route.scopes) or "nothing" in row, row
    for shape in (POLICY, DECISION, STATUS, PAIRING):
        for name in shape["properties"]:
            assert f"`{name}`" in text, name


def test_every_test_that_the_page_names_is_there() -> None:
    there = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_harp_*.py"))
    named = set(re.findall(r"`(test_[a-z_0-9]+)`", section()))
    assert len(named) > 20
    assert not {name for name in named if f"def {name}(" not in there}


@pytest.mark.real
def test_the_short_way_from_harp_leads_there(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing: install it")
    text = (DOCS / "coming-from-harp.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["yaml", "sh", "sh", "sh", "python", "sh"]
    (config, serve, key, code, program, decide) = (block for _, block in blocks)
    assert "airlock gateway" in serve
    (tmp_path / "airlock.yaml").write_text(config)
    (tmp_path / "airlock.yaml").chmod(0o600)
    (tmp_path / "airlock").write_text(f'#!/bin/sh\nexec {sys.executable} -m airlock "$@"\n')
    (tmp_path / "airlock").chmod(0o700)
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

        shell(key)
        shell(code)
        with subprocess.Popen(
            [sys.executable, "-c", here(program)], stdout=subprocess.PIPE, text=True, env=env, cwd=tmp_path
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "submitted\n"
            (row,) = json.loads(shell("airlock pending --json"))
            assert row["args"]["artifact"] == {"commandText": "rm -rf build"}
            assert row["args"]["hash_verified"] is True
            shell(decide)
            assert running.stdout.readline() == "verified approve only the build folder\n"
            assert running.wait(BOUND) == 0
    finally:
        gateway.terminate()
        gateway.communicate(timeout=BOUND)
