"""The user's state: which config counts, trust, running processes, remembered databases and tests."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from airlock.config import Config
from airlock.errors import StoreError, UsageError
from airlock.home import state


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "AIRLOCK_STATE_DIR": str(tmp_path / "state")}


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def config_at(path: Path) -> Config:
    return Config(file=path, digest="d", database=f"sqlite:///{path.parent}/a.db")


# Where things are


def test_the_state_directory_follows_the_environment(tmp_path: Path) -> None:
    home = str(tmp_path)
    assert state.state_path({"HOME": home}) == tmp_path / ".local/state/airlock"
    assert state.state_path({"HOME": home, "XDG_STATE_HOME": "/x"}) == Path("/x/airlock")
    assert state.state_path({"HOME": home, "XDG_STATE_HOME": "relative"}) == tmp_path / ".local/state/airlock"
    assert state.state_path({"HOME": home, "AIRLOCK_STATE_DIR": "/y"}) == Path("/y")
    assert state.state_path({"HOME": home, "AIRLOCK_STATE_DIR": "~/z"}) == tmp_path / "z"
    assert not (tmp_path / ".local").exists()


def test_the_state_directory_is_made_for_this_user_alone(env: dict[str, str]) -> None:
    assert mode_of(state.state_dir(env)) == 0o700


def test_a_state_directory_in_which_others_can_write_is_refused(env: dict[str, str]) -> None:
    state.state_dir(env).chmod(0o777)
    with pytest.raises(StoreError, match="others can write"):
        state.state_dir(env)


def test_a_state_directory_of_somebody_else_is_refused(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state.state_dir(env)
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    with pytest.raises(StoreError, match="belongs to another user"):
        state.state_dir(env)


def test_a_state_directory_that_is_a_file_is_refused_in_one_line(env: dict[str, str]) -> None:
    Path(env["AIRLOCK_STATE_DIR"]).write_text("")
    with pytest.raises(StoreError, match="cannot be used: file exists"):
        state.state_dir(env)


def test_the_config_that_counts(tmp_path: Path, env: dict[str, str]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(UsageError, match="airlock init"):
        state.locate(None, env, work)
    own = state.config_path(env)
    own.parent.mkdir(parents=True)
    own.write_text("agents: {}")
    assert state.locate(None, env, work) == state.Located(path=own, found=False)
    (work / "airlock.yaml").write_text("agents: {}")
    assert state.locate(None, env, work) == state.Located(path=work / "airlock.yaml", found=True)
    named = {**env, "AIRLOCK_CONFIG": "~/other.yaml"}
    assert state.locate(None, named, work) == state.Located(path=tmp_path / "home/other.yaml", found=False)
    assert state.locate(Path("x.yaml"), named, work) == state.Located(path=work / "x.yaml", found=False)


def test_the_users_own_config_is_not_merely_found_when_they_stand_beside_it(env: dict[str, str]) -> None:
    own = state.config_path(env)
    own.parent.mkdir(parents=True)
    own.write_text("agents: {}")
    assert state.locate(None, env, own.parent) == state.Located(path=own, found=False)


# Trust


def test_trust_holds_for_exactly_the_text_that_was_trusted(tmp_path: Path, env: dict[str, str]) -> None:
    path = tmp_path / "airlock.yaml"
    path.write_text("agents: {a: {}}\n")
    assert not state.trusted(path, env=env)
    state.trust(path, env)
    assert state.trusted(path, env=env)
    path.write_text("agents: {a: {allow: ['**']}}\n")
    assert not state.trusted(path, env=env)
    path.write_text("agents: {a: {}}\n")
    assert state.trusted(path, env=env)


def test_trust_belongs_to_a_path_and_follows_links_to_it(tmp_path: Path, env: dict[str, str]) -> None:
    path, other, link = tmp_path / "airlock.yaml", tmp_path / "other.yaml", tmp_path / "link.yaml"
    path.write_text("agents: {}")
    other.write_text("agents: {}")
    link.symlink_to(path)
    state.trust(path, env)
    assert state.trusted(link, env=env)
    assert not state.trusted(other, env=env)


def test_trust_covers_the_env_file_that_can_name_programs(tmp_path: Path, env: dict[str, str]) -> None:
    path, variables = tmp_path / "airlock.yaml", tmp_path / "vars"
    path.write_text('env_file: vars\nproviders: {p: {command: "${PROGRAM}"}}')
    variables.write_text("PROGRAM=good\n")
    state.trust(path, env)
    variables.write_text("PROGRAM=evil\n")
    assert not state.trusted(path, env=env)
    variables.unlink()
    assert not state.trusted(path, env=env)


def test_trust_can_be_asked_for_the_text_that_was_loaded(tmp_path: Path, env: dict[str, str]) -> None:
    import hashlib

    path = tmp_path / "airlock.yaml"
    path.write_text("agents: {}")
    state.trust(path, env)
    assert state.trusted(path, hashlib.sha256(b"agents: {}").hexdigest(), env)
    assert not state.trusted(path, hashlib.sha256(b"something loaded before").hexdigest(), env)


def test_the_difference_to_what_was_trusted_can_be_shown(tmp_path: Path, env: dict[str, str]) -> None:
    path = tmp_path / "airlock.yaml"
    path.write_text("a: 1\nb: 2\n")
    assert "+a: 1" in state.difference(path, env)
    state.trust(path, env)
    assert state.trusted_text(path, env) == "a: 1\nb: 2\n"
    path.write_text("a: 1\nb: 3\n")
    lines = state.difference(path, env).splitlines()
    assert "-b: 2" in lines
    assert "+b: 3" in lines
    assert "-a: 1" not in lines


def test_a_missing_config_is_not_trusted(tmp_path: Path, env: dict[str, str]) -> None:
    path = tmp_path / "airlock.yaml"
    path.write_text("agents: {}")
    state.trust(path, env)
    path.unlink()
    assert not state.trusted(path, env=env)


def test_rubbish_in_the_trust_folder_trusts_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    path = tmp_path / "airlock.yaml"
    path.write_text("agents: {}")
    state.trust(path, env)
    [record] = (Path(env["AIRLOCK_STATE_DIR"]) / "trust").iterdir()
    for text in ("", "[]", "{", '{"path": "/elsewhere"}', "null"):
        record.write_text(text)
        assert not state.trusted(path, env=env)


def test_records_are_private_and_links_are_not_followed(tmp_path: Path, env: dict[str, str]) -> None:
    path = tmp_path / "airlock.yaml"
    path.write_text("agents: {}")
    state.trust(path, env)
    [record] = (Path(env["AIRLOCK_STATE_DIR"]) / "trust").iterdir()
    assert mode_of(record) == 0o600
    good = record.read_text()
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(good)
    record.unlink()
    record.symlink_to(elsewhere)
    assert not state.trusted(path, env=env)
    state.trust(path, env)
    assert not record.is_symlink()
    assert elsewhere.read_text() == good
    assert state.trusted(path, env=env)


# Processes and databases


def test_a_registered_process_is_found_until_it_ends(tmp_path: Path, env: dict[str, str]) -> None:
    config = config_at(tmp_path / "airlock.yaml")
    with state.registered_process(config, road="stdio", agent="a", env=env) as mine:
        assert state.registered(env) == [mine]
        assert (mine.pid, mine.road, mine.agent, mine.database) == (
            os.getpid(),
            "stdio",
            "a",
            config.database,
        )
        [record] = (Path(env["AIRLOCK_STATE_DIR"]) / "processes").iterdir()
        assert mode_of(record) == 0o600
    assert state.registered(env) == []


CHILD = """
import sys
from pathlib import Path
from airlock.home import state
from airlock.config import Config
config = Config(file=Path(sys.argv[1]), digest="", database="sqlite:////x.db")
with state.registered_process(config, road="stdio"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_process_that_was_killed_is_not_found_and_tidied(tmp_path: Path, env: dict[str, str]) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "c.yaml")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert [one.pid for one in state.registered(env)] == [child.pid]
    finally:
        child.kill()
        child.communicate(timeout=60)
    folder = Path(env["AIRLOCK_STATE_DIR"]) / "processes"
    assert len(list(folder.iterdir())) == 1
    assert state.registered(env) == []
    assert list(folder.iterdir()) == []


def test_rubbish_and_links_among_the_processes_are_passed_over(tmp_path: Path, env: dict[str, str]) -> None:
    with state.registered_process(config_at(tmp_path / "c"), road="gateway", env=env) as mine:
        folder = Path(env["AIRLOCK_STATE_DIR"]) / "processes"
        victim = tmp_path / "victim"
        victim.write_text("kept")
        (folder / "9-link.json").symlink_to(victim)
        os.mkfifo(folder / "9-pipe.json")
        (folder / "9-folder.json").mkdir()
        (folder / "notes.txt").write_text("x")
        assert state.registered(env) == [mine]
        assert victim.read_text() == "kept"


def test_databases_are_remembered_when_nobody_runs_any_more(tmp_path: Path, env: dict[str, str]) -> None:
    first, second = config_at(tmp_path / "1.yaml"), config_at(tmp_path / "2.yaml")
    for config in (first, second, first):
        with state.registered_process(config, road="stdio", env=env):
            pass
    found = state.databases(env)
    assert {(one.config, one.database) for one in found} == {
        (str(config.file), config.database) for config in (first, second)
    }
    [one, _] = sorted((Path(env["AIRLOCK_STATE_DIR"]) / "databases").iterdir())
    one.write_text(json.dumps({"odd": 1}))
    assert len(state.databases(env)) == 1


# Policy tests


def test_passed_policy_tests_are_remembered_for_one_digest_and_version(env: dict[str, str]) -> None:
    assert not state.passed("digest", "1.0", env)
    state.remember_passed("digest", "1.0", env)
    state.remember_passed("digest", "1.0", env)
    assert state.passed("digest", "1.0", env)
    assert not state.passed("digest", "1.1", env)
    assert not state.passed("diges", "1.0", env)
    for number in range(300):
        state.remember_passed(f"d{number}", "1.0", env)
    assert not state.passed("digest", "1.0", env)
    assert len((Path(env["AIRLOCK_STATE_DIR"]) / "passed").read_text().splitlines()) == 200


def test_what_cannot_be_written_is_an_error_in_one_line(env: dict[str, str]) -> None:
    (state.state_dir(env) / "passed").mkdir()
    with pytest.raises(StoreError, match="cannot be written: is a directory"):
        state.remember_passed("d", "1", env)
