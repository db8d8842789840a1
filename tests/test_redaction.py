"""Secrets are masked by the words of field names, before anything else sees them."""

from __future__ import annotations

import pytest

from airlock.config import DEFAULT_REDACT
from airlock.redaction import Redactor

REDACTOR = Redactor(DEFAULT_REDACT, b"k" * 32)


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "db_password", "dbPassword", "api_key", "apiKey", "API_KEY", "X-Api-Key", "key",
     "access.token", "accessToken", "Authorization", "client secret", "HTTPAuthorization"],
)  # fmt: skip
def test_a_field_with_a_secret_word_is_masked(name: str) -> None:
    assert REDACTOR.redact({name: "hunter2-hunter2"})[name].startswith("‹string, 15 chars, ")


@pytest.mark.parametrize(
    "name", ["max_tokens", "maxTokens", "primary_key", "primaryKey", "monkey", "keyboard", "tokenizer",
             "secretary", "passwordless", "author", "key_count"]
)  # fmt: skip
def test_a_field_that_only_looks_like_one_stays(name: str) -> None:
    assert REDACTOR.redact({name: "plain"}) == {name: "plain"}


def test_masks_reach_every_depth_and_every_type() -> None:
    redacted = REDACTOR.redact(
        {"a": [{"token": "t" * 9}, {"b": {"secret": {"x": 1}}}], "key": [1, 2], "password": 7, "token": True}
    )
    assert redacted["a"][0]["token"].startswith("‹string, 9 chars, ")
    assert redacted["a"][1]["b"]["secret"].startswith("‹object, 1 items, ")
    assert redacted["key"].startswith("‹list, 2 items, ")
    assert redacted["password"].startswith("‹number, ")
    assert redacted["token"].startswith("‹boolean, ")


def test_equal_secrets_have_equal_masks_and_others_differ() -> None:
    assert REDACTOR.mask("one") == REDACTOR.mask("one") != REDACTOR.mask("two")
    assert REDACTOR.mask("one") != Redactor(DEFAULT_REDACT, b"x" * 32).mask("one")


def test_an_empty_secret_stays_empty_so_that_people_see_it() -> None:
    assert REDACTOR.redact({"password": "", "token": None}) == {"password": "", "token": None}


def test_paths_of_a_rule_are_masked_as_well() -> None:
    redacted = REDACTOR.redact(
        {"to": "eve", "rows": [{"iban": "X", "n": 1}], "tags": ["a", "b"]},
        frozenset({"to", "rows[*].iban", "tags[*]"}),
    )
    assert redacted["to"].startswith("‹string, 3")
    assert redacted["rows"][0]["iban"].startswith("‹string, 1")
    assert redacted["rows"][0]["n"] == 1
    assert all(tag.startswith("‹string") for tag in redacted["tags"])


def test_redaction_never_changes_the_arguments_themselves() -> None:
    arguments = {"password": "x", "inner": {"token": "y"}}
    REDACTOR.redact(arguments)
    assert arguments == {"password": "x", "inner": {"token": "y"}}


def test_a_flood_of_names_does_not_grow_the_memory_of_them() -> None:
    redactor = Redactor(DEFAULT_REDACT, b"k" * 32)
    for number in range(10_000):
        redactor.secret(f"name{number}")
    assert len(redactor._known) <= 4096
