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
        seen = {(one.line, one.message) for one in problems}
        problems += [one for one in more.problems if (one.line, one.message) not in seen]
    return sorted(problems, key=lambda one: one.line)
