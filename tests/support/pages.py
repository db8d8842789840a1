"""A page of the docs, followed as it is written: its config, gateway, shell lines and programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
BOUND = 60
WRITTEN = "http://127.0.0.1:4111"
"""Where the pages say that the gateway is."""

CURL = """
import sys, urllib.request
name, _, value = sys.argv[4].partition(": ")
print(urllib.request.urlopen(urllib.request.Request(sys.argv[2], headers={name: value})).read().decode())
"""
"""What `curl -s URL -H HEADER` does, for a machine without it."""


def section(title: str) -> str:
    """One product's part of docs/compatibility.md."""
    text = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def named_tests(text: str) -> set[str]:
    """The tests that a page names."""
    return set(re.findall(r"`(test_[a-z_0-9]+)`", text))


def defined_tests(folder: Path, pattern: str) -> set[str]:
    """The tests that there are."""
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob(pattern))
    return set(re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE))


def blocks(page: str) -> list[tuple[str, str]]:
    """The code blocks of a page, each with its kind, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A folder in which a page is followed, and the gateway that it started."""

    folder: Path
    env: dict[str, str]
    url: str

    def shell(self, block: str) -> str:
        """Run a block of shell lines; what they print. Any line that fails fails the test."""
        done = subprocess.run(
            ["sh", "-e", "-c", self._here(block)],
            capture_output=True,
            text=True,
            env=self.env,
            cwd=self.folder,
            timeout=BOUND,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def program(self, block: str, python: str = sys.executable) -> Iterator[subprocess.Popen[str]]:
        """A block of Python, running; it must have ended well by the end."""
        with subprocess.Popen(
            [python, "-c", self._here(block)],
            stdout=subprocess.PIPE,
            text=True,
            env=self.env,
            cwd=self.folder,
        ) as running:
            try:
                yield running
                assert running.wait(BOUND) == 0
            finally:
                running.kill()

    def _here(self, block: str) -> str:
        return block.replace(WRITTEN, self.url)


@contextmanager
def following(folder: Path, config: str, serve: str) -> Iterator[Followed]:
    """A page's config in a folder of its own, with `airlock` on the path and its gateway running."""
    (folder / "airlock.yaml").write_text(config)
    (folder / "airlock.yaml").chmod(0o600)
    _program(folder / "airlock", "-m airlock")
    _program(folder / "python3", "")
    if shutil.which("curl") is None:
        _program(folder / "curl", f"-c '{CURL}'")
    env = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "AIRLOCK_STATE_DIR": str(folder / "state"),
    }
    prepare, command = serve.rstrip().rsplit("\n", 1)
    subprocess.run(["sh", "-e", "-c", prepare], env=env, cwd=folder, timeout=BOUND, check=True)
    gateway = subprocess.Popen(
        [*command.split(), "--port", "0"], stdout=subprocess.PIPE, text=True, env=env, cwd=folder
    )
    try:
        assert gateway.stdout is not None
        yield Followed(folder=folder, env=env, url=gateway.stdout.readline().split()[-1])
    finally:
        gateway.terminate()
        gateway.communicate(timeout=BOUND)


def _program(path: Path, arguments: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
    path.chmod(0o700)
