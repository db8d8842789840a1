"""The shipped profiles, held against what the real programs offer."""

from __future__ import annotations

from pathlib import Path

from airlock.loader.file import loads
from airlock.loader.profiles import CLAUDE_CODE_HOUSEKEEPING, SHIPPED
from airlock.model import Effect, Kind
from airlock.policy import compile_policy

# What Claude Code 2.1.328 sends to its model in a headless run.
HEADLESS = {
    "Agent",
    "Bash",
    "CronCreate",
    "CronDelete",
    "CronList",
    "Edit",
    "EnterWorktree",
    "ExitWorktree",
    "ListAgents",
    "Monitor",
    "NotebookEdit",
    "Read",
    "ReportFindings",
    "ScheduleWakeup",
    "SendMessage",
    "Skill",
    "TaskStop",
    "WebFetch",
    "WebSearch",
    "Workflow",
    "Write",
}
# What its package names besides, and what it offers in a terminal or did in earlier versions.
ELSEWHERE = {
    "AskUserQuestion",
    "BashOutput",
    "EnterPlanMode",
    "ExitPlanMode",
    "Glob",
    "Grep",
    "KillShell",
    "ListMcpResourcesTool",
    "StructuredOutput",
    "ReadMcpResourceTool",
    "RemoteTrigger",
    "PushNotification",
    "TaskCreate",
    "TaskGet",
    "TaskList",
    "TaskOutput",
    "TaskUpdate",
    "TodoWrite",
    "ToolSearch",
    "TodoRead",
    "Artifact",
}
# Tools that run, write, read files, reach the network, schedule or send something: never in the profile.
ACTING = {
    "Agent",
    "Bash",
    "CronCreate",
    "CronDelete",
    "Edit",
    "EnterWorktree",
    "ExitWorktree",
    "Monitor",
    "NotebookEdit",
    "Read",
    "ScheduleWakeup",
    "SendMessage",
    "WebFetch",
    "WebSearch",
    "Workflow",
    "Write",
    "Glob",
    "Grep",
    "ReadMcpResourceTool",
    "RemoteTrigger",
    "PushNotification",
    "Artifact",
}
POLICY_NAMES = {"TodoWrite": "todo/write", "TodoRead": "todo/read"}


def test_every_tool_of_the_real_program_is_either_housekeeping_or_acts() -> None:
    quiet = {POLICY_NAMES.get(name, name) for name in (HEADLESS | ELSEWHERE) - ACTING}
    assert quiet == set(CLAUDE_CODE_HOUSEKEEPING)


def test_the_profile_only_allows_and_only_by_exact_name() -> None:
    for lists in SHIPPED.values():
        assert (lists.ask, lists.deny, lists.extends) == ((), (), ())
        assert all(not set("*!") & set(line.text) for line in lists.allow)


def test_a_policy_that_extends_it_lets_exactly_those_through() -> None:
    text = "agents: {claude-code: {extends: claude-code-basics}, other: {}}"
    policy = compile_policy(loads(text, Path("c.yaml"), {"HOME": "/h"}))
    for name in CLAUDE_CODE_HOUSEKEEPING:
        provider, _, tool = name.rpartition("/")
        assert policy.listing("claude-code", Kind.TOOL, provider, tool) is Effect.ALLOW
        assert policy.listing("other", Kind.TOOL, provider, tool) is None
    for name in ACTING:
        assert policy.listing("claude-code", Kind.TOOL, "", name) is None
