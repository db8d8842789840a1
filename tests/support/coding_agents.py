"""A place where a real coding agent runs for a test: a home and a project of its own, Airlock's config, a
person with a command line, a gateway process. Nothing of the environment of whoever runs the tests gets in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airlock import runtime
from airlock.loader.file import load
from airlock.views import request_shape
from fixtures import clients, npm
from support.model_stand_in import Model

Json = dict[str, Any]

BOUND = 60.0
"""No program may take longer than this."""

AIRLOCK = [sys.executable, "-m", "airlock"]
SECRET = "the-people-know-this-secret"


def program(get: Callable[[], list[str]]) -> list[str]:
    """The command line of a real program; the test is skipped with what to do when it cannot be had."""
    try:
        return get()
    except npm.Missing as missing:
        pytest.skip(str(missing))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str

    def json(self) -> Json:
        """The one JSON document on stdout."""
        value: Json = json.loads(self.out)
        return value


class Running:
    """A program that runs; `end` waits for it."""

    def __init__(
        self, command: list[str], cwd: Path, env: Mapping[str, str], given: str | None = None
    ) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._ended: Ended | None = None
        self._thread = threading.Thread(target=self._wait, args=(given,), daemon=True)
        self._thread.start()

    def _wait(self, given: str | None) -> None:
        out, err = self.process.communicate(given or "")
        self._ended = Ended(self.process.returncode, out, err)

    @property
    def over(self) -> bool:
        """True when it has ended."""
        return self._ended is not None

    def end(self) -> Ended:
        """Wait for it."""
        self._thread.join(BOUND)
        if self._ended is None:
            self.kill()
            raise AssertionError("the program did not end in time")
        return self._ended

    def kill(self) -> None:
        """End it and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._thread.join(BOUND)


@dataclass(slots=True)
class Bench:
    """The place. `env` is what every program in it gets."""

    folder: Path
    config: Path
    project: Path
    home: Path
    env: dict[str, str] = field(default_factory=dict)
    started: list[Running] = field(default_factory=list)

    def start(self, *command: str, given: str | None = None, **env: str) -> Running:
        """Start a program in the project."""
        running = Running(list(command), self.project, {**self.env, **env}, given)
        self.started.append(running)
        return running

    def person(self, *words: str, given: str | None = None, **env: str) -> Ended:
        """A person types `airlock …` in another terminal."""
        return self.start(*AIRLOCK, "--config", str(self.config), *words, given=given, **env).end()

    def pending(self, count: int = 1, while_runs: Running | None = None) -> list[Json]:
        """The queue, once it holds so many questions."""

        return asyncio.run(self._pending(count, while_runs))

    async def _pending(self, count: int, while_runs: Running | None) -> list[Json]:
        async with asyncio.timeout(BOUND), runtime.opened(load(self.config), road="cli") as elsewhere:
            while len(rows := await elsewhere.gate.pending()) < count:
                if while_runs is not None and while_runs.over:
                    raise AssertionError(f"the program ended and asked nothing: {while_runs.end()}")
                await asyncio.sleep(0.02)  # polls what another process does
            return [request_shape(row) for row in rows]

    def audit(self) -> list[Json]:
        """One entry a call, newest first."""
        rows: list[Json] = json.loads(self.person("audit", "--json").out)
        return rows

    def file(self, name: str, text: str | Json) -> Path:
        """Write a file of the project."""
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else json.dumps(text, indent=2))
        return path

    def serving(self, agent: str) -> list[str]:
        """The command that a client's config names."""
        return [*AIRLOCK, "stdio", "--agent", agent, "--config", str(self.config)]

    @contextlib.contextmanager
    def gateway(self) -> Iterator[GatewayProcess]:
        """A running `airlock gateway`."""
        gateway = GatewayProcess(self)
        try:
            yield gateway
        finally:
            gateway.stop()

    def close(self) -> None:
        """End what still runs."""
        for one in self.started:
            if not one.over:
                one.kill()


class GatewayProcess:
    """`airlock gateway` as a process of its own, on a free port."""

    def __init__(self, bench: Bench) -> None:
        self._log = (bench.folder / "gateway.log").open("w")
        self.process = subprocess.Popen(
            [*AIRLOCK, "gateway", "--port", "0", "--config", str(bench.config)],
            cwd=bench.folder,
            env=bench.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert " on http://" in line, (bench.folder / "gateway.log").read_text()
        self.url = line.rpartition(" ")[2].strip()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait(BOUND)

    def stop(self) -> None:
        """End it in order."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=BOUND)
        self._log.close()


@contextlib.contextmanager
def bench(folder: Path, config: str) -> Iterator[Bench]:
    """A place with this Airlock config; an empty one is left to `airlock init`, in the project."""
    home, project = folder / "home", folder / "project"
    # The usual place: Codex hands few variables on, and all must mean the same state.
    state = home / ".local/state/airlock"
    for each in (home, project, state):
        each.mkdir(mode=0o700, parents=True)
    path = folder / "airlock.yaml" if config else project / "airlock.yaml"
    if config:
        path.write_text(config)
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "USER": "somebody",
        "LANG": "C.UTF-8",
        "AIRLOCK_STATE_DIR": str(state),
    }
    made = Bench(folder=folder, config=path, project=project, home=home, env=env)
    try:
        yield made
    finally:
        made.close()


# Claude Code


def claude_env(model: Model) -> dict[str, str]:
    """What makes Claude Code ask the stand-in and nobody else."""
    return {
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": "dummy",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ENABLE_TOOL_SEARCH": "false",
    }


def start_claude(bench: Bench, model: Model, *switches: str, prompt: str = "go ", **env: str) -> Running:
    """`claude -p`, in the project."""
    command = [*program(clients.claude), "-p", prompt, "--output-format", "json", *switches]
    return bench.start(*command, **{**claude_env(model), **env})


def claude_mcp(bench: Bench, agent: str = "claude-code") -> list[str]:
    """The switches with which Claude Code knows Airlock as its one MCP server."""
    command, *args = bench.serving(agent)
    path = bench.folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"airlock": {"command": command, "args": args}}}))
    return ["--mcp-config", str(path), "--strict-mcp-config", "--allowedTools", "mcp__airlock"]


# Codex CLI


def start_codex(bench: Bench, model: Model, *switches: str, mcp: bool = True, **env: str) -> Running:
    """`codex exec`, in the project. Without `mcp` the servers are those of the config that is there."""
    home = bench.home / ".codex"
    home.mkdir(exist_ok=True)
    place = home / "config.toml"
    servers = codex_mcp(bench) if mcp else place.read_text()
    place.write_text(codex_config(model) + servers)
    command = [*program(clients.codex), "exec", "--skip-git-repo-check", "--json", *switches, "go "]
    return bench.start(*command, CODEX_HOME=str(home), FAKE_KEY="x", **env)


def codex_config(model: Model) -> str:
    """A config.toml that asks the stand-in and nobody else, and asks no person."""
    return f"""
model = "fake"
model_provider = "fake"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.fake]
name = "fake"
base_url = "{model.url}/v1"
wire_api = "responses"
env_key = "FAKE_KEY"
supports_websockets = false
"""


def codex_mcp(bench: Bench) -> str:
    """The entry of Airlock in config.toml."""
    command, *args = bench.serving("codex")
    return f"""
[mcp_servers.airlock]
command = {json.dumps(command)}
args = {json.dumps(args)}
env = {{AIRLOCK_STATE_DIR = {json.dumps(bench.env["AIRLOCK_STATE_DIR"])}}}
tool_timeout_sec = 600
"""


# Gemini CLI


def start_gemini(
    bench: Bench, model: Model, settings: Json | None = None, *, mcp: bool = True, **env: str
) -> Running:
    """`gemini -p`, in the project. Without `mcp` the servers and hooks are those of the settings there."""
    command, *args = bench.serving("gemini-cli")
    place = bench.home / ".gemini/settings.json"
    servers = {"mcpServers": {"airlock": {"command": command, "args": args, "timeout": 600_000}}}
    whole: Json = {
        **(servers if mcp else json.loads(place.read_text())),
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "telemetry": {"enabled": False},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True},
        **(settings or {}),
    }
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(whole))
    words = ["--skip-trust", "--approval-mode", "yolo", "-m", "gemini-2.5-pro", "-p", "go ", "-o", "json"]
    return bench.start(
        *program(clients.gemini),
        *words,
        GEMINI_API_KEY="x",
        GOOGLE_GEMINI_BASE_URL=model.url,
        GEMINI_CLI_NO_RELAUNCH="true",
        **env,
    )
