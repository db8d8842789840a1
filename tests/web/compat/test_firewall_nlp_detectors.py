"""Personal data and secrets found without a model: what is found, what is not, what a hostile text costs."""

from __future__ import annotations

import string
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlock.web.compat.firewall.nlp.detectors import LONGEST, lines, look, masked
from airlock.web.compat.firewall.nlp.patterns import KINDS

CARD = "4111 1111 1111 1111"
FOUND = {
    "ssn 078-05-1120": ["ssn"],
    "my social security number is 078051120": ["ssn"],
    f"card {CARD}, 12/27": ["credit_card"],
    f"{CARD} 123": ["credit_card"],
    "7 4111-1111-1111-1111 2": ["credit_card"],
    "card_number: 4111111111111111": ["credit_card"],
    "378282246310005 and 5555.5555.5555.4444": ["credit_card", "credit_card"],
    "６０１１ １１１１ １１１１ １１１７": ["credit_card"],
    "٤١١١ ١١١١ ١١١١ ١١١١": ["credit_card"],
    "4111\u00a01111\u20111111\u20031111": ["credit_card"],
    "4\u200b111 11\u00ad11 1111\u2060 1111": ["credit_card"],
    "j\u200dane@exam\ufeffple.com": ["email_address"],
    "𝟜𝟙𝟙𝟙 𝟙𝟙𝟙𝟙 𝟙𝟙𝟙𝟙 𝟙𝟙𝟙𝟙": ["credit_card"],
    "IBAN DE89 3704 0044 0532 0130 00": ["iban"],
    "to gb29nwbk60161331926819 please": ["iban"],
    "BE68 5390 0754 7034 and more": ["iban"],
    "Please send $5000 to account 123456789 for John Smith": ["account_number"],
    "accountNumber: 0012-3456-78": ["account_number"],
    "routing number 021000021": ["account_number"],
    "passport no. 123456789": ["passport_number"],
    "dob: 1990-01-02": ["date_of_birth"],
    "write to jane.doe+x@example.co.uk": ["email_address"],
    "call +49 30 901820": ["phone_number"],
    "+44 20 7946 0958": ["phone_number"],
    "(415) 555-2671": ["phone_number"],
    "1-415-555-2671 x 2": ["phone_number"],
    "tel 4155552671": ["phone_number"],
    "030/901820 +1-415-555-2671": ["phone_number"],
    "firstName: Jane": ["personal_name"],
    "Dear Mrs. Smith": ["personal_name"],
    "AKIAIOSFODNN7EXAMPLE": ["aws_access_key"],
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": ["aws_secret_key"],
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n": ["private_key"],
    "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADAN\\n": ["private_key"],
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl": ["jwt"],
    "Authorization: Bearer abcdef0123456789abcdef": ["bearer_token"],
    "postgres://app:s3cr3t@db/prod": ["url_password"],
    'password: "hunter2hunter2"': ["password"],
    "client_secret=9f8a7b6c5d4e": ["password"],
    "token: 9f8a7b6c5d4e3f2a": ["password"],
    **{
        f"use {key}": ["api_key"]
        for key in (
            "ghp_" + "a1" * 18,
            "github_pat_" + "a1" * 15,
            "glpat-" + "a1" * 10,
            "xoxb-1234567890-abcdef",
            "AIza" + "a" * 35,
            "sk_live_" + "a1" * 12,
            "sk-proj-" + "a1" * 12,
            "npm_" + "a" * 36,
            "SG." + "a" * 22 + "." + "b" * 43,
            "hf_" + "a" * 34,
            "12345678:AA" + "b" * 33,
            "alk_" + "a" * 43,
        )
    },
}
NOT_FOUND = [
    "",
    "4111 1111 1111 1112",
    "1234 5678 9012 3456",
    "order 1234567890, invoice 20240101.17",
    "at 2025-01-15 10:30:00 +0000",
    "+12025550 2025-01-15 10:30 +0000 +1 +99 12345678",
    "call 2025-01-15, tel 12",
    "1700000000 1700000000000",
    "192.168.100.200:8080 2001:db8::1 v1.20.300",
    "123e4567-e89b-12d3-a456-426614174000",
    "commit 0123456789abcdef0123456789abcdef01234567",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000",
    "078051120",
    "4155552671",
    "DE89 3704 0044 0532 0130 01",
    "the account of 2024, account manager",
    "git@github.com:acme/app.git",
    "user@localhost @handle a@b",
    "password: required",
    "password: ${DB_PASSWORD}",
    "secret: <see the vault>",
    "next_page_token: 9f8a7b6c5d4e3f2a",
    "https://example.com/a:b@c https://example.com:8443/x",
    "bearer of good news, a token of thanks",
    "public key: -----BEGIN PUBLIC KEY-----",
    "first name and last name are required",
    "skip-this-and-that-please-now sk-short",
]
HOSTILE = [
    *("1", "1 ", "1-", "a@", "a.", "a@a.", "+1 2", "(1", "1//", "eyJaaaaaaaaaa.", "é", "４", "\0", "\n"),
    *("-----BEGIN PRIVATE KEY-----", "-----BEGIN A ", "password=", "password=a1b2c3d4 ", "http://a:"),
    *("AKIA", "DE89 3704 ", "DE89", "account 1", "account 123456 ", "sk-", "aws_secret", "bearer ", "Mr. A"),
    *("4111111111111111 ", "4111111111111112 ", "+1 1 1 1 1 1 1 1 1 1 1 1 ", "415-555-2671 ", "a@b.de "),
]


@pytest.mark.parametrize(("text", "kinds"), FOUND.items(), ids=str)
def test_it_is_found(text: str, kinds: list[str]) -> None:
    seen = look(text)
    assert [one.kind for one in seen.found] == kinds
    assert seen.whole


@pytest.mark.parametrize("text", NOT_FOUND, ids=str)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert look(text).found == ()


def test_a_place_is_told_in_characters_and_never_by_its_value() -> None:
    text = f"é\u200b日𝒳 — {CARD}; mail a@example.com"
    card, mail = look(text).found
    assert text[card.start : card.end] == CARD
    assert text[mail.start : mail.end] == "a@example.com"
    assert masked(text, [card, mail]) == "é\u200b日𝒳 — [credit_card]; mail [email_address]"
    assert CARD not in repr(card)
    hidden = "a 4\u200b111 1111 1111 1111 b"
    assert masked(hidden, look(hidden).found) == "a [credit_card] b"


def test_the_gravest_kind_counts_and_each_further_one_a_little() -> None:
    assert look("nothing").score == 0
    assert look("a@example.com b@example.com").score == 0.6
    assert look("pay account 123456789\nfirst_name: John").score == 0.85
    everything = look("\n".join(sorted(FOUND, key=lambda text: "BEGIN" in text)))
    assert everything.score == 1
    assert set(everything.kinds) == {kind.name for kind in KINDS}
    assert everything.kinds[0] in {"private_key", "aws_access_key", "aws_secret_key"}


def test_an_object_is_read_as_lines_of_names_and_values() -> None:
    value = {"a": {"password": "x1", "n": [1, {"b": None}]}, "4111111111111111": True}
    assert lines(value) == "a:\npassword: x1\nn: 1\nn:\nb: None\n4111111111111111: True"
    assert look(lines({"db": {"password": "hunter2hunter2"}, CARD: 1})).kinds == ("credit_card", "password")
    assert look(lines({"card": 4111111111111111})).kinds == ("credit_card",)


def test_a_text_that_is_too_long_or_too_full_was_not_seen_whole() -> None:
    assert look("a " * (LONGEST // 2)).whole
    assert not look("a" * (LONGEST + 1)).whole
    assert not look("a@example.com " * 2_000).whole


@pytest.mark.parametrize("piece", HOSTILE, ids=repr)
def test_twice_the_text_is_twice_the_work(piece: str) -> None:
    """Counted in function calls and lines of Python, which are the same in every run."""
    small, large = (_steps((piece * size)[:size]) for size in (LONGEST // 4, LONGEST))
    assert large <= 6 * small + 2_000


def _steps(text: str) -> int:
    look("warm +1 415 555 2671 4111111111111111")
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(step)
    try:
        look(text)
    finally:
        sys.setprofile(None)
    return count


@settings(max_examples=200)
@given(
    st.text(
        alphabet=st.one_of(st.sampled_from(string.printable + "４é\u200b\ud800"), st.characters()),
        max_size=300,
    )
)
def test_any_text_is_looked_through_and_every_place_lies_in_it(text: str) -> None:
    seen = look(text)
    assert seen.whole
    ends = [0, *(end for one in seen.found for end in (one.start, one.end)), len(text)]
    assert ends == sorted(ends)
    covered = masked(text, seen.found)
    assert not any(text[one.start : one.end] in covered for one in seen.found if one.end - one.start > 20)
