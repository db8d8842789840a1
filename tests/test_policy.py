"""The policy: which rule decides, with which terms, and why."""

from __future__ import annotations

import hashlib

import pytest

from airlock.config import AgentConfig, Config, PatternLine, PatternLists, RuleConfig
from airlock.errors import ConfigError
from airlock.explain import explain
from airlock.matching.frame import Facts
from airlock.matching.selection import CACHED_NAME, CACHED_SELECTIONS
from airlock.model import Effect, Kind, Part
from airlock.policy import Needs, compile_policy
from airlock.queue.facts import gather
from support.policies import HOME, RATED, STORY, call_of, config_of, decide, effect_of, policy_of


def test_nothing_matched_means_deny() -> None:
    decision = decide(policy_of(STORY), call_of("docs/write"))
    assert (decision.effect, decision.rule, decision.reason) == (
        Effect.DENY,
        "",
        "no rule allows `docs/write`",
    )


def test_an_unknown_agent_is_denied_before_any_rule() -> None:
    policy = policy_of(STORY)
    decision = decide(policy, call_of("pay/get_rates", agent="mallory"))
    assert (decision.effect, decision.rule, decision.reason) == (Effect.DENY, "", "unknown agent `mallory`")
    assert not policy.knows("mallory")
    assert policy.knows("other")


@pytest.mark.parametrize(
    ("tool", "effect", "rule"),
    [
        ("git/git_status", Effect.ALLOW, "agents.bot.allow"),
        ("git/git_commit", Effect.ASK, "agents.bot.ask"),
        ("git/git_reset", Effect.DENY, "profiles.careful.deny"),
        ("git/get_log", Effect.ASK, "agents.bot.ask"),
        ("docs/get_page", Effect.ALLOW, "profiles.readonly.allow"),
        ("bash/get_evil", Effect.DENY, ""),
        ("bash/curl", Effect.ASK, "agents.bot.ask"),
        ("ToolSearch", Effect.DENY, ""),
    ],
)
def test_the_lists_are_rules_with_names_of_their_own(tool: str, effect: Effect, rule: str) -> None:
    decision = decide(policy_of(STORY), call_of(tool))
    assert (decision.effect, decision.rule) == (effect, rule)


def test_a_list_names_the_line_and_the_pattern_that_matched() -> None:
    decision = decide(policy_of(STORY), call_of("git/git_commit"))
    (matched,) = decision.matched
    assert matched.where.endswith("airlock.yaml:14")
    assert decision.reason == "`git/*` is in agents.bot.ask"


def test_another_agents_lists_do_not_apply() -> None:
    assert effect_of(policy_of(STORY), "git/git_status", agent="other") is Effect.DENY
    assert (
        effect_of(policy_of(STORY), "pay/get_rates", agent="other") is Effect.ALLOW
    )  # the rule `seen` is for all


def test_a_rule_for_some_agents_leaves_the_others_alone() -> None:
    policy = policy_of(
        """
        providers: {pay: builtin}
        agents: {bot: {}, other: {}}
        rules: [{id: r, agent: [bot], tool: pay/x, effect: allow}]
        """
    )
    assert effect_of(policy, "pay/x") is Effect.ALLOW
    assert effect_of(policy, "pay/x", agent="other") is Effect.DENY


PARTS = (Part(tool="bash/ls"), Part(tool="bash/curl"), Part(tool="bash/git"))


def test_the_strictest_part_decides_and_gives_its_name() -> None:
    policy = policy_of(STORY)
    decision = decide(policy, call_of("bash/_complex", parts=PARTS))
    assert (decision.effect, decision.tool, decision.rule) == (Effect.ASK, "bash/curl", "agents.bot.ask")
    denied = decide(policy, call_of("bash/_complex", parts=(*PARTS, Part(tool="bash/rm"))))
    assert (denied.effect, denied.tool, denied.rule) == (Effect.DENY, "bash/rm", "agents.bot.deny")
    allowed = decide(policy, call_of("bash/_complex", parts=PARTS[:1]))
    assert (allowed.effect, allowed.tool) == (Effect.ALLOW, "bash/ls")


def test_a_part_that_no_rule_names_denies_the_whole_call() -> None:
    decision = decide(
        policy_of(STORY), call_of("bash/_complex", parts=(Part(tool="bash/dd"), Part(tool="bash/rm")))
    )
    assert (decision.effect, decision.tool, decision.rule) == (Effect.DENY, "bash/dd", "")
    assert decision.reason == "no rule allows `bash/dd`"


def test_conditions_see_the_arguments_of_their_own_part() -> None:
    policy = policy_of(
        """
        agents: {bot: {}}
        rules:
          - {id: safe, tool: bash/git, effect: allow, when: "argv[1] == 'status'"}
          - {id: there, tool: file/write, effect: allow, args: {path: {under: ./out}}}
        """
    )
    status, push = (Part(tool="bash/git", arguments={"argv": ["git", word]}) for word in ("status", "push"))
    write = Part(tool="file/write", arguments={"path": "out/log"})
    home = str(HOME)
    assert effect_of(policy, "bash/_complex", parts=(status, write), cwd=home) is Effect.ALLOW
    assert effect_of(policy, "bash/_complex", parts=(status, push), cwd=home) is Effect.DENY
    assert effect_of(policy, "bash/_complex", parts=(status, write), cwd="/") is Effect.DENY


def test_terms_of_asking_parts_are_joined() -> None:
    policy = policy_of(STORY)
    calls = [
        Part(tool="pay/transfer", arguments={"amount": 500, "country": "DE"}),
        Part(tool="pay/transfer", arguments={"amount": 5, "country": "US"}),
    ]
    decision = decide(policy, call_of("bash/_complex", parts=tuple(calls)))
    assert {one.rule for one in decision.terms.reviewers} == {"abroad", "big"}


@pytest.mark.parametrize(
    ("uri", "effect"),
    [
        ("file:///project/readme", Effect.ALLOW),
        ("file:///etc/passwd", Effect.DENY),
        ("FILE:///etc/passwd", Effect.DENY),
        ("file://localhost/etc/passwd", Effect.DENY),
        ("file:///project/../etc/passwd", Effect.DENY),
        ("file:///project/%2e%2e/etc/passwd", Effect.DENY),
        ("file:///project/..%2f..%2fetc/passwd", Effect.DENY),
        ("file:///project/%252e%252e/etc/passwd", Effect.DENY),
        ("file:///%65tc/passwd", Effect.DENY),
        ("file:///%2Fetc/passwd", Effect.DENY),
        ("file:////etc/passwd", Effect.DENY),
        ("file:///etc/passwd?x", Effect.DENY),
        ("file:///secret/key", Effect.DENY),
        ("file:///%73ecret/key", Effect.DENY),
        ("file:///%2Fsecret/key", Effect.DENY),
        ("file:///project/a b", Effect.DENY),
        ("file:///project/a%00", Effect.DENY),
    ],
)
def test_a_uri_is_judged_by_every_way_to_read_it(uri: str, effect: Effect) -> None:
    assert effect_of(policy_of(STORY), f"resource:docs/{uri}") is effect


def test_a_prefix_keeps_the_kinds_apart() -> None:
    policy = policy_of(
        'providers: {docs: builtin}\nagents: {bot: {allow: ["prompt:docs/review", "docs/other"]}}'
    )
    assert effect_of(policy, "prompt:docs/review") is Effect.ALLOW
    assert effect_of(policy, "docs/review") is Effect.DENY
    assert effect_of(policy, "prompt:docs/other") is Effect.DENY
    part = Part(tool="prompt:docs/review", kind=Kind.PROMPT)
    assert effect_of(policy, "bash/_complex", parts=(part,)) is Effect.ALLOW


def test_a_resource_that_has_no_clear_name_says_so() -> None:
    decision = decide(policy_of(STORY), call_of("resource:docs/file:///a/%2e%2e%2fb"))
    assert decision.reason == "`resource:docs/file:///a/%2e%2e%2fb` is no clear name"


def test_a_name_from_the_other_side_cannot_bring_control_characters_into_the_reason() -> None:
    reason = decide(policy_of(STORY), call_of("x/\x1b[31m\n" + "y" * 1000)).reason
    assert reason.isprintable()
    assert len(reason) < 250


def test_a_digest_changes_with_its_rule_and_only_with_it() -> None:
    call = call_of("pay/transfer", {"amount": 500, "country": "DE"})
    first = decide(policy_of(STORY), call)
    other = decide(policy_of(STORY.replace("risk: high", "risk: low")), call)
    changed = decide(policy_of(STORY.replace("gt: 100", "gt: 101")), call)
    assert first.rule_digest
    assert first.rule_digest == other.rule_digest
    assert first.rule_digest != changed.rule_digest
    assert first.revision != other.revision


def test_a_digest_of_a_list_is_that_of_its_pattern() -> None:
    call = call_of("git/git_commit")
    first = decide(policy_of(STORY), call).rule_digest
    moved = decide(policy_of(STORY.replace('ask: ["git/*"', 'ask: ["docs/x", "git/*"')), call).rule_digest
    narrowed = decide(policy_of(STORY.replace('ask: ["git/*"', 'ask: ["git/git_*"')), call).rule_digest
    assert first == moved
    assert first != narrowed


def test_names_from_anyone_do_not_fill_the_memory() -> None:
    policy = policy_of(STORY)
    for number in range(CACHED_SELECTIONS + 100):
        decide(policy, call_of(f"x/{number}"))
    decide(policy, call_of("x/" + "y" * (CACHED_NAME + 1)))
    kept = policy._selector._cached.cache_info()
    assert kept.currsize == CACHED_SELECTIONS


def test_rules_of_other_tools_are_not_even_looked_at() -> None:
    rules = "\n".join(
        f"  - {{id: r{n}, tool: pay/t{n}, effect: deny, args: {{x: {n}}}}}" for n in range(1000)
    )
    policy = policy_of(f"providers: {{pay: builtin}}\nagents: {{bot: {{}}}}\nrules:\n{rules}")
    ((selection, _),) = policy.frames(call_of("pay/t7"), Facts(now=0))
    assert [one.rule.id for one in selection.candidates] == ["r7"]


def test_needs_are_empty_in_the_usual_case() -> None:
    policy = policy_of(STORY)
    assert not policy.needs(call_of("pay/transfer", {"amount": 1}))
    assert not policy.needs(call_of("pay/transfer", agent="mallory"))
    assert Needs(paths=("/a",))


@pytest.mark.anyio
async def test_the_real_file_system_is_asked_for_links(tmp_path: object) -> None:
    from pathlib import Path

    root = Path(str(tmp_path))
    (root / "project").mkdir()
    (root / "secret").mkdir()
    (root / "project" / "link").symlink_to(root / "secret")
    policy = policy_of(
        "agents: {bot: {}}\n"
        f"rules: [{{id: r, tool: file/read, effect: allow, args: {{path: {{under: '{root}/project'}}}}}}]"
    )
    found = {}
    for path in ("a.txt", "link/key", "link/../secret/key", "../secret/key", "new/deep/file"):
        call = call_of("file/read", {"path": path}, cwd=f"{root}/project")
        facts = await gather(policy.needs(call), None, 0)  # type: ignore[arg-type]
        found[path] = policy.evaluate(call, facts).effect is Effect.ALLOW
    assert found == {
        "a.txt": True,
        "link/key": False,
        "link/../secret/key": False,
        "../secret/key": False,
        "new/deep/file": True,
    }


PROBLEMS = [
    ("agents: {bot: {allow: ['git/']}}", "agents.bot.allow", "empty segment"),
    ("agents: {bot: {allow: ['git/a?']}}", "agents.bot.allow", "only `*` and `**`"),
    ("agents: {bot: {}}\nrules: [{id: a, tool: 'x y', effect: deny}]", "rules.a.tool", "only `*` and `**`"),
    (
        "agents: {bot: {}}\nrules: [{id: agents.bot.ask, tool: x/y, effect: deny}]",
        "rules.agents.bot.ask",
        "no id",
    ),
    (
        "agents: {bot: {}}\nrules: [{id: a, tool: x/y, effect: ask, rate: 1/1m}]",
        "rules.a.rate",
        "limits an allow",
    ),
    (
        "agents: {bot: {}}\nrules: [{id: a, tool: x/y, effect: deny, when: '('}]",
        "rules.a.when",
        "cannot be read",
    ),
]


@pytest.mark.parametrize(("text", "path", "message"), PROBLEMS)
def test_a_policy_that_cannot_mean_what_is_wanted_is_refused(text: str, path: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_of(text)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert message in str(problem)
    assert problem.line > 0


def test_all_problems_come_at_once() -> None:
    rule = "{id: a, tool: x/y, effect: deny, when: '(', unless: ')', args: {x: {}}}"
    text = f"agents: {{bot: {{allow: ['git/']}}}}\nrules:\n  - {rule}"
    with pytest.raises(ConfigError) as caught:
        policy_of(text)
    assert {one.path for one in caught.value.problems} >= {
        "agents.bot.allow",
        "rules.a.args",
        "rules.a.when",
        "rules.a.unless",
    }


def plain_config(**more: object) -> Config:
    return Config(file=HOME / "airlock.yaml", digest="d", database="sqlite:////x", **more)  # type: ignore[arg-type]


def test_what_the_loader_would_have_refused_is_refused_here_as_well() -> None:
    lists = PatternLists(owner="agents.bot", extends=("a", "gone"))
    profiles = {
        "a": PatternLists(owner="profiles.a", extends=("b",)),
        "b": PatternLists(owner="profiles.b", extends=("a",)),
    }
    rule = RuleConfig(
        id="r",
        where="a:1",
        tools=("x/y",),
        effect=Effect.ASK,
        agents=("nobody",),
        approvers=("eve",),
        quorum=3,
    )
    config = plain_config(
        agents={"bot": AgentConfig(name="bot", lists=lists)}, profiles=profiles, rules=(rule, rule)
    )
    with pytest.raises(ConfigError) as caught:
        compile_policy(config)
    said = str(caught.value)
    for words in (
        "goes round: a → b → a",
        "unknown profile `gone`",
        "unknown agent `nobody`",
        "two rules have the id",
        "unknown person `eve`",
        "cannot be reached",
    ):
        assert words in said


def test_a_profile_that_is_extended_twice_counts_once() -> None:
    top = PatternLists(owner="profiles.top", allow=(PatternLine(text="git/x", where="a:1"),))
    left, right = (PatternLists(owner=f"profiles.{name}", extends=("top",)) for name in ("left", "right"))
    agent = AgentConfig(name="bot", lists=PatternLists(owner="agents.bot", extends=("left", "right")))
    policy = compile_policy(
        plain_config(agents={"bot": agent}, profiles={"top": top, "left": left, "right": right})
    )
    assert len(decide(policy, call_of("git/x")).matched) == 1


def test_probable_mistakes_are_warned_about() -> None:
    policy = policy_of(
        """
        providers: {github: builtin}
        agents: {bot: {allow: ["github/*", "*"], deny: ["**"]}}
        """
    )
    said = "\n".join(str(one) for one in policy.warnings)
    assert "`**` does not reach the tools of hooks" in said
    assert "`*` names only tools without a provider" in said
    assert not policy_of(STORY).warnings


def test_an_explanation_names_who_decides_who_loses_and_what_failed() -> None:
    policy = policy_of(STORY)
    explanation = explain(policy, call_of("pay/transfer", {"amount": 50, "country": "US"}), Facts(now=0))
    (part,) = explanation.parts
    roles = {one.rule: one.role for one in part.rules}
    assert roles == {
        "abroad": "decides",
        "agents.bot.allow": "loses",
        "seen": "loses",
        "big": "not-matched",
        "never": "not-matched",
    }
    text = "\n".join(explanation.lines())
    assert "args.amount: {'gt': 100} → does not hold" in text
    assert explanation.shape()[0]["effect"] == "ask"


def test_an_explanation_shows_errors_rates_and_parts() -> None:
    policy = policy_of(
        RATED + "  - {id: odd, tool: pay/x, effect: deny, args: {n: {gt: 1}}, unless: \"agent == 'x'\"}\n"
    )
    spent = explain(
        policy, call_of("pay/x", {"n": 0}), Facts(now=0, rates={"/srv/airlock/airlock.yaml\nbot\nfew": 3})
    )
    assert any("its rate is used up" in line for line in spent.lines())
    errored = explain(policy, call_of("pay/x", {"n": "a"}), Facts(now=0))
    assert any("`n` is not a number" in line for line in errored.lines())
    assert any(
        clause["text"] == "unless: agent == 'x'" for clause in errored.shape()[0]["rules"][0]["conditions"]
    )
    both = explain(
        policy, call_of("bash/_complex", parts=(Part(tool="bash/a"), Part(tool="bash/b"))), Facts(now=0)
    )
    assert [part.tool for part in both.parts] == ["bash/a", "bash/b"]
    assert explain(policy, call_of("pay/x", agent="mallory"), Facts(now=0)).parts == ()


def test_the_config_of_the_story_compiles_to_the_revision_of_its_text() -> None:
    config = config_of(STORY)
    assert compile_policy(config).revision == hashlib.sha256(config.policy_text.encode()).hexdigest()
