"""Every command: its help with an example, its place in docs/cli.md, its exit codes; and clean ways out."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from airlock.cli.exits import Exit, exit_of
from airlock.cli.frame import Command, Group
from airlock.cli.main import cli, run
from airlock.errors import (
    AlreadySettled,
    ConfigError,
    NewerSchema,
    NoSuchRequest,
    NotPermitted,
    Problem,
    StoreBusy,
    UpstreamError,
    UsageError,
    WireError,
)
from tests.support.terminal import Terminal, parked

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "cli.md"


def every(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """The command and all commands below it, with their paths."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from every(below, (*path, name))


ALL = list(every(cli))


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "airlock" for path, _ in ALL])
def test_every_command_has_help_with_an_example(
    path: tuple[str, ...], command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(command, (Command, Group))
    assert command.help
    assert command.example.startswith("airlock ")
    assert " ".join(path) in command.example or not path
    assert run([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example:" in shown
    assert command.example.splitlines()[0] in shown
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in {"help", "version"}:
            assert option.help or option.name == "form", option.name


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "airlock" for path, _ in ALL])
def test_every_command_and_option_stands_in_the_docs(path: tuple[str, ...], command: click.Command) -> None:
    page = PAGE.read_text(encoding="utf-8")
    if path:
        assert f"airlock {' '.join(path)}" in page
    for option in command.params:
        if isinstance(option, click.Option):
            assert any(name in page for name in option.opts), option.opts


@pytest.mark.parametrize("code", [code for code in Exit if code < 9])
def test_every_exit_code_stands_in_the_docs(code: Exit) -> None:
    assert re.search(rf"^\| {int(code)} \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError((Problem(file="f", line=1, path="", message="m"),)), 2),
        (UsageError("x"), 2),
        (NotPermitted("x"), 4),
        (NoSuchRequest("x"), 5),
        (AlreadySettled("x", status="denied"), 6),
        (NewerSchema("x"), 7),
        (StoreBusy("x"), 7),
        (WireError("x"), 1),
        (UpstreamError("x"), 1),
    ],
)
def test_each_error_has_the_exit_code_of_the_published_table(error: Exception, code: int) -> None:
    assert exit_of(error) == code  # type: ignore[arg-type]


def test_a_defect_of_ours_is_one_line_and_exit_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret\n\x1b[31m")

    monkeypatch.setattr(cli, "main", broken)
    assert run(["pending"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("airlock: internal failure: ZeroDivisionError")
    assert "\x1b" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words", [["nonsense"], ["pending", "--nonsense"], ["audit", "--limit", "x"], ["show"]]
)
def test_bad_usage_is_one_line_that_names_the_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"airlock: [^\n]*--help`\n", shown.err)


@pytest.mark.parametrize("words", [[], ["policy"], ["pin"]], ids=" ".join)
def test_a_group_without_a_command_shows_its_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Commands:" in shown.err
    assert "airlock: " not in shown.err
    assert "..." not in shown.err.replace("[ARGS]...", "")


@pytest.mark.anyio
async def test_ctrl_c_ends_with_130_and_no_traceback(terminal: Terminal) -> None:
    async with parked(terminal.config) as calls:
        await calls.ask("demo/write_note", {"name": "plan"})
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "airlock", "pending", "--watch", "--json",
            cwd=terminal.folder, env=terminal.environment(),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            assert process.stdout is not None
            assert b"demo/write_note" in await process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
    assert process.returncode == 130
    assert err.strip() == b""


@pytest.mark.anyio
async def test_a_reader_that_goes_away_is_no_error_message(terminal: Terminal) -> None:
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m airlock policy schema | head -c 10",
        env=terminal.environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, err = await process.communicate()
    assert err == b""


@pytest.mark.anyio
async def test_following_the_queue_tells_newcomers_and_answers(terminal: Terminal) -> None:
    import json

    async with parked(terminal.config) as calls:
        first = await calls.ask("demo/write_note", {"name": "one"})
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "airlock", "pending", "--watch", "--json",
            cwd=terminal.folder, env=terminal.environment(), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                assert json.loads(await process.stdout.readline())["id"] == first.id
                second = await calls.ask("demo/write_note", {"name": "two"})
                assert json.loads(await process.stdout.readline())["id"] == second.id
                assert (await terminal.quick("deny", first.code)).code == 0
                told = json.loads(await process.stdout.readline())
                assert (told["id"], told["status"]) == (first.id, "denied")
        finally:
            process.kill()
            await process.wait()


def shown_on_a_terminal(terminal: Terminal, words: list[str], env: dict[str, str]) -> bytes:
    """What a command shows on a terminal."""
    environment = terminal.environment({"TERM": "xterm-256color", **env})
    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(terminal.folder)
        os.execve(sys.executable, [sys.executable, "-m", "airlock", *words], environment)
    seen = b""
    try:
        while select.select([descriptor], [], [], 60)[0] and (data := os.read(descriptor, 65536)):
            seen += data
    except OSError:
        pass  # a terminal whose last program is gone reads as an error
    finally:
        os.close(descriptor)
    os.waitpid(pid, 0)
    return seen


@pytest.mark.anyio
async def test_colours_and_tables_are_for_terminals_and_no_color_is_honoured(terminal: Terminal) -> None:
    words = ["tools", "--config", str(terminal.config)]
    piped = await terminal.run(*words)
    coloured = await asyncio.to_thread(shown_on_a_terminal, terminal, words, {})
    plain = await asyncio.to_thread(shown_on_a_terminal, terminal, words, {"NO_COLOR": "1"})
    assert piped.out.splitlines()[0].split("\t")[0] == "tool"
    assert b"\x1b[" in coloured
    assert not re.search(rb"\x1b\[[0-9;]*[34][0-9][0-9;]*m", plain)
    assert "─".encode() in plain
