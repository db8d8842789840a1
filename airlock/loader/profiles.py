"""The profiles that come with Airlock: a config may extend them without defining them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from airlock.config import PatternLine, PatternLists

CLAUDE_CODE_HOUSEKEEPING: Final = (
    "AskUserQuestion",
    "BashOutput",
    "CronList",
    "EnterPlanMode",
    "ExitPlanMode",
    "KillShell",
    "ListAgents",
    "ListMcpResourcesTool",
    "ReportFindings",
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
"""Tools with which Claude Code keeps its books, asks the person, or looks at or stops what runs already.

Names as the policy sees them: what the hook dialect maps has a slash, the rest keeps its own name. Left out
is whatever starts, schedules, sends or writes something: Agent, Monitor, CronCreate, EnterWorktree …
"""


def _shipped(name: str, *, allow: tuple[str, ...]) -> PatternLists:
    lines = tuple(PatternLine(text=text, where=f"{name} (shipped)") for text in allow)
    return PatternLists(owner=f"profiles.{name}", allow=lines)


SHIPPED: Final[Mapping[str, PatternLists]] = MappingProxyType(
    {"claude-code-basics": _shipped("claude-code-basics", allow=CLAUDE_CODE_HOUSEKEEPING)}
)
