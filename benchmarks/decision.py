"""What one decision costs, beside a bare `json.dumps` of the same call in the same run.

    python -m benchmarks.decision

Printed is the best of several rounds for each policy, and how many `json.dumps` that is. A machine that is
busy with other things slows both, so the ratio is what to compare between runs.
"""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airlock.config import AgentConfig, Config, PatternLine, PatternLists, ProviderConfig, RuleConfig
from airlock.model import Call, Effect, Principal
from airlock.policy import Facts, Policy, compile_policy

AGENT = "claude-code"
ARGUMENTS: dict[str, Any] = {
    "repo_path": "/srv/work/project",
    "message": "Fix the parser: a lone surrogate is refused now",
    "amount": 120,
    "files": [{"path": f"src/module_{n}.py", "lines": n} for n in range(8)],
    "options": {"sign": True, "author": "Eve <eve@example.com>"},
}
CALL = Call(
    id="1",
    principal=Principal(name=AGENT, identity=f"agent:{AGENT}"),
    provider="git",
    name="git_commit",
    arguments=ARGUMENTS,
)
FACTS = Facts(now=1_767_787_200_000)
KINDS: tuple[dict[str, Any], ...] = (
    {"amount": {"gt": 1000}},
    {"message": {"regex": r"(?i)\bdrop table {n}\b"}},
    {"repo_path": {"glob": "/srv/other{n}/**"}},
    {"options.author": {"in": ["mallory{n}", "trudy{n}"]}},
    {"message": "exactly this {n}"},
)


def args_of(number: int) -> dict[str, Any]:
    """The conditions of rule `number`: five kinds in turn, none of which holds for the call."""
    return json.loads(json.dumps(KINDS[number % len(KINDS)]).replace("{n}", str(number)))


def policy_of(rules: list[RuleConfig]) -> Policy:
    """A policy that allows git and has these rules as well."""
    lists = PatternLists(owner=f"agents.{AGENT}", allow=(PatternLine(text="git/*", where="bench:1"),))
    return compile_policy(
        Config(
            file=Path("/srv/airlock.yaml"),
            digest="bench",
            database="sqlite:////srv/airlock.db",
            providers={"git": ProviderConfig(name="git", type="stdio", command="git-server")},
            agents={AGENT: AgentConfig(name=AGENT, lists=lists)},
            rules=tuple(rules),
        )
    )


def rules_for(tools: list[str]) -> list[RuleConfig]:
    """One rule with a condition for each of these tools."""
    return [
        RuleConfig(id=f"r{n:04}", where="bench:1", tools=(tool,), effect=Effect.DENY, args=args_of(n))
        for n, tool in enumerate(tools)
    ]


def best(work: Callable[[], object]) -> float:
    """Microseconds for one run: the best of eleven rounds of about 20 ms."""
    timer = timeit.Timer(work)
    number = max(1, int(0.02 / (timer.timeit(20) / 20)))
    return min(timer.repeat(repeat=11, number=number)) / number * 1e6


def main() -> None:
    """Print the table."""
    when = [
        RuleConfig(
            id="when",
            where="bench:1",
            tools=("git/git_commit",),
            effect=Effect.DENY,
            when="args.amount > 500",
        )
    ]
    cases = {
        "a list only": policy_of([]),
        "10 rules, all of other tools": policy_of(rules_for([f"git/other_{n}" for n in range(10)])),
        "1,000 rules, all of other tools": policy_of(rules_for([f"git/other_{n}" for n in range(1000)])),
        "50 rules, all of this tool": policy_of(rules_for(["git/git_commit"] * 50)),
        "200 rules over 10 tools": policy_of(
            rules_for([f"git/{'git_commit' if n % 10 == 0 else f'x{n % 10}'}" for n in range(200)])
        ),
        "200 rules, all of this tool": policy_of(rules_for(["git/git_commit"] * 200)),
        "1 rule with `when`": policy_of(when),
    }
    baseline = best(lambda: json.dumps(ARGUMENTS))
    print(f"{'json.dumps of the arguments':34} {baseline:8.2f} µs")
    for name, policy in cases.items():
        cost = best(lambda policy=policy: policy.evaluate(CALL, FACTS))
        assert policy.evaluate(CALL, FACTS).effect is Effect.ALLOW
        print(f"{name:34} {cost:8.2f} µs   {cost / baseline:6.2f} × json.dumps")
    policy = cases["200 rules, all of this tool"]
    needs = best(lambda: policy.needs(CALL))
    print(f"{'needs(), 200 rules':34} {needs:8.2f} µs   {needs / baseline:6.2f} × json.dumps")
    compiling = best(lambda: policy_of(rules_for([f"git/other_{n}" for n in range(1000)])))
    print(f"{'compiling 1,000 rules':34} {compiling / 1000:8.2f} ms")


if __name__ == "__main__":
    main()
