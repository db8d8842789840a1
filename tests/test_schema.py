"""The published schema, the example config and the reference page say what the loader does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airlock.cases import run_cases
from airlock.errors import ConfigError
from airlock.loader.file import loads
from airlock.loader.reader import plain, read
from airlock.loader.schema import json_schema
from airlock.loader.sections import SECTIONS
from airlock.policy import compile_policy

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "airlock.example.yaml"
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
ENV = {"HOME": "/h"}
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def valid(value: Any) -> bool:
    return not list(VALIDATOR.iter_errors(value))


def value_of(text: str, file: str = "f") -> Any:
    return plain(read(text, file, words=frozenset({"reload"})))


def snippets() -> Iterator[Any]:
    """Every YAML block of README and docs whose keys are those of a config."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for number, (language, text) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")), 1):
            first = re.search(r"^([a-z_]+):", text, re.MULTILINE)
            if language in {"yaml", "yml"} and first and first[1] in SECTIONS[""]:
                yield pytest.param(text, id=f"{page.relative_to(ROOT)}:{number}")


def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        found = schema.get("properties", {})
        yield from found.items()
        for inner in schema.values():
            yield from properties(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from properties(inner)


def test_the_schema_is_a_schema_and_plain_json() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_every_property_is_described() -> None:
    for name, one in properties(SCHEMA):
        assert len(one["description"]) > 10, name


def test_the_schema_has_exactly_the_keys_of_the_loader() -> None:
    assert set(SCHEMA["properties"]) == set(SECTIONS[""])
    assert set(SCHEMA["$defs"]) == set(SECTIONS) - {""}
    for name, section in SCHEMA["$defs"].items():
        mapping = section["anyOf"][1] if name == "provider" else section
        assert set(mapping["properties"]) == set(SECTIONS[name])
        assert mapping["additionalProperties"] is False


def test_the_example_is_valid_and_loads_without_a_warning() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert list(VALIDATOR.iter_errors(value_of(text))) == []
    config = loads(text, EXAMPLE, ENV)
    assert config.warnings == ()
    assert [one.name for one in config.providers.values() if one.enabled] == ["demo"]


def test_the_examples_own_tests_pass() -> None:
    config = loads(EXAMPLE.read_text(encoding="utf-8"), EXAMPLE, ENV)
    policy = compile_policy(config)
    assert policy.warnings == ()
    assert len(config.tests) > 10
    assert [result.message for result in run_cases(policy, config) if not result.passed] == []


@pytest.mark.parametrize("text", list(snippets()))
def test_a_config_in_the_docs_is_valid_and_loads(text: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(value_of(text))] == []
    env = {name: f"value-of-{name}-that-is-long" for name in re.findall(r"\$\{([A-Za-z_]\w*)", text)}
    # A block shows some sections: names that other sections define may be missing.
    found = problems_of(text, {**ENV, **env})
    assert [one for one in found if "unknown " not in one and "cannot be read" not in one] == []


def problems_of(text: str, env: dict[str, str]) -> list[str]:
    try:
        loads(text, ROOT / "docs" / "airlock.yaml", env)
    except ConfigError as error:
        return [one.message for one in error.problems]
    return []


@pytest.mark.parametrize(
    "text",
    [
        "provider: {}",
        "server: {port: x}",
        "rules: [{tool: x}]",
        "rules: [{tool: x, effect: no-way}]",
        "tests: [{agent: a}]",
        "providers: {x: demo}",
        "agents: {a: {allow: x}}",
        "approvals: {timeout: 5}",
        "reload: sometimes",
        "notify: [{}]",
    ],
)
def test_what_the_loader_refuses_the_schema_refuses_too(text: str) -> None:
    with pytest.raises(ConfigError):
        loads(text, Path("f"), ENV)
    assert not valid(value_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "agents: {a: }",
        "rules:",
        "server:",
        "reload: off",
        "reload: false",
        'server: {port: "${PORT:-1}", public_health: "${P:-true}"}',
        "providers: {x: builtin, y: {command: a, args: [1], env: {A: 1}, timeout_ms: 5}}",
        "agents: {a: {extends: claude-code-basics, patience: auto, mcp_names: x}}",
        'people: {x: {local: x}}\nrules: [{tool: "**", effect: ask, approvers: x, between: {days: mon-fri}}]',
        'rules: [{tool: "**", effect: allow, rate: 10/m}]',
        'approvals: {timeout: "${T:-5m}", provider: [{type: tui}]}',
    ],
)  # fmt: skip
def test_what_the_loader_reads_the_schema_accepts_too(text: str) -> None:
    loads(text, Path("f"), ENV)
    assert [error.message for error in VALIDATOR.iter_errors(value_of(text))] == []


@pytest.mark.parametrize(
    ("section", "key"), [(section, key) for section, keys in SECTIONS.items() for key in keys]
)
def test_every_example_of_a_key_is_valid_for_it(section: str, key: str) -> None:
    one = SECTIONS[section][key]
    value = value_of(one.example)
    assert list(value) == [key]
    schema = {"$defs": SCHEMA["$defs"], **one.shape}
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(value[key])) == []


def reference_row(key: str, section: str) -> str:
    one = SECTIONS[section][key]
    cells = [f"`{key}`", one.about, one.default or "–", f"`{one.example}`"]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


@pytest.mark.parametrize("section", list(SECTIONS))
def test_the_reference_page_has_every_key_with_meaning_default_and_example(section: str) -> None:
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8").splitlines()
    keys = [
        key
        for key in SECTIONS[section]
        if section != "agent" or SECTIONS["profile"].get(key) != SECTIONS[section][key]
    ]
    missing = [row for row in (reference_row(key, section) for key in keys) if row not in page]
    assert missing == [], "docs/config.md lacks these rows:\n" + "\n".join(missing)
