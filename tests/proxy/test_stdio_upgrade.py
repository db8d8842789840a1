"""A long-lived `airlock stdio` while Airlock is upgraded, or removed, beneath it (decisions.md 40)."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import airlock
from airlock import runtime
from airlock.loader.file import load
from airlock.model import Resolution
from tests.support.processes import SECONDS, Process
from tests.support.sessions import text_of

NOTE = {"name": "a", "text": "b"}
PACKAGE = Path(airlock.__file__).parent

POLICY = """
database: sqlite:///a.db
providers: {demo: {type: builtin}}
agents:
  tester: {allow: ["demo/list_notes"], ask: ["demo/write_note"]}
rules:
  - {id: short, tool: demo/write_note, effect: deny, when: 'has(args.name) && args.name == "no"'}
  - {id: names, tool: demo/write_note, effect: deny, args: {name: {regex: "^never"}}}
"""

ELSEWHERE = {
    "airlock.keyring",
    "airlock.listener.server",
    "airlock.listener.sockets",
    "airlock.proxy.front.http",
    "airlock.web.app",
}
"""What only the gateway and people's commands load."""

AT_START = {
    "airlock.cli.exits",
    "airlock.notify.bell",
    "airlock.notify.command",
}
"""What is loaded before the first answer, as far as it is needed at all."""


@pytest.mark.anyio
async def test_an_asked_call_passes_although_the_package_is_gone_since_the_first_answer(
    tmp_path: Path, state_of_its_own: Path
) -> None:
    library = tmp_path / "library"
    shutil.copytree(PACKAGE, library / "airlock", ignore=shutil.ignore_patterns("__pycache__"))
    config = tmp_path / "airlock.yaml"
    config.write_text(POLICY)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "airlock", "stdio", "--agent", "tester"),
        *("--config", str(config), "--log-level", "debug"),
        cwd=library,
        env={**os.environ, "PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    client = Process(process)
    try:
        async with asyncio.timeout(SECONDS):
            await client.initialize()
            await _said(process, b"everything that may be needed is loaded")
            (library / "airlock").rename(library / "gone")
            waiting = client.send("tools/call", {"name": "demo__write_note", "arguments": NOTE})
            async with runtime.opened(load(config), road="cli") as elsewhere:
                while not (found := await elsewhere.gate.pending()):
                    await asyncio.sleep(0.01)  # polls a real database
                await elsewhere.gate.resolve(found[0].code, Resolution(approve=True, identity="local:alice"))
            assert "wrote the note" in text_of((await client.answer(waiting))["result"])
            for name in ("no", "never mind"):
                refused = await client.call("demo__write_note", {"name": name})
                assert refused["isError"] is True
            assert "notes" in text_of(await client.call("demo__list_notes"))
            assert await client.hang_up() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _said(process: asyncio.subprocess.Process, words: bytes) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        if words in line:
            return
    raise AssertionError("it never said so")


PROBE = """
import importlib, json, sys
import airlock.stdiocli, airlock.proxy.front.stdio, airlock.loader.file
import airlock.gate, airlock.store.sqlite, airlock.notify
from airlock import serving
LATER = (*serving.LATER, *serving.LATER_FOR_URLS, *serving.LATER_FOR_LOGINS, *serving.LATER_FOR_HOOKS,
         *serving.LATER_FOR_WEBHOOKS)
for name in LATER:
    importlib.import_module(name)
print(json.dumps({name: one.__file__ for name, one in sys.modules.items() if name.startswith("airlock")}))
"""


def test_nothing_of_airlock_is_left_to_load_after_the_first_answer() -> None:
    """Every import inside a function of what is loaded names something that is loaded as well."""
    ended = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    loaded = json.loads(ended.stdout)
    missing = {
        f"{name} imports {wanted}"
        for name, file in loaded.items()
        for wanted in _inner_imports(ast.parse(Path(file).read_text(encoding="utf-8")))
        if _is_module(wanted) and wanted not in {*loaded, *ELSEWHERE, *AT_START}
    }
    assert missing == set()


def _is_module(name: str) -> bool:
    place = PACKAGE.parent / name.replace(".", "/")
    return name.startswith("airlock.") and (place.with_suffix(".py").exists() or place.is_dir())


def _inner_imports(tree: ast.Module) -> Iterator[str]:
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module
                    yield from (f"{node.module}.{alias.name}" for alias in node.names)
                elif isinstance(node, ast.Import):
                    yield from (alias.name for alias in node.names)
