"""`compat: {firewall: {nlp: …}}`: the servers of models that may be asked, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlock.config import JudgeConfig, Secret
from airlock.errors import ConfigError
from airlock.loader.file import loads

FILE = Path("c.yaml")
KEY = "sk-0123456789abcdef"


def text_of(servers: str, face: str = "firewall") -> str:
    return f"compat: {{{face}: {{nlp: {{{servers}}}}}}}"


def test_servers_are_read_in_the_order_of_the_file() -> None:
    text = text_of(
        'b: {url: "https://llm.example/v1/", models: [x, y, x], api_key: "${K}", timeout: 2s, parallel: 1}, '
        'a: {url: "http://127.0.0.1:8081/v1", models: x}'
    )
    found = loads(text, FILE, {"K": KEY}).compat["firewall"].nlp
    assert list(found) == ["b", "a"]
    assert found["b"] == JudgeConfig(
        name="b",
        url="https://llm.example/v1",
        models=("x", "y"),
        api_key=Secret(KEY),
        timeout_ms=2_000,
        parallel=1,
    )
    assert found["a"] == JudgeConfig(name="a", url="http://127.0.0.1:8081/v1", models=("x",))
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ("a: {models: x}", "`url` is missing"),
        ('a: {url: "https://llm.example/v1"}', "`models` is missing"),
        ('a: {url: "http://llm.example/v1", models: x}', "must be an https URL"),
        ('a: {url: "http://10.0.0.7/v1", models: x}', "http only on loopback"),
        ('a: {url: "https://u:p@llm.example/v1", models: x}', "without user, password and query"),
        ('a: {url: "https://llm.example/v1?x=1", models: x}', "without user, password and query"),
        ('a: {url: "file:///etc/passwd", models: x}', "must be an https URL"),
        ('local: {url: "https://llm.example/v1", models: x}', "not `local`"),
        ('"a b": {url: "https://llm.example/v1", models: x}', "`a b` is not a name for it"),
        ('a: {url: "https://llm.example/v1", models: x, api_key: "0123456789abcde f"}', "a header cannot"),
        ('a: {url: "https://llm.example/v1", models: x, parallel: 0}', "must be between 1 and 64"),
        ('a: {url: "https://llm.example/v1", models: x, timeout: 1ms}', "must be at least 100 ms"),
        ('a: {url: "https://llm.example/v1", models: x, prompt: p}', "unknown key `prompt`"),
    ],
)
def test_what_cannot_be_is_said(servers: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(text_of(servers), FILE, {})
    (problem,) = caught.value.problems
    assert said in str(problem)


def test_it_is_an_option_of_this_api_alone() -> None:
    with pytest.raises(ConfigError, match="is an option of `firewall`, not of `sidclaw`"):
        loads(text_of('a: {url: "https://llm.example/v1", models: x}', "sidclaw"), FILE, {})
