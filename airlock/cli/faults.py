"""Everything that is wrong with a config at once: what reading it finds, and compiling finds in the rest."""

from __future__ import annotations

from pathlib import Path

from airlock.errors import ConfigError, Problem


def faults(path: Path, found: ConfigError) -> list[Problem]:
    """The problems that were found, and those that only the policy would have met after they are mended."""
    from airlock.loader.file import survey
    from airlock.policy import compile_policy

    problems = list(found.problems)
    try:
        config, _ = survey(path)
        if config is not None:
            compile_policy(config)
    except ConfigError as more:
        problems += [one for one in more.problems if not any(_same(one, seen) for seen in found.problems)]
    return sorted(problems, key=lambda one: one.line)


def _same(one: Problem, seen: Problem) -> bool:
    """True when compiling found again, in its own words, what reading found of the same key."""
    if (one.line, one.message) == (seen.line, seen.message):
        return True
    return _key(one) == _key(seen) and one.line in {0, seen.line}


def _key(problem: Problem) -> str:
    return problem.path.rpartition(".")[2].partition("[")[0]
