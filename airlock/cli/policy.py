"""`airlock policy`: is it valid, what does it say of a call, do its own tests pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from airlock.canonical import parse
from airlock.cli.exits import Exit
from airlock.cli.frame import Frame, Group, here, wait_for
from airlock.cli.lines import Line, Tone, line, span
from airlock.cli.places import config_of, config_path
from airlock.cli.render import complain, put, put_json, put_lines
from airlock.config import Config
from airlock.errors import ConfigError, Problem, UsageError, WireError
from airlock.model import Call, Decision, Effect, JsonObject, Kind, Matched, Origin, Principal
from airlock.visible import bounded

TONES = {Effect.ALLOW: Tone.GOOD, Effect.ASK: Tone.WARN, Effect.DENY: Tone.BAD}


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
            put(f"{path}: the policy is valid, {_count(tests, 'test')} passed")
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
        return list(error.problems), 0
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
    from airlock.schema import json_schema

    text = json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n"
    if output is None:
        put(text.rstrip("\n"))
        return
    output.write_text(text, encoding="utf-8")
    if here().json:
        put_json({"ok": True, "file": str(output)})
    else:
        put(f"written to {output}")


@policy.command(
    example="airlock policy explain --agent billing --tool pay/transfer --args '{\"amount\": 500}'",
)
@click.option("--agent", required=True, metavar="NAME", help="Who would call.")
@click.option("--tool", required=True, metavar="NAME", help="`provider/tool`, `resource:…` or `prompt:…`.")
@click.option("--args", "arguments", default="{}", metavar="JSON", help="The arguments, a JSON object.")
@click.option("--cwd", default="", metavar="DIR", help="The directory that relative paths go by.")
def explain(agent: str, tool: str, arguments: str, cwd: str) -> int:
    """What the policy says of one call, by which rule and why. Decides and records nothing."""
    return wait_for(_explain(here(), agent, tool, _object(arguments), cwd))


async def _explain(frame: Frame, agent: str, tool: str, arguments: dict[str, Any], cwd: str) -> int:
    from airlock.policy import compile_policy

    config = config_of(frame)
    compiled = compile_policy(config)
    call = _call(config, agent, tool, arguments, cwd)
    if not compiled.knows(agent):
        raise UsageError(
            f"unknown agent `{agent}`: the config has {', '.join(sorted(config.agents)) or 'none'}"
        )
    decision = await _evaluated(config, compiled, call)
    if frame.json:
        put_json(_decision_shape(call, decision))
    else:
        put_lines(_explained(call, decision))
    return Exit.DENIED if decision.effect is Effect.DENY else Exit.DONE


async def _evaluated(config: Config, compiled: Any, call: Call) -> Decision:
    """The decision with the facts it asks for; the database is read only when a rate is among them."""
    from airlock.facts import gather
    from airlock.ids import now_ms
    from airlock.policy import Facts
    from airlock.runtime import open_store

    needs = compiled.needs(call)
    if not needs:
        return compiled.evaluate(call, Facts(now=now_ms()))  # type: ignore[no-any-return]
    store = await open_store(config)
    try:
        return compiled.evaluate(call, await gather(needs, store, now_ms()))  # type: ignore[no-any-return]
    finally:
        await store.close()


def _object(text: str) -> dict[str, Any]:
    try:
        value = parse(text)
    except WireError as error:
        raise UsageError(f"--args: {error}") from None
    if not isinstance(value, dict):
        raise UsageError('--args: the arguments are a JSON object, such as \'{"path": "x"}\'')
    return value


def _call(config: Config, agent: str, tool: str, arguments: dict[str, Any], cwd: str) -> Call:
    kind, plain = Kind.TOOL, tool
    for prefixed in (Kind.RESOURCE, Kind.PROMPT):
        if tool.startswith(f"{prefixed}:"):
            kind, plain = prefixed, tool.partition(":")[2]
    provider, slash, name = plain.partition("/")
    if not slash or not name:
        raise UsageError(f"`{tool}` is no tool name: write `provider/tool`")
    known = config.providers.get(provider)
    return Call(
        id="explain",
        kind=kind,
        principal=Principal(name=agent, identity=f"agent:{agent}"),
        provider=provider,
        name=name,
        arguments=arguments,
        endpoint=known.endpoint if known else "",
        origin=Origin(road="cli", workspace=config.workspace, cwd=cwd),
    )


def _decision_shape(call: Call, decision: Decision) -> JsonObject:
    terms = decision.terms
    return {
        "agent": call.agent,
        "tool": call.tool,
        "effect": str(decision.effect),
        "rule": decision.rule or None,
        "reason": decision.reason or None,
        "risk": str(terms.risk),
        "timeout_ms": terms.timeout_ms,
        "quorum": terms.quorum,
        "would": None if decision.would is None else str(decision.would),
        "matched": [_matched_shape(one) for one in decision.matched],
        "revision": decision.revision,
    }


def _matched_shape(one: Matched) -> JsonObject:
    return {
        "rule": one.rule,
        "effect": str(one.effect),
        "reason": one.reason or None,
        "where": one.where or None,
        "observed": one.observed,
        "error": one.errored or None,
    }


def _explained(call: Call, decision: Decision) -> list[Line]:
    """The effect first, then the rule that won, then those that lost."""
    lines = [
        line(
            span(str(decision.effect), TONES[decision.effect]),
            f"  {bounded(call.tool, 300)} for {call.agent}",
        )
    ]
    lines.append(_row("rule", decision.rule or "none matched, and what nothing allows is denied"))
    if decision.reason:
        lines.append(_row("reason", decision.reason))
    if decision.effect is Effect.ASK:
        lines.append(
            _row("risk", f"{decision.terms.risk}, needs {_count(decision.terms.quorum, 'yes', 'yes')}")
        )
    if decision.would is not None:
        lines.append(_row("observed", f"rules that only watch would have made it {decision.would}"))
    lines += [_row("matched", _matched(one)) for one in decision.matched]
    return lines


def _row(label: str, value: str) -> Line:
    return line("  ", span(f"{label:<9} ", Tone.DIM), bounded(value, 2000))


def _matched(one: Matched) -> str:
    extra = ", only watching" if one.observed else ""
    error = f", could not be evaluated: {one.errored}" if one.errored else ""
    return f"{one.effect} by `{one.rule}`{extra}{error}{f' ({one.where})' if one.where else ''}"
