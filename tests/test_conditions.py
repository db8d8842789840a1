"""`args:` conditions: what holds, what does not, and what is an error."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from airlock.errors import ConfigError
from airlock.matching.regexes import PatternSet
from airlock.model import Effect
from airlock.policy import Facts
from support.policies import call_of, decide, effect_of, policy_of, rule_policy

YES, NO, ERROR = "yes", "no", "error"


def answer(condition: str, arguments: dict[str, Any], **more: Any) -> str:
    """What a condition says, read off from a deny rule and from an allow rule at once."""
    tool = more.pop("tool", "fs/read")
    deny = decide(
        rule_policy(f"args: {condition}", effect="deny", before='allow: ["*/*", "bash/*"]'),
        call_of(tool, arguments),
        **more,
    )
    allow = decide(rule_policy(f"args: {condition}"), call_of(tool, arguments), **more)
    if deny.matched and deny.matched[0].errored:
        assert (deny.effect, allow.effect) == (Effect.DENY, Effect.DENY), "an error opened a door"
        return ERROR
    both = (deny.effect is Effect.DENY, allow.effect is Effect.ALLOW)
    assert both in {(True, True), (False, False)}, both
    return YES if both[0] else NO


TABLE: list[tuple[str, Any, str]] = [
    # equals: the type is part of it
    ("{x: 5}", 5, YES),
    ("{x: 5}", 5.0, YES),
    ("{x: 5}", 6, NO),
    ("{x: 5}", "5", ERROR),
    ("{x: 1}", True, ERROR),
    ("{x: true}", 1, ERROR),
    ("{x: true}", True, YES),
    ("{x: false}", True, NO),
    ("{x: {equals: null}}", None, YES),
    ("{x: {equals: null}}", "", ERROR),
    ("{x: a}", None, ERROR),
    ("{x: a}", "a", YES),
    ("{x: a}", "A", NO),
    ("{x: a}", "а", NO),
    ("{x: a}", "a\0", NO),
    ("{x: a}", "a ", NO),
    ("{x: a}", ["a"], ERROR),
    ("{x: {equals: [1, a]}}", [1, "a"], YES),
    ("{x: {equals: [1, a]}}", [True, "a"], NO),
    ("{x: {equals: {k: 1}}}", {"k": 1.0}, YES),
    ("{x: {equals: {k: 1}}}", {"k": 1, "l": 2}, NO),
    ("{x: 9007199254740993}", 9007199254740992, NO),
    ("{x: 9007199254740992}", 9007199254740992.0, YES),
    # in, not_in
    ("{x: {in: [ro, rw]}}", "ro", YES),
    ("{x: {in: [ro, rw]}}", "r", NO),
    ("{x: {in: [ro, rw]}}", 1, ERROR),
    ("{x: {in: [1, 2]}}", True, ERROR),
    ("{x: {in: [1, true]}}", True, YES),
    ("{x: {in: [1, a]}}", "1", NO),
    ("{x: {in: [[1], 2]}}", [1], YES),
    ("{x: {in: [[1], 2]}}", [True], NO),
    ("{x: {in: [a, null]}}", None, YES),
    ("{x: {not_in: [a, b]}}", "c", YES),
    ("{x: {not_in: [a, b]}}", "a", NO),
    ("{x: {not_in: [a]}}", 1, ERROR),
    # numbers
    ("{x: {gt: 100}}", 100, NO),
    ("{x: {gt: 100}}", 100.5, YES),
    ("{x: {gte: 100}}", 100, YES),
    ("{x: {lt: 100}}", 100, NO),
    ("{x: {lte: 100}}", 100.0, YES),
    ("{x: {lt: 0}}", -0.0, NO),
    ("{x: {gt: 100}}", "1000", ERROR),
    ("{x: {gt: 100}}", True, ERROR),
    ("{x: {gt: 100}}", None, ERROR),
    ("{x: {gt: 100}}", 10**400, YES),
    ("{x: {lt: 1.5}}", -(10**400), YES),
    ("{x: {gt: 1}}", [2], ERROR),
    ("{x: {gt: 100}}", "NaN", ERROR),
    ("{x: {gt: 100}}", "1e9", ERROR),
    ("{x: {gt: 100}}", "٣٠٠", ERROR),
    ("{x: {gt: 100}}", float("nan"), ERROR),
    ("{x: {gt: 100}}", float("inf"), ERROR),
    ("{x: {gt: 1, lt: 5}}", 3, YES),
    ("{x: {gt: 1, lt: 5}}", 5, NO),
    ("{x: {gt: 1, lt: 5}}", "3", ERROR),
    # regex and glob
    ("{x: {regex: '^a+$'}}", "aaa", YES),
    ("{x: {regex: '^a+$'}}", "aaa\n", NO),
    ("{x: {regex: '^a+$'}}", "b\naaa", NO),
    ("{x: {regex: '^a+$'}}", 1, ERROR),
    ("{x: {regex: '^a+$'}}", "\ud800", ERROR),
    ("{x: {regex: '^$'}}", "", YES),
    ("{x: {regex: ['^a$', '^b$']}}", "b", YES),
    ("{x: {regex: '^(?i)git$'}}", "GIT", YES),
    ("{x: {regex: '^a+$'}}", "a" * 1_000_001, ERROR),
    ("{x: {regex: '^(a+)+$'}}", "a" * 100_000 + "b", NO),
    ("{x: {glob: 'src/*'}}", "src/a", YES),
    ("{x: {glob: 'src/*'}}", "src/a/b", NO),
    ("{x: {glob: 'src/**'}}", "src/a/b", YES),
    ("{x: {glob: 'src/**'}}", "src/../etc/passwd", ERROR),
    ("{x: {glob: 'src/**'}}", "src/./a", ERROR),
    ("{x: {glob: 'src/**'}}", "src//a", ERROR),
    ("{x: {glob: 'src/**'}}", "./src/a", ERROR),
    ("{x: {glob: '*'}}", "..", ERROR),
    ("{x: {glob: '*.md'}}", ".md", YES),
    ("{x: {glob: 'https://a.example/**'}}", "https://a.example/b/c", YES),
    ("{x: {glob: 'https://a.example/**'}}", "https://a.example/../b", ERROR),
    ("{x: {glob: 'a?c'}}", "abc", NO),
    ("{x: {glob: 'a[b]'}}", "a[b]", YES),
    ("{x: {glob: 'src/*'}}", "src/\n", YES),
    ("{x: {glob: [a, 'b*']}}", "bc", YES),
    # lists
    ("{x: {each: {gt: 1}}}", [2, 3], YES),
    ("{x: {each: {gt: 1}}}", [2, 1], NO),
    ("{x: {each: {gt: 1}}}", [], NO),
    ("{x: {each: {gt: 1}}}", [2, "a"], ERROR),
    ("{x: {each: {gt: 1}}}", [0, "a"], NO),
    ("{x: {each: {gt: 1}}}", 2, ERROR),
    ("{x: {each: a}}", ["a", "a"], YES),
    ("{x: {any: {gt: 1}}}", [0, 2], YES),
    ("{x: {any: {gt: 1}}}", [0, 1], NO),
    ("{x: {any: {gt: 1}}}", [2, "a"], YES),
    ("{x: {any: {gt: 1}}}", [0, "a"], ERROR),
    ("{x: {any: {gt: 1}}}", [], NO),
    ("{x: {each: {in: [a, b]}}}", ["a", "b"], YES),
    ("{x: {each: {each: 1}}}", [[1], [1, 1]], YES),
    ("{x: {each: {gt: 1}}}", [2] * 10_001, ERROR),
    # exists
    ("{x: {exists: true}}", None, YES),
    ("{x: {exists: true}}", 0, YES),
    ("{x: {exists: false}}", 0, NO),
    ("{x: {exists: true, gt: 1}}", 2, YES),
    # paths
    ("{x.y: 1}", {"y": 1}, YES),
    ("{x.y: 1}", {"z": 1}, NO),
    ("{x.y: 1}", 1, ERROR),
    ("{x.y: 1}", None, ERROR),
    ("{x.y: {exists: false}}", {"z": 1}, YES),
    ("{x.y: {exists: false}}", [1], ERROR),
    ("{'x[0]': 1}", [1, 2], YES),
    ("{'x[2]': 1}", [1, 2], NO),
    ("{'x[0]': 1}", {"0": 1}, ERROR),
    ("{'x[0].y': 1}", [{"y": 1}], YES),
    ("{'x[\"a.b\"]': 1}", {"a.b": 1}, YES),
    ("{'x[\"a.b\"]': 1}", {"a": {"b": 1}}, NO),
    ("{'x.a.b': 1}", {"a.b": 1}, NO),
]


@pytest.mark.parametrize(("condition", "value", "expected"), TABLE, ids=itertools.count())
def test_a_condition_says_yes_no_or_that_it_cannot_tell(condition: str, value: Any, expected: str) -> None:
    assert answer(condition, {"x": value}) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "{x: 1}",
        "{x: {gt: 1}}",
        "{x: {not_in: [a]}}",
        "{x: {regex: '^a$'}}",
        "{x: {glob: 'a'}}",
        "{x: {under: .}}",
        "{x: {each: 1}}",
        "{x: {any: 1}}",
        "{x.y: 1}",
        "{'x[*]': 1}",
        "{'x[*].y': 1}",
        "{x: {exists: true}}",
    ],
)
def test_a_missing_argument_is_no_match(condition: str) -> None:
    assert answer(condition, {"other": 1}) == NO


@pytest.mark.parametrize(
    "condition", ["{x: {exists: false}}", "{x.y: {exists: false}}", "{'x[*].y': {exists: false}}"]
)
def test_exists_false_holds_for_a_missing_argument(condition: str) -> None:
    assert answer(condition, {"other": 1}) == YES


def test_a_star_in_a_path_means_every_item_for_allow_and_any_item_for_deny() -> None:
    allow = rule_policy("args: {'files[*].path': {glob: 'src/*'}}")
    deny = rule_policy("args: {'files[*].path': {glob: 'secret/*'}}", effect="deny", before='allow: ["fs/*"]')

    def files(*paths: str) -> dict[str, Any]:
        return {"files": [{"path": path} for path in paths]}

    assert effect_of(allow, "fs/x", files("src/a", "src/b")) is Effect.ALLOW
    assert effect_of(allow, "fs/x", files("src/a", "secret/b")) is Effect.DENY
    assert effect_of(allow, "fs/x", {"files": []}) is Effect.DENY
    assert effect_of(allow, "fs/x", {"files": [{"path": "src/a"}, {}]}) is Effect.DENY
    assert effect_of(allow, "fs/x", {"files": [{"path": "src/a"}, {"path": 1}]}) is Effect.DENY
    assert effect_of(deny, "fs/x", files("src/a", "src/b")) is Effect.ALLOW
    assert effect_of(deny, "fs/x", files("src/a", "secret/b")) is Effect.DENY
    assert effect_of(deny, "fs/x", {"files": [{"path": "src/a"}, {"path": 1}]}) is Effect.DENY


def test_a_definite_no_outweighs_an_error_whatever_the_order() -> None:
    for keys in (("a", "b"), ("b", "a")):
        tests = {"a": "{gt: 1}", "b": "x"}
        policy = rule_policy(
            f"args: {{{', '.join(f'{key}: {tests[key]}' for key in keys)}}}",
            effect="deny",
            before='allow: ["fs/*"]',
        )
        assert effect_of(policy, "fs/x", {"a": "no number", "b": "y"}) is Effect.ALLOW
        assert effect_of(policy, "fs/x", {"a": "no number", "b": "x"}) is Effect.DENY


WRONG = [
    ("{x: {gtt: 1}}", "did you mean `gt`"),
    ("{x: {}}", "no condition"),
    ("{x: {gt: '1'}}", "wants a number"),
    ("{x: {gt: true}}", "wants a number"),
    ("{x: {in: []}}", "not empty"),
    ("{x: {in: a}}", "wants a list"),
    ("{x: {regex: '('}}", "missing )"),
    ("{x: {regex: '^(?=a)$'}}", "cannot be used"),
    ("{x: {regex: 1}}", "wants a text"),
    ("{x: {regex: 'a$'}}", "not anchored"),
    ("{x: {regex: '^a'}}", "not anchored"),
    ("{x: {regex: '(?m)^a$'}}", "not anchored"),
    ("{x: {regex: '^a\\$'}}", "not anchored"),
    ("{x: {regex: '^(a{100}){30}$'}}", "cannot be used"),
    ("{x: {exists: 1}}", "true or false"),
    ("{x: {exists: false, gt: 1}}", "never hold"),
    ("{x: {each: {exists: true}}}", "no sense"),
    ("{'x..y': 1}", "no path"),
    ("{'x[': 1}", "no path"),
    ("{'x[*': 1}", "no path"),
    ("{'[0]': 1}", "no path"),
    ("{x: {glob: ''}}", "wants a text"),
    ("{x: {under: []}}", "wants a text"),
    ("{'x[-1]': 1}", "no path"),
    ("{x: {y: 1}}", "unknown condition `y`"),
]


@pytest.mark.parametrize(("condition", "message"), WRONG)
def test_a_condition_that_means_nothing_is_refused_with_its_line(condition: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rule_policy(f"args: {condition}")
    (problem,) = caught.value.problems
    assert message in str(problem)
    assert problem.line == 10


def test_an_unanchored_regex_searches_in_a_rule_that_restricts() -> None:
    policy = rule_policy("args: {x: {regex: 'rm -rf'}}", effect="deny", before='allow: ["fs/*"]')
    assert effect_of(policy, "fs/x", {"x": "sudo rm -rf /"}) is Effect.DENY
    assert effect_of(policy, "fs/x", {"x": "ls"}) is Effect.ALLOW


def test_an_alternative_cannot_slip_out_of_the_anchors_of_an_allow_rule() -> None:
    policy = rule_policy("args: {x: {regex: '^ls|cat$'}}")
    assert effect_of(policy, "fs/x", {"x": "ls"}) is Effect.ALLOW
    assert effect_of(policy, "fs/x", {"x": "ls; rm -rf /"}) is Effect.DENY
    assert effect_of(policy, "fs/x", {"x": "rm -rf / #cat"}) is Effect.DENY


def test_each_in_a_rule_that_restricts_is_warned_about() -> None:
    warned = rule_policy("args: {x: {each: {gt: 1}}}", effect="deny").warnings
    assert ["`any` matches" in str(one) for one in warned] == [True]


INSIDE = [
    ("a.txt", YES),
    ("/srv/data/project/a.txt", YES),
    ("project/a.txt", YES),
    ("./a/./b", YES),
    ("a//b", YES),
    ("/srv/data/project", YES),
    ("/srv/data/projects/a", NO),
    ("/srv/data/project/../secret", NO),
    ("../secret", NO),
    ("a/../../secret", NO),
    ("a/../b", YES),
    ("/etc/passwd", NO),
    ("//etc/passwd", NO),
    ("//srv/data/project/a", YES),
    ("/SRV/data/project/a", NO),
    ("a\0b", ERROR),
    ("", ERROR),
    (" /etc/passwd", ERROR),
    ("/etc/passwd ", ERROR),
    ("~/x", ERROR),
    ("~root/x", ERROR),
    ("file:///etc/passwd", ERROR),
    ("file:/etc/passwd", ERROR),
    ("https://x/y", ERROR),
    ("..\\..\\etc", ERROR),
    ("a\nb", ERROR),
    ("．．/secret", YES),
    ("%2e%2e/secret", YES),
    ("a..", YES),
    ("...", YES),
    ("a" * 5000, ERROR),
    (1, ERROR),
    (None, ERROR),
    (["a"], ERROR),
    ({"path": "a"}, ERROR),
]


WANTED = {
    YES: (Effect.ALLOW, Effect.DENY),
    NO: (Effect.DENY, Effect.ALLOW),
    ERROR: (Effect.DENY, Effect.DENY),
}
"""What an allow rule and a deny rule (over a broad allow) make of each answer."""


def under(
    folder: str, path: Any, *, tool: str = "bash/cat", cwd: str = "/srv/data/project", links: Any = None
) -> str:
    """What `under` says: the same to an allow and to a deny rule."""
    call = call_of(tool, {"path": path}, cwd=cwd)
    body = f"args: {{path: {{under: {folder}}}}}"
    allow = rule_policy(body)
    deny = rule_policy(body, effect="deny", before='allow: ["*/*", "bash/*"]')
    effects = (decide(allow, call, links=links).effect, decide(deny, call, links=links).effect)
    return next(name for name, wanted in WANTED.items() if wanted == effects)


@pytest.mark.parametrize(("path", "expected"), INSIDE)
def test_under_sees_through_every_spelling(path: Any, expected: str) -> None:
    assert under("/srv/data/project", path) == expected


def test_a_folder_of_a_rule_is_relative_to_the_config_file() -> None:
    assert under("./project", "/srv/airlock/project/a") == YES
    assert under("project/../other", "/srv/airlock/other/a") == YES
    assert under(".", "/srv/airlock") == YES
    assert under("[./a, ./b]", "/srv/airlock/b/x") == YES
    assert under("/", "/anything") == YES


def test_a_relative_path_starts_at_the_directory_of_the_provider_else_of_the_hook() -> None:
    assert under("/srv/data", "a", tool="fs/read", cwd="/elsewhere") == YES
    assert under("/srv/data", "a", tool="bash/cat", cwd="/elsewhere") == NO
    assert under("/elsewhere", "a", tool="bash/cat", cwd="/elsewhere") == YES
    assert under("/srv/data", "a", tool="bash/cat", cwd="") == ERROR
    assert under("/srv/data", "a", tool="bash/cat", cwd="srv/data") == ERROR
    assert under("/srv/data", "a", tool="far/read", cwd="/srv/data") == ERROR


def test_a_symlink_cannot_lead_out_of_the_folder() -> None:
    out = {"/srv/data/project/link": "/etc"}
    call = call_of("bash/cat", {"path": "link/passwd"}, cwd="/srv/data/project")
    allow = rule_policy("args: {path: {under: /srv/data/project}}")
    assert decide(allow, call, links=out).effect is Effect.DENY
    assert decide(allow, call, links={}).effect is Effect.ALLOW


def test_a_symlink_cannot_lead_into_a_denied_folder() -> None:
    into = {"/srv/data/project/link": "/srv/secret"}
    assert under("/srv/secret", "link/key", links=into) == YES
    assert under("/srv/secret", "other/key", links=into) == NO


def test_a_link_before_dots_is_read_both_ways() -> None:
    """`link/../x` is beside the link for many tools, and beside its target for the kernel."""
    links = {"/srv/data/project/link": "/srv/secret/deep"}
    call = call_of("bash/cat", {"path": "link/../key"}, cwd="/srv/data/project")
    allow = rule_policy("args: {path: {under: /srv/data/project}}")
    deny = rule_policy("args: {path: {under: /srv/secret}}", effect="deny", before='allow: ["bash/*"]')
    assert decide(allow, call, links=links).effect is Effect.DENY
    assert decide(deny, call, links=links).effect is Effect.DENY


def test_the_folder_of_a_rule_may_be_a_symlink_itself() -> None:
    links = {"/tmp": "/private/tmp"}
    assert under("/tmp/project", "/tmp/project/a", links=links) == YES
    assert under("/tmp/project", "/private/tmp/project/a", links=links) == YES
    assert under("/tmp/project", "/tmp/other", links=links) == NO


def test_where_the_file_system_folds_names_so_do_rules_that_restrict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airlock.matching.within._FOLDS", True)
    deny = rule_policy("args: {path: {under: /srv/secret}}", effect="deny", before='allow: ["bash/*"]')
    allow = rule_policy("args: {path: {under: /srv/secret}}")
    for path in ("/srv/SECRET/key", "/SRV/secret/key"):
        assert effect_of(deny, "bash/cat", {"path": path}) is Effect.DENY
        assert effect_of(allow, "bash/cat", {"path": path}) is Effect.DENY


def test_a_path_that_cannot_be_resolved_is_an_error() -> None:
    assert under("/srv/data", "broken/a", cwd="/srv", links={"/srv/broken": None}) == ERROR
    call = call_of("bash/cat", {"path": "a"}, cwd="/srv/data")
    for effect, before in (("allow", ""), ("deny", 'allow: ["bash/*"]')):
        policy = rule_policy("args: {path: {under: /srv/data/x}}", effect=effect, before=before)
        assert policy.evaluate(call, Facts(now=0)).effect is Effect.DENY


def test_for_a_server_elsewhere_our_symlinks_mean_nothing() -> None:
    call = call_of("far/read", {"path": "/srv/data/a"})
    policy = rule_policy("args: {path: {under: /srv/data}}")
    assert not policy.needs(call)
    assert policy.evaluate(call, Facts(now=0)).effect is Effect.ALLOW


def test_needs_names_the_paths_to_resolve_and_nothing_else() -> None:
    policy = rule_policy("args: {paths: {each: {under: /srv/data}}, 'more[*].p': {under: /opt}}")
    call = call_of("bash/cat", {"paths": ["a", "/b/../c", 7, "~"], "more": [{"p": "d"}], "other": "/e"})
    assert set(policy.needs(call).paths) == {"/srv/data", "/work/a", "/c", "/b/../c", "/opt", "/work/d"}
    assert not policy.needs(call_of("else/where", {"paths": ["a"]}))


def test_many_items_are_an_error_not_a_long_wait() -> None:
    policy = rule_policy("args: {'a[*].b[*]': 1}", effect="deny", before='allow: ["fs/*"]')
    assert effect_of(policy, "fs/x", {"a": [{"b": [2] * 200}] * 40}) is Effect.ALLOW
    decision = decide(policy, call_of("fs/x", {"a": [{"b": [2] * 200}] * 60}))
    assert decision.effect is Effect.DENY
    assert "more than 10,000 items" in decision.reason


def test_an_error_says_what_was_wrong_and_never_the_value() -> None:
    policy = rule_policy("args: {amount: {gt: 1}}", effect="deny", before='allow: ["fs/*"]')
    reason = decide(policy, call_of("fs/x", {"amount": "hunter2"})).reason
    assert reason == "rule `the-rule` (rule `the-rule` could not be evaluated: `amount` is not a number)"


def test_fifty_expressions_for_one_argument_are_one_set() -> None:
    rules = "\n".join(
        f"  - {{id: r{n}, tool: fs/x, effect: deny, args: {{cmd: {{regex: 'word{n}\\b'}}}}}}"
        for n in range(50)
    )
    policy = policy_of(f'agents: {{bot: {{allow: ["fs/*"]}}}}\nproviders: {{fs: builtin}}\nrules:\n{rules}')
    ((selection, frame),) = policy.frames(call_of("fs/x", {"cmd": "word7"}), Facts(now=0))
    assert len(selection.sets) == 1
    assert len(frame.found("cmd", "a word7 and word49")) == 2
    assert effect_of(policy, "fs/x", {"cmd": "say word31 now"}) is Effect.DENY
    assert effect_of(policy, "fs/x", {"cmd": "say word50 now"}) is Effect.ALLOW


def test_a_set_too_large_for_the_engine_is_split_and_still_finds_all() -> None:
    patterns = tuple(f"x{n}[a-z]{{1000}}y" for n in range(200))
    found = PatternSet(patterns).found("x159" + "a" * 1000 + "y, x7" + "b" * 1000 + "y")
    assert found == frozenset({patterns[159], patterns[7]})


OTHER_LETTERS: list[tuple[str, dict[str, Any], str]] = [
    ("{amount: {gt: 100}}", {"amount": 500, "AMOUNT": 5}, ERROR),
    ("{amount: {gt: 100}}", {"Amount": 500}, ERROR),
    ("{amount: {gt: 100}}", {"amount": 500, "total": 5}, YES),
    ("{to: eve}", {"To": "eve"}, ERROR),
    ("{to: {in: [eve, bob]}}", {"to": "ann", "tO": "eve"}, ERROR),
    ("{x: {regex: '^a$'}}", {"x": "a", "X": "b"}, ERROR),
    ("{x: {glob: 'a*'}}", {"X": "b"}, ERROR),
    ("{x: {exists: true}}", {"X": 1}, ERROR),
    ("{path: {under: /tmp}}", {"Path": "/tmp/x"}, ERROR),
    ("{path: {under: /tmp}}", {"path": "/tmp/x", "PATH": "/etc/x"}, ERROR),
    ("{links: {any: {equals: a}}}", {"lin\u212as": ["a"]}, ERROR),
    ("{'options.to': eve}", {"Options": {"to": "eve"}}, ERROR),
    ("{'options.to': eve}", {"options": {"to": "ann", "To": "eve"}}, ERROR),
    ("{'options.to': eve}", {"options": {"to": "eve", "too": "x"}}, YES),
    ("{'files[*].path': a}", {"files": [{"path": "b"}, {"Path": "a"}]}, ERROR),
]


@pytest.mark.parametrize(("condition", "arguments", "expected"), OTHER_LETTERS)
def test_a_name_in_other_letters_passes_no_condition(
    condition: str, arguments: dict[str, Any], expected: str
) -> None:
    """Go's encoding/json takes `AMOUNT` for `amount`, and of two the last one."""
    assert answer(condition, arguments) == expected


@pytest.mark.parametrize("arguments", [{"amount": 1, "Amount": 9}, {"AMOUNT": 1}])
def test_a_name_in_other_letters_passes_no_expression(arguments: dict[str, Any]) -> None:
    said = "when: 'has(args.amount) && args.amount > 5'"
    deny = decide(rule_policy(said, effect="deny", before='allow: ["*/*"]'), call_of("fs/read", arguments))
    allow = decide(rule_policy("when: '!has(args.amount) || args.amount < 5'"), call_of("fs/read", arguments))
    assert (deny.effect, allow.effect) == (Effect.DENY, Effect.DENY)
    assert deny.matched[0].errored


@pytest.mark.parametrize(
    "host",
    ["evil.example?x", "evil.example#", "evil.example\\", "evil.example\uff0f", "evil.example%2f", "a b"],
)
def test_a_glob_is_not_passed_by_a_host_that_ends_early(host: str) -> None:
    """`*` stops at `/`, and a host ends at other signs too."""
    assert (
        answer("{url: {glob: 'https://*.good.example/**'}}", {"url": f"https://{host}.good.example/"})
        == ERROR
    )


@pytest.mark.parametrize(
    ("pattern", "url", "said"),
    [
        ("http://localhost:*/**", "http://localhost:1@evil.example/", ERROR),
        ("http://localhost:*/**", "http://localhost:8080/a?b@c", YES),
        ("ssh://git@host.example/**", "ssh://git@host.example/a", YES),
        ("https://*.good.example/**", "https://a.good.example/x?y#z", YES),
        ("fix **", "fix https://a.example?b", YES),
    ],
)
def test_a_glob_judges_plain_addresses_as_before(pattern: str, url: str, said: str) -> None:
    assert answer(f"{{url: {{glob: '{pattern}'}}}}", {"url": url}) == said
