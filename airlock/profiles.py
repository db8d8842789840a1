"""The profiles that come with Airlock: a config may extend them without defining them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from airlock.config import PatternLine, PatternLists

CLAUDE_CODE_HOUSEKEEPING: Final = (
    # These keep Claude Code's own books, ask the person, or look at what was already started.
    "AskUserQuestion",
    "BashOutput",
    "EnterPlanMode",
    "ExitPlanMode",
    "KillShell",
    "ListMcpResourcesTool",
    "SendUserMessage",
    "Skill",
    "StructuredOutput",
    "TaskCreate",
    "TaskGet",
    "TaskList",
    "TaskOutput",
    "TaskStop",
    "TaskUpdate",
    "ToolSearch",
    "todo/read",
    "todo/write",
)
"""Names as the policy sees them: what the hook dialect maps has a slash, the rest keeps its own name."""


def _shipped(name: str, *, allow: tuple[str, ...]) -> PatternLists:
    lines = tuple(PatternLine(text=text, where=f"{name} (shipped)") for text in allow)
    return PatternLists(owner=f"profiles.{name}", allow=lines)


SHIPPED: Final[Mapping[str, PatternLists]] = MappingProxyType(
    {"claude-code-basics": _shipped("claude-code-basics", allow=CLAUDE_CODE_HOUSEKEEPING)}
)
