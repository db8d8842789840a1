"""Shell lines under the policy: each piece is judged by its own name, arguments and directory."""

from __future__ import annotations

from pathlib import Path

from airlock.hooks.shell import split
from airlock.loader.file import loads
from airlock.matching.frame import Facts
from airlock.model import Call, Effect, Origin, Principal
from airlock.policy import compile_policy


def test_a_piece_of_a_shell_line_is_judged_where_it_runs() -> None:
    """`cd /etc && rm passwd` removes /etc/passwd, wherever the line was typed."""
    policy = compile_policy(
        loads(
            """
agents: {claude-code: {allow: ["bash/cd"]}}
rules:
  - {id: inside, agent: claude-code, tool: bash/rm, args: {"argv[*]": {under: /srv/project}}, effect: allow}
""",
            Path("/ws/airlock.yaml"),
        )
    )

    def effect(line: str) -> Effect:
        judged = Call(
            id="c",
            principal=Principal(name="claude-code", identity="agent:claude-code"),
            provider="bash",
            name="rm",
            arguments={"command": line},
            parts=split(line, "/srv/project"),
            origin=Origin(road="hook", cwd="/srv/project"),
        )
        real = {path: path for path in policy.needs(judged).paths}
        return policy.evaluate(judged, Facts(now=0, resolved=real)).effect

    assert effect("rm passwd") is Effect.ALLOW
    assert effect("cd /etc && rm passwd") is Effect.DENY
    assert effect("cd .. && rm passwd") is Effect.DENY
