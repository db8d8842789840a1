"""Names and the patterns for them."""

from __future__ import annotations

import pytest

from airlock.config import HOOK_NAMESPACES, PatternLine
from airlock.matching.patterns import PatternError, names_of, parse, read_lines
from airlock.matching.uris import readings
from airlock.model import Effect, Kind
from support.policies import effect_of, policy_of

MATCHES = [
    ("git/git_status", "git/git_status", True),
    ("git/git_status", "git/git_statuses", False),
    ("git/git_status", "git/Git_Status", False),
    ("git/git_status", "git/git_statuѕ", False),  # a Cyrillic letter
    ("git/git_status", "git/git_status\n", False),
    ("git/git_status", "git/git_status ", False),
    ("git/git_status", "git/git_status.", False),
    ("git/git_status", "git/git_status\0", False),
    ("git/*", "git/anything", True),
    ("git/*", "git/two/segments", False),
    ("git/*", "gitlab/anything", False),
    ("git/*", "git", False),
    ("git/**", "git/two/segments", True),
    ("git/git_diff*", "git/git_diff", True),
    ("git/git_diff*", "git/git_diff_staged", True),
    ("git/git_diff*", "git/xgit_diff", False),
    ("git/*_read", "git/file_read", True),
    ("git/*_read", "git/file_read_not", False),
    ("git/a*a", "git/a", False),
    ("git/a*a", "git/aa", True),
    ("git/a*b*c", "git/a1b2c", True),
    ("git/a*b*c", "git/a1b/2c", False),
    ("git/a*b*c", "git/acb", False),
    ("git/a*b*c", "git/a\nb\nc", True),
    ("*/get_*", "pay/get_rates", True),
    ("*/get_*", "pay/set_rates", False),
    ("*/get_*", "get_rates", False),
    ("*/*", "pay/get_rates", True),
    ("*/*", "ToolSearch", False),
    ("**", "pay/get/rates", True),
    ("**", "ToolSearch", True),
    ("*", "ToolSearch", True),
    ("*", "pay/get", False),
    ("mcp__github__*", "mcp__github__delete", True),
    ("mcp__github__*", "mcp__gitlab__delete", False),
    ("mcp__github__*", "mcp__github__a/b", False),
    ("ToolSearch", "ToolSearch", True),
    ("ToolSearch", "x/ToolSearch", False),
    ("g*/x", "git/x", True),
    ("g*/x", "pay/x", False),
]


@pytest.mark.parametrize(("pattern", "name", "matches"), MATCHES)
def test_a_pattern_names_what_it_says_and_nothing_else(pattern: str, name: str, matches: bool) -> None:
    assert parse(pattern).matches(name) is matches


@pytest.mark.parametrize("namespace", sorted(HOOK_NAMESPACES))
@pytest.mark.parametrize(
    "pattern", ["*/get_*", "**", "*/*", "**/get_evil", "*h/get_*", "b*/*", "*", "f**", "*e/**"]
)
def test_a_wildcard_provider_never_reaches_the_namespaces_of_hooks(namespace: str, pattern: str) -> None:
    assert not parse(pattern).matches(f"{namespace}/get_evil")
    assert not parse(pattern).matches(namespace)


def test_a_spelled_out_namespace_is_reached() -> None:
    assert parse("bash/*").matches("bash/git")
    assert parse("bash/**").matches("bash/git")
    assert parse("bash/g*t*").matches("bash/git")


WRONG = [
    "",
    " git/x",
    "git/x ",
    "git/",
    "/x",
    "git/a?c",
    "git/[ab]",
    "git/{a,b}",
    "git/a b",
    "git/a\\b",
    "git/***",
    "resource:docs",
    "prompt:p",
    "resource:",
    "git/\n",
    "a" * 501,
    "git/" + "*a" * 17,
    "git/a,pay/b",
    "resource:docs/file:///a/../b",
    "resource:docs/FILE:///a",
    "resource:docs/file:///a%00",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_pattern_that_cannot_mean_what_is_wanted_is_refused(text: str) -> None:
    with pytest.raises(PatternError):
        parse(text)


def test_a_long_name_against_many_stars_takes_linear_time() -> None:
    pattern = parse("git/" + "*a" * 15 + "b")
    assert not pattern.matches("git/" + "a" * 1_000_000)


@pytest.mark.parametrize(
    ("pattern", "kind", "name"),
    [
        ("resource:docs/file:///project/**", Kind.RESOURCE, "docs/file:///project/a/b"),
        ("prompt:docs/review", Kind.PROMPT, "docs/review"),
        ("docs/review", Kind.TOOL, "docs/review"),
    ],
)
def test_a_prefix_chooses_the_kind(pattern: str, kind: Kind, name: str) -> None:
    parsed = parse(pattern)
    assert parsed.kind is kind
    assert parsed.matches(name)


def lines(*texts: str) -> list[PatternLine]:
    return [PatternLine(text=text, where=f"a.yaml:{number}") for number, text in enumerate(texts, 1)]


def test_an_exception_takes_names_out_of_its_own_list() -> None:
    names, wrong = read_lines(lines("git/*", "!git/git_status", "!git/git_diff*"))
    assert not wrong
    found = [
        name
        for name in ("git/git_status", "git/git_diff_staged", "git/git_commit")
        if names.find(Kind.TOOL, (name,), every=True)
    ]
    assert found == ["git/git_commit"]


def test_an_exception_beats_an_exact_line_of_the_same_list_wherever_it_stands() -> None:
    for texts in (("git/a", "!git/*"), ("!git/*", "git/a")):
        names, _ = read_lines(lines(*texts))
        assert names.find(Kind.TOOL, ("git/a",), every=True) is None


def test_an_exception_of_one_kind_leaves_the_others_alone() -> None:
    names, _ = read_lines(lines("resource:git/**", "git/*", "!resource:git/file:///secret"))
    assert names.find(Kind.RESOURCE, ("git/file:///secret",), every=True) is None
    assert names.find(Kind.TOOL, ("git/file:",), every=True) is not None


def test_a_list_of_only_exceptions_is_an_error() -> None:
    _, wrong = read_lines(lines("!git/git_status"))
    assert [str(error) for _, error in wrong] == ["a list of only `!` names nothing"]


def test_the_line_that_is_named_is_the_exact_one_else_the_first() -> None:
    names, _ = read_lines(lines("git/*", "git/git_*", "git/git_log"))
    exact, first = (names.find(Kind.TOOL, (name,), every=True) for name in ("git/git_log", "git/git_show"))
    assert exact is not None
    assert first is not None
    assert (exact.where, first.where) == ("a.yaml:3", "a.yaml:1")


URIS = [
    ("file:///etc/passwd", "file:///etc/passwd"),
    ("FILE:///etc/passwd", "file:///etc/passwd"),
    ("file:/etc/passwd", "file:///etc/passwd"),
    ("file://localhost/etc/passwd", "file:///etc/passwd"),
    ("file:///etc//passwd", "file:///etc/passwd"),
    ("file:////etc/passwd", "file:///etc/passwd"),
    ("file:///home/../etc/passwd", "file:///etc/passwd"),
    ("file:///home/./../etc/passwd", "file:///etc/passwd"),
    ("file:///home/%2e%2e/etc/passwd", "file:///etc/passwd"),
    ("file:///home/%2E./etc/passwd", "file:///etc/passwd"),
    ("file:///../../../etc/passwd", "file:///etc/passwd"),
    ("file:///%65tc/passwd", "file:///etc/passwd"),
    ("https://Example.COM:443/a", "https://example.com/a"),
    ("https://example.com./a", "https://example.com/a"),
    ("http://example.com:8080/a", "http://example.com:8080/a"),
    ("docs://é", "docs://%C3%A9"),
    ("docs://a%c3%a9", "docs://a%C3%A9"),
    ("docs://README/Ä", "docs://README/%C3%84"),
    ("https://%c3%a9.com/", "https://%C3%A9.com/"),
    ("mailto:eve@example.com", "mailto:eve@example.com"),
    ("file:///{path}", "file:///{path}"),
]


@pytest.mark.parametrize(("uri", "normal"), URIS)
def test_a_uri_is_compared_in_its_normal_form(uri: str, normal: str) -> None:
    assert readings(uri)[0] == normal


@pytest.mark.parametrize(
    "uri",
    [
        "file:///home/..%2F..%2Fetc/passwd",
        "file:///home/%252e%252e/etc/passwd",
        "file:///home/%25252e%25252e/x",
        "file:///home/..%5c..%5cetc",
        "file:///home\\..\\etc",
        "file:///etc/passwd%00.txt",
        "file:///etc/\npasswd",
        " file:///etc/passwd",
        "file:///etc/passwd ",
        "file:///%zz",
        "file:///%ff",
        "docs:a/../b",
        "%2e%2e/etc",
        "",
        "file:///a%2525252525252525252525252541",
        "https://evil.example\uff0f.good.example/",
    ],
)
def test_a_uri_that_hides_something_is_no_clear_name(uri: str) -> None:
    assert readings(uri) == ()


def test_a_uri_with_escapes_is_also_read_without_them() -> None:
    assert "file:///etc/passwd" in readings("file:///%2Fetc%2Fpasswd")
    assert "docs://é" in readings("docs://%C3%A9")
    assert "docs://a" in readings("docs://a#section")
    assert "file:///a" in readings("file:///a?x#y")


@pytest.mark.parametrize(
    ("pattern", "uri"),
    [
        ("https://*.good.example/**", "https://evil.example?x.good.example/"),
        ("https://*.good.example/**", "https://evil.example%3Fx.good.example/"),
        ("http://localhost:*/**", "http://localhost:1@evil.example/"),
    ],
)
def test_an_allow_is_not_passed_by_a_host_that_stands_elsewhere(pattern: str, uri: str) -> None:
    lists = 'agents: {bot: {allow: ["resource:web/%s"]}}' % pattern  # noqa: UP031
    policy = policy_of("providers: {web: {type: stdio, command: x}}\n" + lists)
    assert effect_of(policy, f"resource:web/{uri}") is Effect.DENY


def test_a_name_without_a_segment_has_no_names() -> None:
    assert names_of(Kind.TOOL, "git", "") == ()
    assert names_of(Kind.TOOL, "a/b", "x") == ()
    assert names_of(Kind.RESOURCE, "", "file:///x") == ()
    assert names_of(Kind.TOOL, "", "ToolSearch") == ("ToolSearch",)
