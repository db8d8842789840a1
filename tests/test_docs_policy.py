"""Every example of docs/policy.md is a config that loads, and whose own tests pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airlock.cases import run_cases
from airlock.config import HOOK_NAMESPACES
from airlock.loader.file import loads
from airlock.matching.celtext import VARIABLES
from airlock.matching.conditions import Condition, compile_condition
from airlock.model import Effect
from airlock.policy import compile_policy

PAGE = (Path(__file__).parents[1] / "docs" / "policy.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", SNIPPETS, ids=range(len(SNIPPETS)))
def test_an_example_loads_without_warnings_and_passes_its_own_tests(text: str) -> None:
    config = loads(text, Path("/srv/airlock/airlock.yaml"), env={})
    policy = compile_policy(config)
    assert [str(one) for one in (*config.warnings, *policy.warnings)] == []
    assert config.tests
    assert [one.message for one in run_cases(policy, config)] == [""] * len(config.tests)


VALUES = {"in": ["a"], "not_in": ["a"], "exists": True, "glob": "a", "regex": "^a$", "under": "."}
OPERATORS = [*VALUES, "equals", "gt", "gte", "lt", "lte", "each", "any"]


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_condition_is_explained(operator: str) -> None:
    assert re.search(rf"\b{operator}\b", PAGE)
    written = {operator: VALUES.get(operator, 1)}
    one = compile_condition("x", written, effect=Effect.ALLOW, config_folder=Path("/"))
    assert isinstance(one, Condition)


@pytest.mark.parametrize("name", sorted(VARIABLES | HOOK_NAMESPACES))
def test_every_variable_and_namespace_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE


TERMS = ["reason", "risk", "timeout", "reuse", "approvers", "quorum", "redact", "rate", "between", "mode"]


@pytest.mark.parametrize("term", TERMS)
def test_every_term_is_explained(term: str) -> None:
    assert f"`{term}" in PAGE
