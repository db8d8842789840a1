"""The keys of the policy's sections: profiles, agents, rules, tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from airlock.loader.shapes import (
    ANYTHING,
    DURATION,
    FLAG,
    LIST,
    TEXT,
    TEXTS,
    WHOLE,
    Key,
    choice,
    milliseconds,
    one,
)

PROFILE: Final[Mapping[str, Key]] = {
    "extends": Key(TEXTS, "Profiles whose lists are added to these.", "none", "extends: [readonly]"),
    "allow": Key(LIST, "Patterns of calls that run at once.", "none", 'allow: ["demo/*"]'),
    "ask": Key(
        LIST, "Patterns of calls that wait for a person.", "none", 'ask: ["git/*", "!git/git_status"]'
    ),
    "hitl": Key(LIST, "Another spelling of `ask`.", "", 'hitl: ["git/*"]', "ask"),
    "deny": Key(LIST, "Patterns of calls that never run.", "none", 'deny: ["git/git_reset"]'),
}

AGENT: Final[Mapping[str, Key]] = {
    **PROFILE,
    "inherit_default": Key(
        FLAG, "False leaves `default_profile` out for this agent.", "true", "inherit_default: false"
    ),
    "token": Key(
        TEXT,
        "The agent's bearer on HTTP; with one set, only that is accepted for it.",
        "none",
        'token: "${CLAUDE_CODE_TOKEN}"',
    ),
    "wait": Key(
        choice("auto", "hold", "pending", "task"),
        "How a call waits for a person: held open (`hold`), answered `pending`, or as a `task`.",
        "`auto`: a task where the client takes them, else by what it bears",
        "wait: hold",
    ),
    "patience": Key(
        {"anyOf": [{"const": "auto"}, *DURATION["anyOf"]]},
        "How long a call is held before it answers `pending`.",
        "that of `approvals`",
        "patience: 50s",
    ),
    "patience_ms": milliseconds("patience", "patience_ms: 50000"),
    "mcp_names": Key(
        TEXTS,
        "The names under which this agent's client knows Airlock as an MCP server.",
        "`[airlock]` and its Claude Code plugin's",
        "mcp_names: [airlock, tools]",
    ),
    "permission_tool": Key(
        FLAG,
        "Show the tool `permission_prompt`, for `--permission-prompt-tool` of Claude Code.",
        "false",
        "permission_tool: true",
    ),
}

RULE: Final[Mapping[str, Key]] = {
    "id": Key(TEXT, "Its name in reasons, tests and history.", "`rule-N`, counted from 1", "id: big-payment"),
    "agent": Key(TEXTS, "The agents it is for.", "all", "agent: [billing]"),
    "tool": Key(TEXTS, "Patterns of the tools it is for.", "required", "tool: pay/transfer"),
    "args": Key(
        ANYTHING,
        "Conditions on arguments, all of which must hold.",
        "none",
        "args: {amount: {gt: 100}}",
    ),
    "when": Key(TEXT, "A condition in CEL that must hold.", "none", "when: 'args.amount > 100'"),
    "unless": Key(TEXT, "A condition in CEL that excuses the call.", "none", "unless: 'args.to == \"rent\"'"),
    "effect": Key({"enum": ["allow", "ask", "deny"]}, "What it says.", "required", "effect: ask"),
    "reason": Key(TEXT, "Why, for the agent and the person.", "none", "reason: payments need a person"),
    "risk": Key(
        {"enum": ["low", "medium", "high"]},
        "How much is at stake; shown to the person.",
        "`low`",
        "risk: high",
    ),
    "rate": Key(
        {"type": "string", "pattern": r"^\s*[0-9]+\s*/\s*[0-9]*\s?(ms|s|m|h|d)\s*$"},
        "At most so many uses in so long; beyond it an allow does not match.",
        "none",
        "rate: 10/1m",
    ),
    "approvers": Key(
        TEXTS, "Who may answer: names of `people`.", "anyone who may decide", "approvers: [alice, bob]"
    ),
    "quorum": Key(WHOLE, "How many different people must say yes.", "1", "quorum: 2"),
    "timeout": Key(DURATION, "How long the question stays open.", "that of `approvals`", "timeout: 10m"),
    "timeout_ms": milliseconds("timeout", "timeout_ms: 600000"),
    "reuse": Key(DURATION, "How long one yes also covers the same call again.", "used once", "reuse: 15m"),
    "reuse_ms": milliseconds("reuse", "reuse_ms: 900000"),
    "redact": Key(
        TEXTS, "Arguments that are masked before anything is stored, sent or shown.", "none", "redact: [body]"
    ),
    "between": Key(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*[0-9]{1,2}:[0-9]{2}\s*[-–]\s*[0-9]{1,2}:[0-9]{2}\s*$"},
                one("between"),
            ]
        },
        "The hours at which it holds; they may pass midnight.",
        "always",
        'between: "09:00-17:00"',
    ),
    "mode": Key(
        {"enum": ["enforce", "observe"]},
        "`observe` only records what the rule would have done.",
        "`enforce`",
        "mode: observe",
    ),
}

BETWEEN: Final[Mapping[str, Key]] = {
    "hours": Key(
        {"type": "string", "pattern": r"^\s*[0-9]{1,2}:[0-9]{2}\s*[-–]\s*[0-9]{1,2}:[0-9]{2}\s*$"},
        "From and to, on a clock of 24 hours.",
        "the whole day",
        'hours: "09:00-17:00"',
    ),
    "timezone": Key(TEXT, "The clock that is meant.", "`UTC`", "timezone: Europe/Berlin"),
    "days": Key(TEXTS, "The days it begins on: `mon` to `sun`, or `mon-fri`.", "every day", "days: mon-fri"),
}

TEST: Final[Mapping[str, Key]] = {
    "agent": Key(TEXT, "Who calls.", "required", "agent: billing"),
    "tool": Key(TEXT, "What is called: a name, not a pattern.", "required", "tool: pay/transfer"),
    "args": Key(ANYTHING, "With which arguments.", "none", "args: {amount: 500}"),
    "expect": Key(
        {"enum": ["allow", "ask", "deny"]}, "What the policy must answer.", "required", "expect: ask"
    ),
    "rule": Key(TEXT, "The rule that must decide.", "any", "rule: big-payment"),
    "at": Key(
        {"type": ["string", "integer"]},
        "When: a quoted ISO time with its zone, or milliseconds since 1970.",
        "now",
        'at: "2026-03-02T10:30:00Z"',
    ),
    "cwd": Key(TEXT, "In which folder, for `under:`.", "the provider's", "cwd: ./project"),
}
