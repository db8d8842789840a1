"""What a person meets who types something wrong, has a narrow terminal, or no terminal at all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import click
import pytest

from airlock.cli.board import Board, Mode
from airlock.cli.lines import Tone, fold, hang, line, span, text_of, width_of
from airlock.cli.main import cli
from airlock.cli.screen import HELP, View, picture
from airlock.cli.tables import table
from airlock.hookcli import CLIENTS
from airlock.hooks.dialects import DIALECTS, by_name
from tests.support.terminal import SECONDS, Terminal, parked

WRONG = """\
server: {port: 99999}
providers: {demo: builtin}
agents: {a: {allow: ["demo/*"], exends: [x]}}
rules:
  - {id: one, tool: demo/echo, effect: allow, args: {text: {regex: "abc"}}}
  - {id: two, tool: demo/echo, effect: deny, args: {text: {regex: "("}, n: {gtt: 3}}}
  - {id: three, agent: nobody, tool: demo/echo, effect: deny, when: "args.x >"}
"""


@pytest.mark.anyio
async def test_check_tells_what_reading_finds_and_what_compiling_finds_at_once(terminal: Terminal) -> None:
    terminal.config.write_text(WRONG)
    ended = await terminal.quick("policy", "check")
    assert ended.code == 2
    for words in (
        "server.port",
        "unknown key `exends`",
        "not anchored",
        "regex `(` cannot be used",
        "unknown condition `gtt`",
        "unknown agent `nobody`",
        "rules.three.when: it cannot be read: 1:11: Syntax error: it ends too early\n",
    ):
        assert ended.err.count(words) == 1, ended.err
    lines = [int(row.split(":")[2]) for row in ended.err.splitlines()]
    assert lines == sorted(lines)


@pytest.mark.anyio
async def test_a_pattern_without_its_provider_is_told_once(terminal: Terminal) -> None:
    terminal.config.write_text("providers: {demo: builtin}\nagents: {a: {allow: [dmo/x]}}\n")
    ended = await terminal.quick("policy", "check")
    assert ended.code == 0
    assert ended.err.count("unknown provider") == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("approve", "K7QF2M", "--for", "10x"), 2, "--for: `10x` is not a duration"),
        (("pause", "--agent", "claud-code"), 2, "did you mean `claude-code`?"),
        (
            ("policy", "schema", "--output", "/nowhere/s.json"),
            2,
            "`/nowhere/s.json`: no such file or directory",
        ),
        (("aprove", "K7QF2M"), 2, "no such command `aprove` (did you mean `approve`?): see `airlock --help`"),
        (
            ("audit", "verfy"),
            2,
            "no such command `verfy` (did you mean `verify`?): see `airlock audit --help`",
        ),
        (("pending", "--jsn"), 2, "no such option `--jsn` (did you mean `--json`?)"),
        (("audit", "--limit", "x"), 2, "invalid value for `--limit`: `x` is not a whole number"),
        (("approve",), 2, "missing argument `CODE…`: see `airlock approve --help`"),
        (
            ("deny", "--all", "--agent", "claud-code"),
            2,
            "nothing is denied: no config has an agent `claud-code`",
        ),
        (("audit", "export", "--json", "--format", "csv"), 2, "are two forms: leave one out"),
        (
            ("--config", "/nowhere/a.yaml", "pending"),
            2,
            "airlock: /nowhere/a.yaml: cannot be read: no such file",
        ),
        (("audit", "export", "--output", "/nowhere/x"), 2, "cannot write `/nowhere/x`"),
        (("audit", "verify", "--head", "/nowhere/head"), 2, "there is no head at `/nowhere/head`"),
        (("db", "backup", "/nowhere/copy.db"), 2, "cannot write `/nowhere/copy.db`"),
        (("--log-file", "/nowhere/log", "pending"), 2, "cannot write the log file `/nowhere/log`"),
    ],
)
async def test_what_cannot_be_done_is_told_in_one_line_with_its_cure(
    terminal: Terminal, words: tuple[str, ...], code: int, said: str
) -> None:
    async with parked(terminal.config):
        ended = await terminal.quick(*words)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.mark.anyio
async def test_a_listing_of_an_agent_that_no_config_has_says_so(terminal: Terminal) -> None:
    async with parked(terminal.config):
        for words in (("pending",), ("audit",)):
            ended = await terminal.quick(*words, "--agent", "claud-code", "--json")
            assert (ended.code, ended.json) == (0, [])
            assert "no config has an agent `claud-code`: did you mean `claude-code`?" in ended.err


@pytest.mark.anyio
async def test_a_problem_that_reading_and_compiling_find_is_told_once(terminal: Terminal) -> None:
    terminal.config.write_text(
        "providers: {demo: builtin}\n"
        "people: {al: {local: al}}\n"
        "agents: {a: {extends: [nope]}, b: {extends: [p]}}\n"
        "profiles: {p: {extends: [p]}}\n"
        "rules:\n"
        "  - {id: big, tool: demo/echo, effect: ask, quorum: 3, approvers: [al]}\n"
    )
    ended = await terminal.quick("policy", "check")
    told = [row.split(": ", 2)[2] for row in ended.err.splitlines()]
    assert told == [
        "agents.a.extends[0]: unknown profile `nope`",
        "profiles.p.extends: goes in a circle: p → p",
        "rules[0].quorum: 3 cannot be reached: only 1 may answer",
    ]


@pytest.mark.anyio
async def test_a_pause_of_a_name_that_no_config_has_pauses_nobody(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        assert (await terminal.quick("pause", "--agent", "nobody")).code == 2
        assert (await calls.runtime.store.controls()).pauses == ()
        assert (await terminal.quick("pause", "--agent", "claude-code")).code == 0
        assert (await calls.runtime.store.controls()).paused("claude-code")


@pytest.mark.anyio
async def test_setting_a_pin_without_a_terminal_says_how_and_not_that_one_is_set(terminal: Terminal) -> None:
    ended = await terminal.run("pin", "set")
    assert ended.code == 4
    assert ended.err == "airlock: there is no terminal to type the new PIN on: use `--pin-stdin`\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("agent", "tool", "code", "hint"),
    [
        ("claude-code", "ToolSearch", 0, ""),
        ("claude-code", "SomeOtherTool", 3, ""),
        ("claude-code", "demo__list_notes", 3, "in the policy it is `demo/list_notes`"),
        ("claude-code", "dmo/list_notes", 3, "no provider `dmo`: did you mean `demo`?"),
        ("claude-code", "bash/rm", 3, ""),
        ("claude-cod", "demo/list_notes", 3, "no agent `claude-cod`: did you mean `claude-code`?"),
    ],
)
async def test_explain_takes_names_as_people_write_them_and_says_what_they_may_have_meant(
    terminal: Terminal, agent: str, tool: str, code: int, hint: str
) -> None:
    terminal.config.write_text(
        "providers: {demo: builtin}\n"
        "agents: {claude-code: {extends: [claude-code-basics], allow: [demo/list_notes]}}\n"
    )
    ended = await terminal.quick("policy", "explain", "--agent", agent, "--tool", tool)
    assert ended.code == code, ended
    assert hint in ended.err
    assert bool(ended.err) is bool(hint)


@pytest.mark.anyio
async def test_a_config_that_changed_since_it_was_trusted_is_told_from_one_that_never_was(
    terminal: Terminal, tmp_path: Path
) -> None:
    terminal.config.write_text(terminal.config.read_text() + "# changed\n")
    changed = await terminal.run("tools")
    assert (changed.code, "changed since it was trusted" in changed.err) == (4, True)
    doctor = await terminal.run("doctor")
    assert doctor.code == 8
    assert "trust the config first" in doctor.out
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "airlock.yaml").write_text("agents: {a: {}}\n")
    fresh = await terminal.run("tools", cwd=elsewhere)
    assert (fresh.code, "only found in the working directory" in fresh.err) == (4, True)
    served = await terminal.run("stdio", "--agent", "a", cwd=elsewhere)
    assert served.code == 4


# Ways out


async def _shell(terminal: Terminal, line: str) -> tuple[str, str]:
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        line,
        env=terminal.environment({"A": f"{sys.executable} -m airlock"}),
        cwd=terminal.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    return out.decode(), err.decode()


@pytest.mark.anyio
async def test_a_reader_that_goes_away_ends_with_141_as_other_programs_do(terminal: Terminal) -> None:
    out, err = await _shell(terminal, "exec 3> >(exit); wait $!; $A policy schema >&3; echo $?")
    assert (out, err) == ("141\n", "")


@pytest.mark.anyio
async def test_a_closed_stdout_is_no_failure_and_no_file_is_written_in_its_place(terminal: Terminal) -> None:
    async with parked(terminal.config):
        out, err = await _shell(terminal, "($A audit >&-; echo $? >&2)")
    assert (out, err) == ("", "0\n")


@pytest.mark.anyio
@pytest.mark.parametrize(("words", "code"), [(("pending",), 130), (("hook",), 2)])
async def test_ctrl_c_while_it_still_loads_is_no_traceback(
    terminal: Terminal, tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in {'click', 'airlock.hookcli'}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
    )
    ended = await terminal.run(*words, stdin="{}", env={"PYTHONPATH": str(tmp_path)})
    assert (ended.code, ended.out, ended.err) == (code, "", "")


@pytest.mark.anyio
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
async def test_a_full_disk_behind_stdout_is_told_in_one_line(terminal: Terminal) -> None:
    _, err = await _shell(terminal, "$A policy schema >/dev/full; echo $? >&2")
    assert err == "airlock: cannot go on: no space left on device\n1\n"


def test_a_hook_for_a_client_that_nobody_knows_blocks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airlock", "hook", "--client", "gemni"],
        input=b"{}",
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"unknown client `gemni`: there are claude-code, codex" in done.stderr


@pytest.mark.parametrize("command", ["stdio", "hook"])
def test_commands_that_speak_a_protocol_offer_no_json_of_their_own(command: str) -> None:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    assert "--json" not in {name for one in found.params for name in one.opts}


def test_the_clients_of_the_command_are_those_of_the_dialects() -> None:
    assert set(CLIENTS[: len(DIALECTS)]) == set(DIALECTS)
    assert all(by_name(alias).name != alias for alias in CLIENTS[len(DIALECTS) :])
    assert {by_name(alias).name for alias in CLIENTS} == set(DIALECTS)


@pytest.mark.anyio
async def test_a_line_about_a_server_in_the_log_begins_with_its_name(terminal: Terminal) -> None:
    text = terminal.config.read_text()
    terminal.config.write_text(
        text.replace("providers:", "providers:\n  bad: {type: stdio, command: 'false'}")
    )
    ended = await terminal.run("tools", "--config", str(terminal.config))
    assert "airlock: WARNING: `bad`: " in ended.err


# Narrow terminals


ROWS = [("09:45:43", "claude-code", "git/git_commit", "denied", '{"message":"' + "word " * 12 + '"}')]


@pytest.mark.parametrize("width", [12, 20, 40, 60, 80, 100, 200])
def test_a_table_fits_every_width_and_loses_nothing(width: int) -> None:
    columns = ("when", "agent", "tool", "result", "arguments")
    rows = list(fold(table(columns, ROWS, width), width))
    assert all(width_of(text_of(row)) <= width for row in rows)
    text = "".join(text_of(row) for row in rows).replace(" ", "")
    assert all(cell.replace(" ", "") in text for cell in ROWS[0])


def test_a_wide_table_is_one_line_a_row_and_a_narrow_one_names_what_is_below() -> None:
    columns = ("when", "agent", "tool", "result", "arguments")
    assert len(list(table(columns, ROWS, 200))) == 3
    _, _, row, below = map(text_of, table(columns, ROWS, 60))
    assert row == "09:45:43  claude-code  git/git_commit  denied"
    assert below.startswith('    arguments {"message"')


def test_sentences_are_parted_between_words_below_their_text() -> None:
    pieces = line(span("ok    ", Tone.GOOD), hang(), "the quick brown fox jumps")
    assert [text_of(row) for row in fold([pieces], 20)] == [
        "ok    the quick",
        "      brown fox",
        "      jumps",
    ]
    assert next(text_of(row) for row in fold([line("word " + "x" * 30)], 20)) == "word " + "x" * 15


@pytest.mark.parametrize("width", [30, 40, 100])
def test_the_help_of_watch_is_never_cut(width: int) -> None:
    rows = picture(Board(mode=Mode.HELP), View(width=width, height=60, now=0))
    text = "".join(text_of(row) for row in rows).replace(" ", "")
    assert all(does.replace(" ", "") in text for _, does in HELP)
    assert all(width_of(text_of(row)) <= width for row in rows)
