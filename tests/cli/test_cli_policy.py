"""The policy, checked and asked from the command line; and `tools`, `trust`, `version`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airlock import __version__
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio


async def test_a_valid_policy_passes_with_its_tests_counted(terminal: Terminal) -> None:
    ended = await terminal.quick("policy", "check", "--json")
    assert (ended.code, ended.json["ok"], ended.json["tests"]) == (0, True, 1)


async def test_all_problems_are_told_at_once_with_file_and_line(terminal: Terminal) -> None:
    terminal.config.write_text("agents:\n  a: {alow: []}\nrules:\n  - {id: r, tool: x/y, effect: maybe}\n")
    ended = await terminal.quick("policy", "check")
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(f"airlock: {terminal.config}:") for line in lines)
    assert "did you mean" in ended.err


async def test_a_failing_test_of_the_policy_is_exit_eight(terminal: Terminal) -> None:
    text = terminal.config.read_text().replace("expect: allow", "expect: deny")
    terminal.config.write_text(text)
    checked = await terminal.quick("policy", "check")
    tested = await terminal.quick("policy", "test")
    assert (checked.code, tested.code) == (8, 8)
    assert "FAIL" in tested.out
    assert (await terminal.quick("policy", "test", "--json")).json[0]["passed"] is False


@pytest.mark.parametrize(
    ("tool", "args", "effect", "code"),
    [
        ("demo/echo", "{}", "allow", 0),
        ("demo/write_note", "{}", "ask", 0),
        ("demo/transfer", '{"amount": 500}', "ask", 0),
        ("demo/transfer", '{"amount": 5}', "deny", 3),
        ("demo/delete_note", "{}", "deny", 3),
        ("bash/rm", "{}", "deny", 3),
        ("resource:demo/note://x", "{}", "deny", 3),
    ],
)
async def test_explain_says_the_effect_and_the_rule(
    terminal: Terminal, tool: str, args: str, effect: str, code: int
) -> None:
    words = ("policy", "explain", "--agent", "claude-code", "--tool", tool, "--args", args)
    ended = await terminal.quick(*words)
    assert ended.code == code
    assert ended.out.startswith(effect)
    shape = (await terminal.quick(*words, "--json")).json
    assert (shape["effect"], shape["tool"]) == (effect, tool)
    assert not (terminal.folder / "airlock.db").exists()


async def test_explain_refuses_arguments_that_are_no_object(terminal: Terminal) -> None:
    for args in ("[]", "{", '{"a":1,"a":2}', "NaN"):
        ended = await terminal.quick("policy", "explain", "--agent", "x", "--tool", "a/b", "--args", args)
        assert ended.code == 2


async def test_the_schema_is_one_json_document(terminal: Terminal) -> None:
    assert (await terminal.quick("policy", "schema")).json["$schema"]
    file = terminal.folder / "schema.json"
    assert (await terminal.quick("policy", "schema", "--output", str(file))).code == 0
    assert json.loads(file.read_text())["$schema"]


async def test_tools_lists_every_tool_with_its_effect_for_the_agent(terminal: Terminal) -> None:
    rows = (await terminal.quick("tools", "--agent", "claude-code", "--json")).json
    effects = {row["tool"]: row["effects"]["claude-code"] for row in rows}
    assert effects["demo/echo"] == "allow"
    assert effects["demo/write_note"] == "ask"
    assert effects["demo/delete_note"] == "hidden"
    assert (await terminal.quick("tools", "--agent", "nobody")).code == 2


async def test_tools_says_which_names_clients_see_and_which_are_hidden_behind_another(
    terminal: Terminal,
) -> None:
    terminal.config.write_text(
        "providers:\n"
        "  demo: {type: builtin, prefix: none}\n"
        "  twin: {type: builtin, prefix: none}\n"
        "  more: {type: builtin}\n"
        'agents: {a: {allow: ["*/*"]}}\n'
    )
    ended = await terminal.quick("tools", "--json", "--config", str(terminal.config))
    found = {row["tool"]: (row["wire"], row["effects"]["a"]) for row in ended.json}
    assert found["demo/echo"] == ("echo", "allow")
    assert found["more/echo"] == ("more__echo", "allow")
    assert found["twin/echo"] == (None, "hidden")
    assert "`twin/echo` is hidden: `demo` already has that name (give `twin` a prefix)" in ended.err


async def test_a_broken_server_is_named_and_takes_only_its_own_tools_away(terminal: Terminal) -> None:
    text = terminal.config.read_text().replace(
        "  demo: {type: builtin}", "  demo: {type: builtin}\n  bad: {type: stdio, command: 'false'}"
    )
    terminal.config.write_text(text)
    ended = await terminal.run("tools", "--json", "--config", str(terminal.config))
    rows = ended.json
    assert any(row["tool"] == "demo/echo" for row in rows)
    assert [row["provider"] for row in rows if row["problem"]] == ["bad"]
    assert "`bad` is left out" in ended.err


async def test_a_found_config_starts_no_program_before_it_is_trusted(
    terminal: Terminal, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    terminal.config.write_text(
        f"providers:\n  evil: {{type: stdio, command: touch, args: [{ran}]}}\nagents: {{}}\n"
    )
    ended = await terminal.run("tools")
    assert ended.code == 4
    assert "airlock trust" in ended.err
    assert not ran.exists()
    doctor = await terminal.run("doctor")
    assert doctor.code == 8
    assert not ran.exists()


async def test_trust_shows_the_difference_and_needs_a_yes(terminal: Terminal) -> None:
    terminal.config.write_text(terminal.config.read_text() + "# a change\n")
    refused = await terminal.run("trust")
    assert refused.code == 2
    assert "+# a change" in refused.out
    assert (await terminal.run("tools")).code == 4
    agreed = await terminal.run("trust", "--yes", "--json")
    assert (agreed.code, agreed.json["changed"]) == (0, True)
    again = await terminal.run("trust", str(terminal.config), "--json")
    assert again.json["changed"] is False


async def test_the_version_is_the_packages(terminal: Terminal) -> None:
    assert (await terminal.quick("version", "--json")).json["airlock"] == __version__
    assert __version__ in (await terminal.run("--version")).out
