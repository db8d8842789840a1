"""`airlock login` and `airlock logout`: real processes, a real authorization server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlock.cli.exits import Exit
from airlock.cli.login import has_browser
from airlock.cli.main import run
from airlock.cli.shells import agent_of
from airlock.errors import ConfigError
from airlock.loader.file import loads
from support.logins import SECONDS, Site, site, visit

SITE = 'url: "https://e.com/mcp", '
ADDRESS = re.compile(r"^(http://127\.0\.0\.1:\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as found:
        yield found


@pytest.fixture(autouse=True)
def own_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if agent_of({name: os.environ[name]})]:
        monkeypatch.delenv(name)


def config(folder: Path, place: Site, **more: Any) -> str:
    one = {"type": "http", "url": place.mcp, "oauth": True, "oauth_callback_port": 0, **more}
    path = folder / "airlock.yaml"
    path.write_text(json.dumps({"providers": {"docs": one, "demo": "builtin"}, "agents": {"a": {}}}))
    return str(path)


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "airlock", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    for row in process.stderr:
        if found := ADDRESS.match(row):
            return found[1]
    raise AssertionError("no address was printed")


def test_a_login_is_made_and_forgotten(tmp_path: Path, place: Site) -> None:
    file = config(tmp_path, place)
    process = started("login", "docs", "--no-browser", "--config", file, "--json")
    status, page = visit(address_of(process))
    out, _ = process.communicate(timeout=SECONDS)
    assert (status, process.returncode) == (200, 0)
    assert json.loads(out) == {"ok": True, "provider": "docs", "scope": "read offline_access"}
    assert "terminal" in page
    listed = subprocess.run(
        [sys.executable, "-m", "airlock", "tools", "--config", file, "--json"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "docs/who" in {row["tool"] for row in json.loads(listed.stdout)}
    assert run(["logout", "docs", "--config", file]) == Exit.DONE
    assert run(["logout", "docs", "--config", file]) == Exit.DONE
    listed = subprocess.run(
        [sys.executable, "-m", "airlock", "tools", "--config", file],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "run `airlock login docs`" in listed.stderr


def test_ctrl_c_ends_a_login_that_waits(tmp_path: Path, place: Site) -> None:
    process = started("login", "docs", "--no-browser", "--config", config(tmp_path, place))
    address_of(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == Exit.INTERRUPTED
    assert "Traceback" not in out + err


def test_a_login_that_nobody_makes_ends_in_time(
    tmp_path: Path, place: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["login", "docs", "--no-browser", "--timeout", "1s", "--config", config(tmp_path, place)]
    assert run(words) == Exit.INTERNAL
    assert "nobody logged in at `docs` within 1 s" in capsys.readouterr().err


def test_a_refusal_is_exit_four_and_shows_no_control_character(
    tmp_path: Path, place: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    place.behave(deny=True)
    process = started("login", "docs", "--no-browser", "--config", config(tmp_path, place))
    visit(address_of(process))
    _, err = process.communicate(timeout=SECONDS)
    place.behave()
    assert process.returncode == Exit.NOT_PERMITTED
    assert "was refused" in err
    assert "\x1b" not in err


def test_an_agents_shell_cannot_log_in(
    tmp_path: Path, place: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAUDECODE", "1")
    assert run(["login", "docs", "--config", config(tmp_path, place)]) == Exit.NOT_PERMITTED
    assert "agent's shell may not log in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "unknown provider `nobody`"),
        (["demo"], "set `oauth: true`"),
        (["docs", "--timeout", "soon"], "not a duration"),
        (["docs", "--timeout", "2h"], "at most 1h"),
    ],
)
def test_what_cannot_be_logged_in_at_is_named(
    tmp_path: Path, place: Site, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["login", *words, "--config", config(tmp_path, place)]) == Exit.USAGE
    assert said in capsys.readouterr().err


def test_a_browser_in_the_terminal_is_not_opened() -> None:
    assert has_browser({"DISPLAY": ":0"})
    assert has_browser({}) is (sys.platform == "darwin")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('url: "http://example.com/mcp", oauth: true', "must be https"),
        ('url: "https://e.com/mcp", client_id: a', "is part of `oauth: true`"),
        ('url: "https://e.com/mcp", oauth: true, client_secret: a', "a secret belongs to a client"),
        ('url: "https://e.com/mcp", oauth: true, headers: {authorization: x}', "what the login is for"),
        ('url: "https://e.com/mcp", client_credentials: {client_id: a, client_secret: b}', "`token_url` is"),
        (
            SITE + 'client_credentials: {token_url: "http://e.com", client_id: a, client_secret: b}',
            "must be https",
        ),
        (
            SITE
            + 'oauth: true, client_credentials: {token_url: "https://e.com", client_id: a, client_secret: b}',
            "does not go together",
        ),
        ("command: x, oauth: true", "does not belong to a provider of type `stdio`"),
    ],
)
def test_what_is_wrong_with_a_login_in_the_config_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        loads(f"providers: {{x: {{{text}}}}}", Path("f"), {"HOME": "/h"})


def test_the_config_of_a_login_is_read_and_its_secrets_do_not_print() -> None:
    text = (
        'providers: {x: {url: "https://e.com/mcp", client_credentials: '
        '{token_url: "https://e.com/t", client_id: a, client_secret: "${S}", scope: "b c"}},\n'
        ' y: {url: "http://localhost:1/mcp", oauth: true, client_id: q},\n'
        ' z: {url: "https://e.com", oauth: false}}'
    )
    found = loads(text, Path("f"), {"HOME": "/h", "S": "word"}).providers
    assert found["x"].oauth is not None
    assert found["x"].oauth.token_url == "https://e.com/t"
    assert found["x"].oauth.client_secret is not None
    assert found["x"].oauth.client_secret.reveal() == "word"
    assert "word" not in repr(found)
    assert found["y"].oauth is not None
    assert (found["y"].oauth.client_id, found["y"].oauth.callback_port) == ("q", 18432)
    assert found["z"].oauth is None
