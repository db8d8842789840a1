"""`airlock policy`: is it valid, what does it say of a call, do its own tests pass."""

from __future__ import annotations

import json
from pathlib import Path

import click

from airlock.cli.exits import Exit
from airlock.cli.explain import explain
from airlock.cli.faults import faults
from airlock.cli.frame import Frame, Group, here
from airlock.cli.lines import Tone, line, span
from airlock.cli.places import config_of, config_path
from airlock.cli.render import complain, put, put_json, put_lines
from airlock.errors import ConfigError, Problem, UsageError, why
from airlock.model import JsonObject
from airlock.visible import bounded


@click.group(
    cls=Group,
    example="airlock policy check\nairlock policy explain --agent claude-code --tool git/git_commit",
)
def policy() -> None:
    """Check the policy, and ask it what it would say."""


@policy.command(example="airlock policy check --config airlock.yaml")
def check() -> int:
    """Load, compile, and run the policy's own tests; every problem at once."""
    frame = here()
    path = config_path(frame)
    problems, tests = _problems(frame)
    wrong = [one for one in problems if not one.warning]
    if frame.json:
        shapes = [_problem_shape(one) for one in problems]
        put_json({"ok": not wrong, "file": str(path), "problems": shapes, "tests": tests})
    else:
        for one in problems:
            complain(f"{'warning: ' if one.warning else ''}{one}")
        if not wrong:
            tested = f"{_count(tests, 'test')} passed" if tests else "it has no tests of its own"
            put(f"{path}: the policy is valid, {tested}")
    if not wrong:
        return Exit.DONE
    return Exit.FOUND_WRONG if all(one.path == "tests" for one in wrong) else Exit.USAGE


def _problems(frame: Frame) -> tuple[list[Problem], int]:
    """Everything that is wrong, or merely worth saying, and how many tests were run."""
    from airlock.cases import run_cases
    from airlock.policy import compile_policy

    try:
        config = config_of(frame)
        compiled = compile_policy(config)
    except ConfigError as error:
        return faults(config_path(frame), error), 0
    results = run_cases(compiled, config)
    failed = [_failed(one.case.where, one.message) for one in results if not one.passed]
    return [*config.warnings, *compiled.warnings, *failed], len(results)


def _failed(where: str, message: str) -> Problem:
    file, _, number = where.rpartition(":")
    return Problem(file=file, line=int(number or 0), path="tests", message=message)


def _problem_shape(one: Problem) -> JsonObject:
    return {
        "file": one.file,
        "line": one.line,
        "path": one.path,
        "message": one.message,
        "hint": one.hint or None,
        "warning": one.warning,
    }


def _count(number: int, noun: str, many: str = "") -> str:
    return f"{number} {noun if number == 1 else many or f'{noun}s'}"


@policy.command(example="airlock policy test")
def test() -> int:
    """Run the `tests:` of the policy, a line a case."""
    from airlock.cases import run_cases
    from airlock.policy import compile_policy

    frame = here()
    config = config_of(frame)
    results = run_cases(compile_policy(config), config)
    failed = sum(not one.passed for one in results)
    if frame.json:
        put_json(
            [
                {
                    "where": one.case.where,
                    "agent": one.case.agent,
                    "tool": one.case.tool,
                    "expect": str(one.case.expect),
                    "got": str(one.decision.effect),
                    "rule": one.decision.rule or None,
                    "passed": one.passed,
                    "message": one.message or None,
                }
                for one in results
            ]
        )
        return Exit.FOUND_WRONG if failed else Exit.DONE
    for one in results:
        word = span("ok  ", Tone.GOOD) if one.passed else span("FAIL", Tone.BAD)
        what = f"{one.case.agent} {bounded(one.case.tool, 200)} → {one.case.expect}"
        why = "" if one.passed else f": {one.message}"
        put_lines([line(word, f" {one.case.where}: {what}{why}")])
    put(f"{_count(len(results), 'test')}, {failed} failed")
    return Exit.FOUND_WRONG if failed else Exit.DONE


@policy.command(example="airlock policy schema --output airlock.schema.json")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Not to stdout."
)
def schema(output: Path | None) -> None:
    """The JSON Schema of the config, for editors."""
    from airlock.loader.schema import json_schema

    text = json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"
    if output is None:
        put(text.rstrip("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write `{output}`: {why(error)}") from None
    if here().json:
        put_json({"ok": True, "file": str(output)})
    else:
        put(f"written to {output}")


policy.add_command(explain)
