"""Whose shell is this? Environment variables by which an agent's own shell can be told from a person's.

A hint that stops an agent's honest mistake and its cheap tricks; it is no proof, since a program can remove
its variables. The proof is the PIN, or another user.

Measured: `CLAUDECODE`, `CLAUDE_CODE_SESSION_ID`, `CLAUDE_PROJECT_DIR` in every shell and hook of Claude Code.
Documented by their makers or by several public detectors: the rest. Variables that an editor's terminal sets
for a person too (`CURSOR_TRACE_ID`, `REPL_ID`, `TERM_PROGRAM`) are left out on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping

MARKERS: tuple[tuple[str, str], ...] = (
    ("CLAUDECODE", "Claude Code"),
    ("CLAUDE_CODE_SESSION_ID", "Claude Code"),
    ("CODEX_SANDBOX", "Codex"),
    ("CODEX_SANDBOX_NETWORK_DISABLED", "Codex"),
    ("CODEX_THREAD_ID", "Codex"),
    ("CODEX_CI", "Codex"),
    ("GEMINI_CLI", "Gemini CLI"),
    ("CURSOR_AGENT", "Cursor"),
    ("COPILOT_CLI", "Copilot"),
    ("COPILOT_AGENT_SESSION_ID", "Copilot"),
    ("OPENCODE", "opencode"),
    ("AUGMENT_AGENT", "Augment"),
    ("AMP_CURRENT_THREAD_ID", "Amp"),
    ("GOOSE_TERMINAL", "Goose"),
    ("CLINE_ACTIVE", "Cline"),
    ("ANTIGRAVITY_AGENT", "Antigravity"),
    ("AI_AGENT", "an agent"),
)
"""Variable, and the agent that sets it."""


def agent_of(environment: Mapping[str, str]) -> str:
    """The agent whose shell this seems to be, with the variable that says so; empty for a person's."""
    for name, agent in MARKERS:
        if environment.get(name):
            return f"{agent} (`{name}` is set)"
    return ""
