"""Whatever the text, the splitter answers, and never with nothing."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airlock.hooks.shell import split, split_words
from airlock.hooks.shell_names import EXE
from airlock.hooks.shell_texts import blanked, texts_of

SHELLISH = st.text(st.sampled_from("gitlsrm $\"'\\`(){}[]<>|&;#=~*?!\n\t,.:/-0123é\u200b\x00\r"), max_size=40)
QUOTELESS = st.text(st.sampled_from("gitlsrm $(){}[]>|&;#=~*?!\n\t,.:/-0123"), max_size=40)
WORDS = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8), max_size=5)


@given(command=st.one_of(st.text(max_size=60), SHELLISH), cwd=st.sampled_from(["", "/w", "w"]))
@settings(max_examples=1000)
def test_any_text_comes_to_at_least_one_part_and_never_raises(command: str, cwd: str) -> None:
    parts = split(command, cwd, home="/home/me")
    assert parts
    for part in parts:
        assert part.tool.partition("/")[0] in {"bash", "file"}
        json.dumps(part.arguments)


@given(command=SHELLISH)
@settings(max_examples=300)
def test_the_same_line_always_comes_to_the_same_parts(command: str) -> None:
    assert split(command, "/w") == split(command, "/w")


@given(words=WORDS)
@settings(max_examples=500)
def test_words_that_python_quotes_come_back(words: list[str]) -> None:
    assume(not any(word.startswith("=") for word in words))  # zsh makes a path of `=name`; shlex lets it be
    (part,) = split(shlex.join(["curl", *words]), "/w")
    assert part.tool == "bash/curl"
    assert part.arguments["argv"] == ["curl", *words]


@given(words=WORDS)
@settings(max_examples=300)
def test_a_command_given_as_words_is_that_command(words: list[str]) -> None:
    assert split_words(["curl", *words], "/w")[0].arguments["argv"] == ["curl", *words]


@given(name=st.text(max_size=12))
@settings(max_examples=500)
def test_only_a_plain_name_ever_becomes_a_bash_name(name: str) -> None:
    for part in split(name, "/w"):
        bare = part.tool.removeprefix("bash/")
        assert bare in {"_complex", "_empty", "_path"} or part.tool.startswith("file/") or EXE.fullmatch(bare)


@given(before=QUOTELESS, after=QUOTELESS)
@settings(max_examples=500)
def test_a_denied_program_between_two_lines_is_always_seen(before: str, after: str) -> None:
    tools = {part.tool for part in split(f"{before}\nrm secret\n{after}", "/w")}
    assert tools & {"bash/rm", "bash/_complex"}


LONG = "a text of more than sixty-four letters, which is only carried; rm x; "
PIECES = st.sampled_from(
    ["<<'E' ", "<<E ", "<<'E''", "\nE\n", "'", '"', "\n", LONG, "\\", "$(", ")", "`", "cat ", " | ls ", "# "]
)


@given(pieces=st.lists(PIECES, min_size=3, max_size=14))
@settings(max_examples=1000, deadline=None)
def test_long_texts_lie_in_order_and_apart_and_blanking_moves_nothing(pieces: list[str]) -> None:
    line = "".join(pieces)
    texts = texts_of(line)
    assert all(one.end <= two.start for one, two in pairwise(texts))
    assert len(blanked(line, texts)) == len(line)
    assert split(line, "/w")
