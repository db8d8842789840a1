"""Wire names: valid for every client, stable, told apart, and never another tool's."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlock.proxy.names import Claim, name_all

VALID = re.compile(r"[A-Za-z0-9_-]{1,48}\Z")


def named(
    *claims: tuple[str, str], budget: int = 48, plain: tuple[str, ...] = ()
) -> dict[tuple[str, str], str]:
    return table(*claims, budget=budget, plain=plain)[0]


def table(
    *claims: tuple[str, str], budget: int = 48, plain: tuple[str, ...] = ()
) -> tuple[dict[tuple[str, str], str], tuple[str, ...]]:
    found = name_all(
        [Claim(provider=one, prefix="" if one in plain else one, name=name) for one, name in claims], budget
    )
    return found.wires, found.problems


def test_a_plain_name_is_provider_two_underscores_tool() -> None:
    assert named(("git", "git_commit")) == {("git", "git_commit"): "git__git_commit"}


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("a.b/c d", "p__a_b_c_d"),
        ("re\u200bad", "p__re_ad"),
        ("ｒｅａｄ", "p__read"),
        ("naïve", "p__na_ve"),
        ("with__two", "p__with__two"),
        ("_x", "p___x"),
    ],
)
def test_characters_that_clients_refuse_are_replaced(name: str, wire: str) -> None:
    assert named(("p", name)) == {("p", name): wire}


def test_names_without_a_letter_left_get_a_hash() -> None:
    wires = named(("p", "读取"), ("p", "写入"), ("p", ""))
    assert len(set(wires.values())) == 3
    assert all(re.fullmatch(r"p__[_]*_[0-9a-f]{8}", wire) for wire in wires.values())


def test_long_names_are_cut_with_a_stable_hash_within_the_budget() -> None:
    long = "x" * 200
    first = named(("p", long))["p", long]
    assert len(first) == 48
    assert first == named(("q", "other"), ("p", long), ("p", "y"))["p", long]
    assert first != named(("p", long + "y"))["p", long + "y"]
    assert named(("p", "x" * 45))["p", "x" * 45] == "p__" + "x" * 45


@pytest.mark.parametrize("pair", [("Read", "read"), ("read", "re\u200bad"), ("é", "e\u0301"), ("a.b", "a b")])
def test_names_that_look_alike_are_told_apart_whatever_the_order(pair: tuple[str, str]) -> None:
    one, other = pair
    wires = named(("p", one), ("p", other))
    assert wires == named(("p", other), ("p", one))
    assert len({wire.casefold() for wire in wires.values()}) == 2


def test_an_honest_name_is_not_moved_by_one_that_only_looks_like_it() -> None:
    wires = named(("p", "read_file"), ("p", "read.file"), ("p", "read\u200bfile"))
    assert wires["p", "read_file"] == "p__read_file"
    assert len(set(wires.values())) == 3


def test_a_server_without_prefix_cannot_take_the_name_of_another() -> None:
    wires, problems = table(("evil", "git__commit"), ("git", "commit"), plain=("evil",))
    assert wires == {("git", "commit"): "git__commit"}
    assert "`evil/git__commit` is hidden: `git` already has that name" in problems[0]


def test_without_prefix_names_pass_unchanged_and_the_first_provider_keeps_a_clash() -> None:
    odd = "any thing.at/all" + "x" * 100
    wires, problems = table(("a", odd), ("a", "read"), ("b", "read"), ("b", "own"), plain=("a", "b"))
    assert wires == {("a", odd): odd, ("a", "read"): "read", ("b", "own"): "own"}
    assert len(problems) == 1
    wires, problems = table(("a", "Read"), ("a", "read"), plain=("a",))
    assert (wires, problems) == ({("a", "Read"): "Read", ("a", "read"): "read"}, ())


def test_equal_prefixes_of_two_providers_clash_stably() -> None:
    claims = [Claim(provider="a", prefix="x", name="t"), Claim(provider="b", prefix="x", name="t")]
    wires = name_all(claims, 48).wires
    assert wires == name_all(reversed(claims), 48).wires
    assert len(set(wires.values())) == 2
    assert "x__t" not in wires.values()


def test_a_name_made_to_look_like_a_shortened_one_stays_apart() -> None:
    long = "x" * 200
    target = named(("p", long))["p", long]
    forged = target.removeprefix("p__")
    wires = named(("p", long), ("p", forged))
    assert len(set(wires.values())) == 2


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "long-provider-name"]), st.text(max_size=60)),
        max_size=12,
        unique=True,
    ),
    st.randoms(use_true_random=False),
)
def test_any_names_become_valid_different_and_independent_of_order(
    claims: list[tuple[str, str]], random: object
) -> None:
    wires = named(*claims)
    assert set(wires) == set(claims)
    assert len({wire.casefold() for wire in wires.values()}) == len(claims)
    assert all(VALID.match(wire) for wire in wires.values())
    shuffled = list(claims)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert named(*shuffled) == wires
