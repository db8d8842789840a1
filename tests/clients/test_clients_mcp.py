"""The real programs as MCP clients of `airlock stdio`: a call that is allowed, one that is refused, one that
is held until a person in another process answers. The model is a script; everything else is real."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from support.coding_agents import Bench, Running, claude_mcp, start_claude, start_codex, start_gemini
from support.model_stand_in import Json, Model, Use

pytestmark = pytest.mark.real

CONFIG = """
database: sqlite:///airlock.db
providers: {demo: {type: builtin}}
agents:
  AGENT:
    allow: ["demo/echo", "demo/transfer", "demo/read_note"]
    ask: ["demo/write_note"]
    deny: ["demo/delete_note"]
rules:
  - {id: small-payments, tool: demo/transfer, effect: deny, args: {amount: {gt: 100}}, reason: "at most 100"}
"""


@dataclass(frozen=True, slots=True)
class Program:
    """One real program: how it starts, and what it calls the tools of Airlock."""

    agent: str
    start: Callable[[Bench, Model], Running]
    name: str

    def use(self, tool: str, arguments: Json) -> Use:
        """The model's call of `demo__tool`, as this program offers it."""
        namespace, _, name = self.name.partition("/")
        return Use(name + tool, arguments, namespace) if name else Use(self.name + tool, arguments)

    def offered(self, tool: str) -> str:
        """How the stand-in lists it."""
        return self.name + tool


PROGRAMS = (
    Program(
        "claude-code",
        lambda bench, model: start_claude(bench, model, *claude_mcp(bench)),
        "mcp__airlock__demo__",
    ),
    Program("codex", start_codex, "mcp__airlock/demo__"),
    Program("gemini-cli", start_gemini, "mcp_airlock_demo__"),
)

each = pytest.mark.parametrize("program", PROGRAMS, ids=[one.agent for one in PROGRAMS])


@each
def test_a_real_program_runs_what_is_allowed_and_reads_why_the_rest_was_refused(
    program: Program, place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG.replace("AGENT", program.agent))
    model = play(
        program.use("echo", {"text": "hello from the script"}),
        program.use("transfer", {"to": "eve", "amount": 500}),
        program.use("delete_note", {"name": "welcome"}),
    )
    ended = program.start(bench, model).end()
    assert ended.code == 0, ended
    echo, transfer, delete = model.results
    assert "hello from the script" in echo
    assert "airlock: at most 100" in transfer
    assert "small-payments" in transfer
    assert program.offered("echo") in model.last.tools
    assert program.offered("delete_note") not in model.last.tools  # denied whatever the arguments: not shown
    assert "delete_note" in delete  # whoever says no to it, it is a no
    rows = [(row["tool"], row["result"]) for row in bench.audit()]
    assert ("demo/transfer", "denied") in rows
    assert ("demo/echo", "success") in rows


@each
def test_a_real_program_is_held_until_a_person_approves_in_another_process(
    program: Program, place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG.replace("AGENT", program.agent))
    model = play(
        program.use("write_note", {"name": "plan", "text": "buy milk"}),
        program.use("read_note", {"name": "plan"}),
    )
    running = program.start(bench, model)
    (question,) = bench.pending(while_runs=running)
    assert question["agent_id"] == program.agent
    assert question["tool"] == "demo/write_note"
    assert question["args"] == {"name": "plan", "text": "buy milk"}
    assert bench.person("approve", question["code"].lower()).code == 0
    ended = running.end()
    assert ended.code == 0, ended
    wrote, read = model.results
    assert "plan" in wrote
    assert "buy milk" in read
    assert question["code"] not in model.everything
    assert question["id"] not in model.everything
    outcomes = {(row["tool"], row["result"], row["hitl_outcome"]) for row in bench.audit()}
    assert ("demo/write_note", "success", "approved") in outcomes


@each
def test_a_real_program_reads_the_persons_no_and_nothing_was_done(
    program: Program, place: Callable[[str], Bench], play: Callable[..., Model]
) -> None:
    bench = place(CONFIG.replace("AGENT", program.agent))
    model = play(
        program.use("write_note", {"name": "plan", "text": "sell the house"}),
        program.use("read_note", {"name": "plan"}),
    )
    running = program.start(bench, model)
    (question,) = bench.pending(while_runs=running)
    assert bench.person("deny", question["code"], "--reason", "we live in it").code == 0
    assert running.end().code == 0
    refused, read = model.results
    assert "we live in it" in refused
    assert "there is no note" in read
    assert json.dumps(question["code"]) not in model.everything
