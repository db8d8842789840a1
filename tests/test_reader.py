"""The strict YAML reader: what it reads, and what it refuses with a line and a cure."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airlock.errors import ConfigError
from airlock.loader import reader
from airlock.loader.reader import MAX_DEPTH, plain, read

QUOTE = '(quote a pattern that begins with `!`: "!git/git_log")'
QUOTE_STAR = '(quote a pattern that begins with `*`: "*/read_*")'


def value_of(text: str | bytes) -> Any:
    return plain(read(text, "f.yaml"))


def problems_of(text: str | bytes, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, "f.yaml", **options)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: -12", {"a": -12}),
        ("a: 0.5", {"a": 0.5}),
        ("a: 9223372036854775807", {"a": 2**63 - 1}),
        ("a: true\nb: False", {"a": True, "b": False}),
        ("a: ~\nb: null\nc:", {"a": None, "b": None, "c": None}),
        ('a: "on"\nb: \'0123\'\nc: "13:13"', {"a": "on", "b": "0123", "c": "13:13"}),
        (
            "a: 1.2.3\nb: 10/1m\nc: 127.0.0.1\nd: 5m\ne: -x\nf: ./x",
            {"a": "1.2.3", "b": "10/1m", "c": "127.0.0.1", "d": "5m", "e": "-x", "f": "./x"},
        ),
        ("a: y\nb: n\nc: online", {"a": "y", "b": "n", "c": "online"}),
        ("a: [x, {b: c}]", {"a": ["x", {"b": "c"}]}),
        ("a: >\n  one\n  two\nb: |\n  on\n", {"a": "one two\n", "b": "on\n"}),
        ("base: &x [1, 2]\nagain: *x", {"base": [1, 2], "again": [1, 2]}),
        ("\ufeffa: 1", {"a": 1}),
        ("# only a comment", None),
        ("", None),
        ("'1': x", {"1": "x"}),
        ("http://x: y", {"http://x": "y"}),
    ],
)
def test_plain_yaml_becomes_plain_values(text: str, value: Any) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize("word", ["on", "Off", "YES", "no"])
def test_switch_words_of_yaml_1_1_are_refused_with_a_cure(word: str) -> None:
    cure = "(quote it if it is text, else write true or false)"
    assert problems_of(f"a: 1\nb: {word}") == [f"f.yaml:2: `{word}` is a boolean to some YAML readers {cure}"]


@pytest.mark.parametrize(
    "word",
    [
        "13:13",
        "1:2:3",
        "0123",
        "-012",
        "00",
        "1_000",
        "0x1F",
        "0o17",
        "0b11",
        "2026-01-02",
        "2026-01-02T10:00:00Z",
        "1e3",
        "1.5e3",
        "1.",
        ".5",
        "+5",
        "-0",
        ".inf",
        "-.INF",
        ".nan",
        "190:20:30.15",
    ],
)
def test_numbers_and_dates_that_readers_disagree_on_are_refused(word: str) -> None:
    [problem] = problems_of(f"b: {word}")
    assert problem.startswith(f"f.yaml:1: `{word}` ")
    assert "quote it" in problem


@pytest.mark.parametrize(
    "number", ["9223372036854775808", "-9223372036854775809", "1" * 5000, "0.1234567890123456789"]
)
def test_numbers_that_cannot_be_kept_are_refused(number: str) -> None:
    [problem] = problems_of(f"a: {number}")
    assert "quote it if it is text" in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: duplicate key `a` (first at line 1)"),
        ("x:\n  a: 1\n  'a': 2", "f.yaml:3: duplicate key `a` (first at line 2)"),
        ("x: {a: 1, a: 2}", "f.yaml:1: duplicate key `a` (first at line 1)"),
        ("1: x", "f.yaml:1: key `1` must be text (quote it)"),
        ("true: x", "f.yaml:1: key `true` must be text (quote it)"),
        ("~: x", "f.yaml:1: key `~` must be text (quote it)"),
        ("? [a]\n: b", "f.yaml:1: a key must be text, not a list, a mapping or an alias"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "f.yaml:3: merge keys are not read (use a profile with `extends`)"),
        ("a: !!str 1", f"f.yaml:1: tag `str` is not read {QUOTE}"),
        (
            "a: [git/*, !git/log]",
            f"f.yaml:1: not YAML: did not find expected whitespace or line break {QUOTE}",
        ),
        (
            "a: !!python/object/apply:os.system [x]",
            f"f.yaml:1: tag `python/object/apply:os.system` is not read {QUOTE}",
        ),
        ("a: !git/log", f"f.yaml:1: tag `!git/log` is not read {QUOTE}"),
        (
            "a: [*/read_*]",
            f"f.yaml:1: not YAML: did not find expected alphabetic or numeric character {QUOTE_STAR}",
        ),
        ("a: 1\n--- \nb: 2", "f.yaml:2: a second document: one is read"),
        ("a: &x [*x]", "f.yaml:1: alias `*x` stands inside itself or before its anchor"),
        ("a: *x", "f.yaml:1: alias `*x` stands inside itself or before its anchor"),
        (b"a: 1\nb: \xff", "f.yaml:2: not valid UTF-8: save the file in that encoding"),
    ],
)
def test_ambiguous_yaml_is_refused_with_its_line(text: str | bytes, expected: str) -> None:
    assert problems_of(text) == [expected]


@pytest.mark.parametrize(
    "text", ["a: [", "a: b: c", "\ta: b", "a: 'x", "- a\nb: c", "a: \x00", "%YAML 3.0\n---\na", "a: \ud800"]
)
def test_broken_yaml_names_a_line(text: str) -> None:
    [problem] = problems_of(text)
    assert "not YAML" in problem


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    found = problems_of("a: on\nb: 0123\na: 13:13\nc: !x y\n")
    assert [problem.split(":")[1] for problem in found] == ["1", "2", "3", "3", "4"]


def test_an_alias_bomb_ends_at_the_limit_and_not_in_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    [problem] = problems_of("\n".join(lines))
    assert "aliases counted in full" in problem


def test_deep_nesting_ends_at_the_limit() -> None:
    assert "nested deeper" in problems_of("[" * 100_000)[0]
    assert "nested deeper" in problems_of("{a: " * 100_000)[0]
    assert "nested deeper" in problems_of("- " * (MAX_DEPTH + 5))[0]
    assert value_of("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_a_huge_file_is_refused_unread() -> None:
    assert problems_of(b"a: " + b"x" * reader.MAX_BYTES) == ["f.yaml:1: larger than 4 MiB"]


def test_a_word_may_be_allowed_at_one_top_level_key() -> None:
    words = frozenset({"reload"})
    assert plain(read("reload: off", "f", words=words)) == {"reload": "off"}
    assert problems_of("args: {reload: off}", words=words)
    assert problems_of("other: off", words=words)


def test_lines_point_at_keys_and_items() -> None:
    root = read("a:\n  - one\n  - b: 2\n    c:\n      d: 3\n", "f")
    items = root.value["a"].value
    assert (root.keys, root.value["a"].line, items[0].line, items[1].line) == ({"a": 1}, 1, 2, 3)
    assert items[1].value["c"].line == 4


def test_control_characters_of_the_file_do_not_reach_a_terminal() -> None:
    [problem] = problems_of('"\\e[31m": 1\n"\\e[31m": 2')
    assert "\x1b" not in problem
    assert "⟨U+001B⟩[31m" in problem


def test_the_python_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: {b: [1, 'x', on]}\na: 0123\nc: !t x\n"
    native = problems_of(text)
    monkeypatch.setattr(reader, "_LOADER", yaml.SafeLoader)
    assert problems_of(text) == native
    assert value_of("a: [1, {b: c}]") == {"a": [1, {"b": "c"}]}


@given(st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"# \n\t?,%@0123") | st.binary())
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    try:
        read(text, "f.yaml")
    except ConfigError as error:
        assert error.problems  # noqa: PT017 (either way out is right)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]))
KEYS = st.text("abc-_", min_size=1)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(JSONS)
def test_json_is_read_as_it_is(value: Any) -> None:
    assert plain(read(json.dumps(value, ensure_ascii=False), "f")) == value
