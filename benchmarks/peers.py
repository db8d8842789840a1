"""Other proxies in front of the same server, each installed from PyPI into an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.programs import echo

BELAY_RULES: Final = """\
version: 1
name: bench
default: allow
rules:
"""
BELAY_RULE: Final = """\
  - {{id: r{n}, action: deny, match: {{args: {{text: {{regex: '^forbidden word {n}$'}}}}}}, message: stop}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What to install, and how it is put before the server."""

    package: str
    words: Callable[[Path, Path], list[str]]
    """From the folder with its programs and a folder for its files to its command line."""


def _belay(programs: Path, files: Path) -> list[str]:
    policy = files / "belay.yaml"
    policy.write_text(BELAY_RULES + "".join(BELAY_RULE.format(n=n) for n in range(50)))
    audit = str(files / "belay.jsonl")
    return [
        str(programs / "belay"), "mcp", "--policy", str(policy), "--name", "up", "--audit", audit,
        "--approve", "deny", "--", *echo(),
    ]  # fmt: skip


def _airlock_agent(programs: Path, files: Path) -> list[str]:
    home = ["env", f"HOME={files}", f"AIRLOCK_HOME={files}"]
    return [*home, str(programs / "airlock-mcp"), "--server-id", "up", "--", *echo()]


def _fastmcp(programs: Path, files: Path) -> list[str]:
    command, *args = echo()
    config = files / "fastmcp.json"
    config.write_text(json.dumps({"mcpServers": {"up": {"command": command, "args": args}}}))
    return [str(programs / "fastmcp"), "run", str(config), "--no-banner"]


def _bastiongate(programs: Path, files: Path) -> list[str]:
    return [str(programs / "bastiongate"), "run", "--log", str(files / "calls.jsonl"), "--", *echo()]


PEERS: Final = {
    "agentbelay": Peer(package="agentbelay==0.1.0", words=_belay),
    "airlock-agent": Peer(package="airlock-agent==0.5.0", words=_airlock_agent),
    "bastiongate": Peer(package="bastiongateway==0.14.0", words=_bastiongate),
    "fastmcp": Peer(package="fastmcp>=4.1,<5", words=_fastmcp),
}
"""Those that proxy stdio to stdio and start as published. airlock-agent 0.6.0 lacks a module."""


def install(name: str, cache: Path) -> Path:
    """The folder with the peer's programs; installed on the first request."""
    return environment_with(PEERS[name].package, cache / name)


def environment_with(package: str, home: Path) -> Path:
    """The programs of an environment of its own with this package; SystemExit when it cannot be had."""
    programs = home / "bin"
    if not (home / "installed").exists():
        print(f"installing {package} …", file=sys.stderr)
        venv.create(home, with_pip=True)
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, package], capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise SystemExit(f"{package} cannot be installed: {done.stderr.strip()[-500:]}")
        (home / "installed").touch()
    return programs
