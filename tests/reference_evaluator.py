"""What the policy means, in the fewest lines: slow, obvious, and written apart from the real one.

A rule is (effect, names it?, conditions): the last is True, False or None for "cannot be evaluated".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

RESERVED = {"bash", "file", "http", "agent", "todo", "notebook", "exec", "python"}


def names(pattern: str, tool: str) -> bool:
    """Whether a pattern names a tool (both `provider/name`)."""
    spelled = "*" not in pattern.split("/", maxsplit=1)[0]
    if not spelled and tool.split("/", maxsplit=1)[0] in RESERVED:
        return False
    parts = (
        "[^/]*" if one == "*" else ".*" if one == "**" else re.escape(one)
        for one in re.split(r"(\*+)", pattern)
    )
    return re.fullmatch("".join(parts), tool, re.DOTALL) is not None


def listed(lines: Iterable[str], tool: str) -> bool:
    """Whether a list with `!` exceptions names a tool."""
    lines = list(lines)
    return any(names(one, tool) for one in lines if one[0] != "!") and not any(
        names(one[1:], tool) for one in lines if one[0] == "!"
    )


def evaluate(rules: Iterable[tuple[str, bool | None]]) -> str:
    """The effect of the rules that name the tool, each with what its conditions say."""
    rules = list(rules)
    if any(effect == "deny" and holds is not False for effect, holds in rules):
        return "deny"
    if any(effect == "ask" and holds for effect, holds in rules):
        return "ask"
    if not any(effect == "allow" and holds for effect, holds in rules):
        return "deny"
    return "ask" if any(effect == "ask" and holds is None for effect, holds in rules) else "allow"
