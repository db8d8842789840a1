"""An agent with a shell that uses Airlock's own commands to decide for itself."""

from __future__ import annotations

import json
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from airlock.cli import pins
from airlock.cli.authority import decider
from airlock.errors import NotPermitted
from airlock.home import state
from tests.support.terminal import Terminal


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory as the system's list of users has it, which no variable can move."""
    home = tmp_path / "account"
    home.mkdir()
    known = SimpleNamespace(pw_dir=str(home), pw_name="somebody")
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: known)
    monkeypatch.setattr("airlock.cli.authority.typed", lambda _prompt: "not the pin")
    return home


@pytest.mark.parametrize("variable", ["AIRLOCK_STATE_DIR", "XDG_STATE_HOME", "HOME"])
def test_no_variable_leads_around_the_pin(
    variable: str, account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRLOCK_STATE_DIR")
    monkeypatch.setenv("HOME", str(account))
    pins.set_pin("2468")
    monkeypatch.setenv(variable, str(tmp_path / "empty"))
    assert pins.is_set()
    with pytest.raises(NotPermitted, match="wrong"):
        decider(environment={})


def test_a_pin_of_ones_own_making_does_not_count_beside_the_real_one(
    account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRLOCK_STATE_DIR", str(tmp_path / "mine"))
    pins.set_pin("1111")
    assert pins.movable()
    monkeypatch.delenv("AIRLOCK_STATE_DIR")
    pins.set_pin("2468")
    monkeypatch.setenv("AIRLOCK_STATE_DIR", str(tmp_path / "mine"))
    assert not pins.movable()
    with pytest.raises(NotPermitted):
        pins.check("1111")
    pins.check("2468")
    pins.clear()
    assert not pins.is_set()


def test_each_lock_of_the_pin_lasts_longer_than_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    pins.set_pin("2468")
    lasted: list[float] = []
    for _ in range(10):
        for _ in range(pins.TRIES):
            with pytest.raises(NotPermitted, match="wrong"):
                pins.check("0000")
        lasted.append(json.loads(pins.place().read_text())["locked_until"] - now)
        now += lasted[-1] + 1
    assert lasted[:3] == [60, 120, 240]
    assert lasted[-1] == pins.LONGEST_LOCK


@pytest.mark.anyio
async def test_init_does_not_trust_its_own_writing_where_a_pin_is_set(terminal: Terminal) -> None:
    """An agent that controls `.mcp.json` would choose which programs the trusted config starts."""
    pins.set_pin("2468")
    written = terminal.config.with_name("fresh.yaml")
    ended = await terminal.run("--config", str(written), "init", "--yes", "--no-start")
    assert ended.code == 0
    assert written.exists()
    assert not state.trusted(written)
    assert "airlock trust" in ended.err
