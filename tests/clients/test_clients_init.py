"""What `airlock init` writes, in the hands of the real programs: MCP entry and hooks work at once, and after
`--undo` nothing is left of it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.coding_agents import SECRET, Bench, Running, start_claude, start_codex, start_gemini
from support.model_stand_in import Model, Use

pytestmark = pytest.mark.real


@dataclass(frozen=True, slots=True)
class Program:
    """One real program in a project that `init` has plugged in."""

    flag: str
    start: Callable[[Bench, Model], Running]
    touch: Callable[[str], Use]
    note: Use


def claude(bench: Bench, model: Model) -> Running:
    return start_claude(bench, model, "--allowedTools", "mcp__airlock")


def codex(bench: Bench, model: Model) -> Running:
    """With its hook trusted, as a person does once."""
    return start_codex(bench, model, "--dangerously-bypass-hook-trust", mcp=False)


def gemini(bench: Bench, model: Model) -> Running:
    return start_gemini(bench, model, mcp=False)


NOTE = {"name": "plan", "text": "buy milk"}
PROGRAMS = (
    Program(
        "--claude-code",
        claude,
        lambda name: Use("Bash", {"command": f"touch {name}"}),
        Use("mcp__airlock__demo__write_note", NOTE),
    ),
    Program(
        "--codex",
        codex,
        lambda name: Use("exec_command", {"cmd": f"touch {name}"}),
        Use("demo__write_note", NOTE, "mcp__airlock"),
    ),
    Program(
        "--gemini",
        gemini,
        lambda name: Use("run_shell_command", {"command": f"touch {name}"}),
        Use("mcp_airlock_demo__write_note", NOTE),
    ),
)
each = pytest.mark.parametrize("program", PROGRAMS, ids=[one.flag.strip("-") for one in PROGRAMS])


def tree(*folders: Path) -> dict[str, bytes]:
    """Every file in these folders, with its bytes, but for Airlock's own."""
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "airlock" not in path.name and ".local" not in path.parts
    }


def decide_two(bench: Bench, running: Running) -> list[str]:
    """Say yes to the next question and no to the one after it; what they were about."""
    (first,) = bench.pending(while_runs=running)
    assert bench.person("approve", first["code"]).code == 0
    (second,) = bench.pending(while_runs=running)
    assert bench.person("deny", second["code"]).code == 0
    return [first["tool"], second["tool"]]


@each
def test_init_plugs_a_real_program_in_and_undo_takes_it_out(
    program: Program, place: Callable[..., Bench], play: Callable[..., Model]
) -> None:
    bench = place()
    if program.flag == "--codex":
        (bench.home / ".codex").mkdir()
        (bench.home / ".codex/config.toml").write_text("# mine\n")
    before = tree(bench.home, bench.project)
    done = bench.person("init", program.flag, "--write-client", "--yes", "--no-start")
    assert done.code == 0, done
    written = tree(bench.home, bench.project)
    assert len(written) > len(before)
    model = play(program.touch("approved"), program.note, program.touch(".airlock.env"))
    running = program.start(bench, model)
    assert decide_two(bench, running) == ["bash/touch", "demo/write_note"]
    (third,) = bench.pending(while_runs=running)
    assert bench.person("deny", third["code"]).code == 0
    ended = running.end()
    assert ended.code == 0, ended
    assert (bench.project / "approved").exists()
    assert "denied" in model.results[1]
    for name in written:
        assert SECRET not in Path(name).read_text()
    if program.flag == "--codex":  # the test's own settings went in for the run
        (bench.home / ".codex/config.toml").write_bytes(written[str(bench.home / ".codex/config.toml")])
    if program.flag == "--gemini":
        settings = bench.home / ".gemini/settings.json"
        settings.write_bytes(written[str(settings)])
    undone = bench.person("init", "--undo")
    assert undone.code == 0, undone
    after = tree(bench.home, bench.project)
    assert {name: after.get(name) for name in before} == before
    assert not set(after) & (set(written) - set(before))


def test_with_a_gateway_claude_code_gets_a_key_for_its_hooks_and_never_the_secret(
    place: Callable[..., Bench], play: Callable[..., Model]
) -> None:
    bench = place()
    assert bench.person("init", "--claude-code", "--yes").code == 0
    with bench.gateway() as gateway:
        done = bench.person(
            "init", "--claude-code", "--connect", "--gateway", gateway.url, "--write-client", "--yes"
        )
        assert done.code == 0, done
        settings = bench.project / ".claude/settings.local.json"
        token = json.loads(settings.read_text())["env"]["AIRLOCK_TOKEN"]
        assert stat.S_IMODE(settings.stat().st_mode) == 0o600
        assert token not in done.out + done.err
        (key,) = json.loads(bench.person("keys", "list", "--json").out)
        assert (key["agent"], key["scopes"], key["revoked_at"]) == ("claude-code", ["hook"], None)
        model = play(
            Use("Bash", {"command": "touch approved"}),
            Use("Bash", {"command": "touch refused"}),
            Use("Bash", {"command": "echo $AIRLOCK_TOKEN | wc -c"}),
        )
        running = claude(bench, model)
        assert decide_two(bench, running) == ["bash/touch", "bash/touch"]
        (third,) = bench.pending(while_runs=running)
        assert bench.person("approve", third["code"]).code == 0
        assert running.end().code == 0
        assert (bench.project / "approved").exists()
        assert not (bench.project / "refused").exists()
        results = {row["result"] for row in bench.audit() if row["hitl_outcome"] == "approved"}
        assert results == {"success"}  # PostToolUse told how it came out
        assert bench.person("init", "--undo").code == 0
        (key,) = json.loads(bench.person("keys", "list", "--json").out)
        assert key["revoked_at"]
    assert not settings.exists()
    assert not (bench.project / ".mcp.json").exists()


def test_the_plugin_does_both_in_one_step(place: Callable[..., Bench], play: Callable[..., Model]) -> None:
    bench = place()
    folder = bench.folder / "plugin"
    done = bench.person("init", "--claude-code", "--plugin", str(folder), "--yes")
    assert done.code == 0, done
    model = play(
        Use("mcp__plugin_airlock_airlock__demo__write_note", NOTE),
        Use("Bash", {"command": "touch refused"}),
        Use("mcp__plugin_airlock_airlock__demo__read_note", {"name": "plan"}),
        Use("Bash", {"command": "ls"}),
    )
    switches = ["--plugin-dir", str(folder), "--allowedTools", "mcp__plugin_airlock_airlock"]
    running = start_claude(bench, model, *switches)
    assert decide_two(bench, running) == ["demo/write_note", "bash/touch"]
    ended = running.end()
    assert ended.code == 0, ended
    assert not (bench.project / "refused").exists()
    assert "buy milk" in model.results[2]
    assert "airlock.yaml" in model.results[3]
    tools = sorted(row["tool"] for row in bench.audit())
    assert tools == ["bash/ls", "bash/touch", "demo/read_note", "demo/write_note"]  # each asked once
    assert bench.person("init", "--undo").code == 0
    assert not folder.exists()
