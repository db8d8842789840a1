"""Codex CLI and Gemini CLI with `airlock hook` before each of their own tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.coding_agents import AIRLOCK, SECRET, Bench, Running, start_codex, start_gemini
from support.model_stand_in import Json, Model, Use

pytestmark = pytest.mark.real

CONFIG = f"""
server: {{api_secret: {SECRET}}}
database: sqlite:///airlock.db
providers: {{demo: {{type: builtin}}}}
agents:
  AGENT:
    allow: ["bash/mkdir", "demo/echo", "todo/*"]
    ask: ["bash/touch", "demo/write_note", "file/write"]
    deny: ["bash/rm"]
"""


@dataclass(frozen=True, slots=True)
class Program:
    """One real program with a hook."""

    agent: str
    start: Callable[[Bench, Model, str], Running]
    shell: tuple[str, str]
    mcp: Use

    def bash(self, command: str) -> Use:
        """The model's call of the program's shell."""
        tool, argument = self.shell
        return Use(tool, {argument: command})


def codex_with(bench: Bench, model: Model, line: str) -> Running:
    """An untrusted hook would be skipped in silence: a person trusts it once, a test by a switch."""
    place = bench.home / ".codex/hooks.json"
    place.parent.mkdir(exist_ok=True)
    hook = {"type": "command", "command": line, "timeout": 60}
    place.write_text(json.dumps({"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [hook]}]}}))
    return start_codex(bench, model, "--dangerously-bypass-hook-trust")


def gemini_with(bench: Bench, model: Model, line: str) -> Running:
    """The hook stands in the user's settings: a folder that is not trusted has no hooks."""
    hook = {"type": "command", "name": "airlock", "command": line, "timeout": 60_000}
    settings: Json = {
        "hooksConfig": {"enabled": True},
        "hooks": {"BeforeTool": [{"matcher": "*", "hooks": [hook]}]},
    }
    return start_gemini(bench, model, settings)


PROGRAMS = (
    Program(
        "codex", codex_with, ("exec_command", "cmd"), Use("demo__echo", {"text": "seen once"}, "mcp__airlock")
    ),
    Program(
        "gemini-cli",
        gemini_with,
        ("run_shell_command", "command"),
        Use("mcp_airlock_demo__echo", {"text": "seen once"}),
    ),
)
each = pytest.mark.parametrize("program", PROGRAMS, ids=[one.agent for one in PROGRAMS])


def hook_line(program: Program, *words: str) -> str:
    """The command that `init` writes."""
    line = " ".join([*AIRLOCK, "hook", "--client", program.agent, "--timeout", "60", *words])
    return f"{line} || exit 2"


def made(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@each
@pytest.mark.parametrize("road", ["in-process", "gateway"])
def test_its_shell_runs_only_what_the_policy_and_a_person_let_through(
    program: Program, road: str, place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG.replace("AGENT", program.agent))
    model = play(
        program.mcp,
        program.bash("mkdir allowed"),
        program.bash("rm -rf allowed"),
        program.bash("touch approved"),
        program.bash("touch refused"),
    )
    with bench.gateway() as gateway:
        words = ["--config", str(bench.config)] if road == "in-process" else ["--url", gateway.url]
        if road == "gateway":
            made_key = bench.person(
                "keys", "create", "--name", "k", "--agent", program.agent, "--scope", "hook"
            )
            assert made_key.code == 0, made_key
            bench.env["AIRLOCK_TOKEN"] = made_key.out.strip()
        running = program.start(bench, model, hook_line(program, *words))
        (question,) = bench.pending(while_runs=running)
        assert question["tool"] == "bash/touch"
        assert question["agent_id"] == program.agent
        assert bench.person("approve", question["code"]).code == 0
        (second,) = bench.pending(while_runs=running)
        assert bench.person("deny", second["code"], "--reason", "one is enough").code == 0
        ended = running.end()
    assert ended.code == 0, ended
    assert made(bench.project) == ["allowed", "approved"]
    echo, _, removed, _, refused = model.results
    assert "seen once" in echo
    assert "airlock:" in removed
    assert "bash/rm" in removed
    assert "one is enough" in refused
    assert question["code"] not in model.everything
    tools = sorted(row["tool"] for row in bench.audit())
    assert tools == ["bash/mkdir", "bash/rm", "bash/touch", "bash/touch", "demo/echo"]  # each once


@each
@pytest.mark.parametrize("trouble", ["no gateway", "no config", "no airlock"])
def test_a_hook_that_cannot_be_answered_is_a_no(
    trouble: str, program: Program, place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG.replace("AGENT", program.agent))
    model = play(program.bash("mkdir made"))
    line = {
        "no gateway": hook_line(program, "--url", "http://127.0.0.1:1"),
        "no config": hook_line(program, "--config", str(bench.folder / "nowhere.yaml")),
        "no airlock": "airlock-that-was-removed hook || exit 2",
    }[trouble]
    program.start(bench, model, line).end()
    assert made(bench.project) == []
    assert "blocked" in model.results[0].lower() or "airlock" in model.results[0].lower()
