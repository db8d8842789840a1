"""`airlock hook` as a client runs it: a process, a payload on stdin, nothing that could pass for consent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlock import hookcli, hookwire
from airlock.hooks.claude_code import QUIET
from tests.support.gateways import SECRET, Gateway, Later, open_gateway

POLICY = f"""
server: {{api_secret: {SECRET}}}
approvals: {{timeout: 10m}}
agents:
  claude-code: {{allow: ["bash/ls"], ask: ["bash/git"], deny: ["bash/rm"]}}
  ci: {{allow: ["deploy/staging"]}}
"""
BOUND = 60


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("hookcli"), POLICY) as running:
        yield running


def claude(command: str, **more: Any) -> bytes:
    payload = {
        "session_id": "s",
        "cwd": "/srv",
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "tool_input": {"command": command},
        "tool_use_id": "toolu_1",
        **more,
    }
    return json.dumps(payload).encode()


def hook(
    payload: bytes, *words: str, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRLOCK_")}
    return subprocess.run(
        [sys.executable, "-m", "airlock", "hook", *words],
        input=payload,
        capture_output=True,
        timeout=BOUND,
        cwd=cwd,
        env={**clean, **env},
        check=False,
    )


def verdict(done: subprocess.CompletedProcess[bytes]) -> str:
    """What a client makes of it: exit 2 blocks, exit 0 says what stands on stdout."""
    if done.returncode == 2:
        assert done.stdout == b""
        assert done.stderr.startswith(b"airlock: ")
        assert done.stderr.count(b"\n") == 1
        return "blocked"
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    output = said.get("hookSpecificOutput", said)
    return str(output.get("permissionDecision", output.get("decision", "silent")))


def through(gateway: Gateway, payload: bytes, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    env = {"AIRLOCK_API_SECRET": SECRET, **env}
    return hook(payload, "--url", f"http://127.0.0.1:{gateway.port}", *words, **env)


@pytest.mark.parametrize(("command", "wanted"), [("ls", "allow"), ("rm -rf /", "deny"), ("curl x", "deny")])
def test_the_gateway_answers_through_it(gateway: Gateway, command: str, wanted: str) -> None:
    assert verdict(through(gateway, claude(command))) == wanted


def test_the_address_may_come_from_the_environment_and_end_in_the_route(gateway: Gateway) -> None:
    for address in (f"http://127.0.0.1:{gateway.port}/", f"http://localhost:{gateway.port}/hook"):
        done = hook(claude("ls"), AIRLOCK_URL=address, AIRLOCK_API_SECRET=SECRET)
        assert verdict(done) == "allow"


def test_the_token_comes_before_the_secret(gateway: Gateway) -> None:
    assert verdict(through(gateway, claude("ls"), AIRLOCK_TOKEN="wrong")) == "deny"


def test_it_waits_for_the_person(gateway: Gateway) -> None:
    held = Later(lambda: through(gateway, claude("git push"), "--timeout", "60"))
    (row,) = gateway.pending()
    gateway.post(f"/hitl/approve/{row['code']}")
    assert verdict(held.result()) == "allow"


def test_own_payloads_end_with_2_where_the_gateway_says_400_or_401(gateway: Gateway) -> None:
    good = json.dumps({"client": "ci", "tool": "deploy/staging"}).encode()
    assert verdict(through(gateway, good)) == "allow"
    assert verdict(through(gateway, b'{"client": "ci"}')) == "blocked"
    refused = through(gateway, good, AIRLOCK_TOKEN="wrong")
    assert verdict(refused) == "blocked"
    assert b"Unauthorized" in refused.stderr


@contextlib.contextmanager
def impostor(answer: bytes) -> Iterator[str]:
    """Something on a port that is no Airlock: reads a request, says this, closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(BOUND)
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.close()
        thread.join(BOUND)


ALLOW = b'{"hookSpecificOutput": {"permissionDecision": "allow"}}'


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"rubbish",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ALLOW), ALLOW),
        b"HTTP/1.1 200 OK\r\nX-Airlock: 1\r\nContent-Length: 99\r\n\r\n" + ALLOW,
        b"HTTP/1.1 200 OK\r\nX-Airlock: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nX-Airlock: 1\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nX-Airlock: 1\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 500 Oops\r\nX-Airlock: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 302 Found\r\nX-Airlock: 1\r\nLocation: /x\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\nX-Airlock: 1\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nX-Airlock: 1\r\nContent-Length: 19\r\n\r\n{"a":{},"a":{"b":1}}',
        b'HTTP/1.1 200 OK\r\nX-Airlock: 1\r\nContent-Length: 20\r\n\r\n{"a":{},"a":{"b":1}}',
    ],
)
def test_what_is_no_answer_of_an_airlock_blocks(answer: bytes) -> None:
    with impostor(answer) as address:
        assert verdict(hook(claude("ls"), "--url", address)) == "blocked"


def test_what_another_program_says_reaches_no_terminal_as_a_command() -> None:
    said = b'{"error": "\\u001b[2J\\u202etxet"}'
    with impostor(
        b"HTTP/1.1 500 X\r\nX-Airlock: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)
    ) as address:
        done = hook(claude("ls"), "--url", address)
    assert verdict(done) == "blocked"
    assert done.stderr.rstrip().endswith(b"the gateway answered 500: ?[2J?txet")


def test_a_name_that_nobody_resolves_blocks_before_the_callers_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr("_socket.getaddrinfo", lambda *_: never.wait(BOUND))
    with pytest.raises(hookwire.Unreachable, match="did not answer in time"):
        hookwire.post("http://gateway.example", {}, "", b"", seconds=1.2, limit=100)
    never.set()


def test_an_answer_in_endless_small_pieces_is_read_or_blocks_in_time() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Airlock: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    small = b"2\r\n{}\r\n" + b"1\r\n \r\n" * 2_000_000
    with impostor(head + small + b"0\r\n\r\n") as address:
        assert verdict(hook(claude("ls"), "--url", address)) == "silent"
    with impostor(head + small) as address:
        assert verdict(hook(claude("ls"), "--url", address)) == "blocked"


def test_a_gateway_that_is_down_blocks_and_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = hook(claude("ls"), "--url", f"http://127.0.0.1:{port}")
    assert verdict(done) == "blocked"
    assert b"airlock gateway" in done.stderr


def test_a_gateway_that_hangs_blocks_before_the_callers_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = hook(claude("ls"), "--url", f"http://127.0.0.1:{port}", "--timeout", "1.2")
    assert verdict(done) == "blocked"
    assert b"in time" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--nonsense"],
        ["--client"],
        ["--timeout", "soon", "--url", "http://x"],
        ["--timeout", "0", "--url", "http://x"],
        ["--url", "ftp://x"],
        ["--url", "http://"],
        ["--url", "http://a:b:c"],
        ["--url", "http://127.0.0.1:99999"],
        ["--url", "http://user@127.0.0.1:1"],
        ["--url", "http://127.0.0.1:1/\r\nX: y"],
    ],
)
def test_wrong_arguments_block(words: list[str]) -> None:
    assert verdict(hook(claude("ls"), *words)) == "blocked"


def test_a_token_cannot_break_out_of_its_header(gateway: Gateway) -> None:
    assert verdict(through(gateway, claude("ls"), AIRLOCK_TOKEN="x\r\nAuthorization: Bearer y")) == "blocked"


def test_what_is_let_go_unasked_is_no_tool_call_for_the_dialect_either() -> None:
    assert not hookcli.NO_TOOL_CALLS - QUIET
    assert "PostToolUse" not in hookcli.NO_TOOL_CALLS


@pytest.mark.parametrize("name", ["Stop", "SessionStart", "UserPromptSubmit"])
def test_an_event_about_no_tool_is_let_go_even_when_the_gateway_is_down(name: str) -> None:
    payload = json.dumps({"session_id": "s", "hook_event_name": name}).encode()
    done = hook(payload, "--url", "http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (0, b"{}\n")


def test_a_closed_stdout_is_not_mistaken_for_consent(gateway: Gateway) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "airlock", "hook", "--url", f"http://127.0.0.1:{gateway.port}"],
        input=claude("ls"),
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=BOUND,
        env={**os.environ, "AIRLOCK_API_SECRET": SECRET},
        check=False,
    )
    os.close(write)
    assert done.returncode == 2


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_it_waits_is_not_mistaken_for_consent(ending: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(BOUND)
        running = started(f"--url=http://127.0.0.1:{silent.getsockname()[1]}")
        with silent.accept()[0]:
            running.send_signal(ending)
            said, told = running.communicate(timeout=BOUND)
    assert (running.returncode, said, told) == (2, b"", b"airlock: interrupted\n")


def started(*words: str, **env: str) -> subprocess.Popen[bytes]:
    """A hook that has its payload and runs."""
    running = subprocess.Popen(
        [sys.executable, "-m", "airlock", "hook", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **env},
    )
    assert running.stdin is not None
    running.stdin.write(claude("git push"))
    running.stdin.close()
    running.stdin = None
    return running


# -- without a gateway ------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "airlock.yaml"
    path.write_text(f"database: sqlite:///{tmp_path}/airlock.db\n{POLICY}", encoding="utf-8")
    return path


def local(config: Path, payload: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    return hook(payload, "--config", str(config), *words, AIRLOCK_STATE_DIR=str(config.parent / "state"))


@pytest.mark.parametrize(("command", "wanted"), [("ls", "allow"), ("rm -rf /", "deny"), ("curl x", "deny")])
def test_without_a_gateway_it_decides_itself(config: Path, command: str, wanted: str) -> None:
    assert verdict(local(config, claude(command))) == wanted


def test_without_a_gateway_a_person_decides_in_another_process(config: Path) -> None:
    held = Later(lambda: local(config, claude("git push"), "--timeout", "60"))
    env = {**os.environ, "AIRLOCK_STATE_DIR": str(config.parent / "state")}
    airlock = [sys.executable, "-m", "airlock", "--config", str(config)]

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*airlock, *words], capture_output=True, timeout=BOUND, env=env, check=False)

    rows: list[dict[str, Any]] = []
    while not rows and not held.done:
        done = run("pending", "--json")
        rows = json.loads(done.stdout) if done.returncode == 0 else []
    assert rows[0]["tool"] == "bash/git"
    assert rows[0]["road"] == "hook"
    approved = run("approve", rows[0]["code"])
    assert approved.returncode == 0, approved.stderr
    assert verdict(held.result()) == "allow"


def test_without_a_gateway_a_signal_while_it_waits_is_a_no_and_the_question_stays(config: Path) -> None:
    state = str(config.parent / "state")
    running = started("--config", str(config), "--timeout", "60", AIRLOCK_STATE_DIR=state)
    airlock = [sys.executable, "-m", "airlock", "--config", str(config), "pending", "--json"]

    def waiting() -> list[dict[str, Any]]:
        env = {**os.environ, "AIRLOCK_STATE_DIR": state}
        done = subprocess.run(airlock, capture_output=True, timeout=BOUND, env=env, check=False)
        return list(json.loads(done.stdout)) if done.returncode == 0 else []

    while not waiting() and running.poll() is None:
        pass
    running.terminate()
    said, told = running.communicate(timeout=BOUND)
    assert (running.returncode, said, told) == (2, b"", b"airlock: interrupted\n")
    assert [one["tool"] for one in waiting()] == ["bash/git"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"tool_name": 5}',
        b'{"tool_name": "a", "tool_name": "b"}',
        b"\xff",
        b"[" * 50_000,
    ],
)
def test_a_payload_that_cannot_be_read_is_a_deny(config: Path, payload: bytes) -> None:
    assert verdict(local(config, payload)) == "deny"


def test_own_payloads_without_their_fields_block(config: Path) -> None:
    done = local(config, b'{"client": "ci"}')
    assert verdict(done) == "blocked"
    assert b"Missing required fields: client, tool" in done.stderr


def test_no_config_or_a_wrong_one_is_a_deny(tmp_path: Path) -> None:
    assert verdict(local(tmp_path / "missing.yaml", claude("ls"))) == "deny"
    wrong = tmp_path / "airlock.yaml"
    wrong.write_text("agents: [", encoding="utf-8")
    assert verdict(local(wrong, claude("ls"))) == "deny"


def test_a_config_that_was_only_found_needs_trust(config: Path) -> None:
    env = {"AIRLOCK_STATE_DIR": str(config.parent / "state"), "XDG_CONFIG_HOME": str(config.parent / "none")}
    done = hook(claude("ls"), cwd=config.parent, **env)
    assert verdict(done) == "deny"
    assert b"trust" in done.stdout
    own = hook(b'{"client": "ci", "tool": "deploy/x"}', cwd=config.parent, **env)
    assert json.loads(own.stdout)["tool"] == "deploy/x"


@pytest.mark.parametrize(
    ("command", "module", "code"),
    [("stdio", "uvloop", 1), ("hook", "airlock.hookcli", 2), ("pin", "click", 1)],
)
def test_a_library_that_is_missing_is_one_line_and_no_consent(command: str, module: str, code: int) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None; from airlock.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, command], capture_output=True, timeout=BOUND, check=False
    )
    assert done.returncode == code
    assert done.stderr == f"airlock: the library `{module}` is missing: install Airlock again\n".encode()


def test_a_database_that_cannot_be_opened_is_a_deny(config: Path) -> None:
    (config.parent / "airlock.db").mkdir()
    assert verdict(local(config, claude("ls"))) == "deny"


def test_a_fake_of_the_standard_library_in_the_working_directory_is_not_imported(
    gateway: Gateway, tmp_path: Path
) -> None:
    for name in ("json", "socket", "_json", "_socket", "time", "airlock"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(0)", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-m", "airlock", "hook", "--url", f"http://127.0.0.1:{gateway.port}"],
        input=claude("rm x"),
        capture_output=True,
        timeout=BOUND,
        cwd=tmp_path,
        env={**os.environ, "AIRLOCK_API_SECRET": SECRET},
        check=False,
    )
    assert verdict(done) == "deny"


def test_what_it_imports_on_the_way_to_a_gateway_is_little(gateway: Gateway) -> None:
    script = (
        "import sys; before = set(sys.modules); from airlock import __main__; __main__.end = int;"
        "code = __main__.main(sys.argv[1:]); print(sorted(set(sys.modules) - before), file=sys.stderr);"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, "hook", "--url", f"http://127.0.0.1:{gateway.port}"],
        input=claude("ls"),
        capture_output=True,
        timeout=BOUND,
        env={**os.environ, "AIRLOCK_API_SECRET": SECRET},
        check=False,
    )
    assert done.returncode == 0
    loaded = set(json.loads(done.stderr.decode().replace("'", '"')))
    own = {f"airlock{name}" for name in ("", ".__main__", ".hookcli", ".hookwire", ".hookjson")}
    assert loaded <= {*own, "__future__", "_socket", "_json"}


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://127.0.0.1:4111", ("127.0.0.1", 4111, "", False)),
        ("http://localhost", ("localhost", 80, "", False)),
        ("https://box.lan", ("box.lan", 443, "", True)),
        ("http://[::1]:4111/", ("::1", 4111, "", False)),
        ("http://[::1]", ("::1", 80, "", False)),
        ("https://box.lan/airlock/hook", ("box.lan", 443, "/airlock", True)),
    ],
)
def test_addresses_are_taken_apart(url: str, wanted: tuple[str, int, str, bool]) -> None:
    assert hookwire.split(url) == wanted
