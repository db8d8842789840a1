"""People are told, by a program, a webhook or a bell; nothing of the agent's shapes how."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.config import Config, NotifyConfig, Secret
from airlock.model import ApprovalRequest, Origin, Status
from airlock.notify import make_notifiers
from airlock.notify.bell import BellNotifier
from airlock.notify.command import CommandNotifier
from airlock.notify.news import facts, headline
from airlock.notify.webhook import ATTEMPTS, WebhookNotifier
from airlock.posting import Target, Undeliverable
from airlock.visible import visible
from support.processes import alive

NASTY = '$(touch ran); `touch ran` "quoted" \x1b[31m\n\u202e' + "x" * 5000


def request(**more: object) -> ApprovalRequest:
    fields: dict[str, object] = {
        "id": "a" * 32,
        "code": "K7QF2M",
        "fingerprint": "f",
        "agent": "claude-code",
        "identity": "agent:claude-code",
        "tool": "demo/write_note",
        "arguments": '{"name": "plan"}',
        "call_id": "c",
        "created_at": 1_800_000_000_000,
        "expires_at": 1_800_000_300_000,
        "grace_ms": 120_000,
        "origin": Origin(workspace="/ws/airlock.yaml"),
    }
    return ApprovalRequest(**{**fields, **more})  # type: ignore[arg-type]


@given(st.text(), st.text(), st.text())
def test_the_news_is_bounded_and_holds_no_control_character(agent: str, tool: str, arguments: str) -> None:
    news = facts("opened", request(agent=agent, tool=tool, arguments=arguments * 50))
    assert len(json.dumps(news)) < 40_000
    for value in news.values():
        assert visible(str(value)).replace("⟨U+27E8⟩", "⟨").replace("⟨U+27E9⟩", "⟩") == str(value)


def test_the_headline_says_who_wants_what_and_how_to_answer() -> None:
    assert headline("opened", request()) == (
        "airlock: claude-code asks to run demo/write_note — airlock approve K7QF2M"
    )
    assert "is denied" in headline("settled", request(status=Status.DENIED))


def test_the_config_says_which_notifiers_there_are() -> None:
    config = Config(
        file=Path("/x"),
        digest="",
        database="sqlite:////x",
        notify=(
            NotifyConfig(type="command", run=("true",)),
            NotifyConfig(type="webhook", url="https://example.org"),
            NotifyConfig(type="bell"),
        ),
    )
    assert [type(one) for one in make_notifiers(config)] == [CommandNotifier, WebhookNotifier, BellNotifier]


# By a program


def script(tmp_path: Path, text: str) -> NotifyConfig:
    file = tmp_path / "tell.py"
    file.write_text(text)
    return NotifyConfig(type="command", run=(sys.executable, str(file), "fixed"))


WRITES = """
import json, os, sys
seen = {"argv": sys.argv[1:], "stdin": json.load(sys.stdin), "env": dict(os.environ)}
open(os.path.join(os.path.dirname(__file__), "seen.json"), "w").write(json.dumps(seen))
print("this output is ignored")
"""


@pytest.mark.anyio
async def test_a_program_gets_the_facts_and_never_a_command_line_of_the_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRLOCK_API_SECRET", "hidden")
    notifier = CommandNotifier(script(tmp_path, WRITES))
    await notifier.opened(request(tool=NASTY, agent=NASTY, arguments=NASTY, reason=NASTY))
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["argv"] == ["fixed"]
    assert seen["stdin"]["code"] == seen["env"]["AIRLOCK_CODE"] == "K7QF2M"
    assert seen["stdin"]["event"] == "request.opened"
    assert "AIRLOCK_API_SECRET" not in seen["env"]
    assert not (tmp_path / "ran").exists()
    await notifier.settled(request(status=Status.APPROVED, decided_by="local:alice"))
    assert json.loads((tmp_path / "seen.json").read_text())["stdin"]["decided_by"] == "local:alice"


@pytest.mark.anyio
async def test_a_program_that_takes_too_long_is_ended_with_all_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'draft')!r}, 'w').write(str(child.pid))\n"
        f"os.rename({str(tmp_path / 'draft')!r}, {str(tmp_path / 'pid')!r})\n"
        "time.sleep(600)\n"
    )
    async with asyncio.timeout(120):
        for seconds in (1.5, 5.0, 25.0):  # on a busy machine it may be ended before it starts anything
            await CommandNotifier(script(tmp_path, text), seconds=seconds).opened(request())
            assert "took longer" in caplog.text
            if (tmp_path / "pid").exists():
                break
        pid = int((tmp_path / "pid").read_text())
        while alive(pid):
            await asyncio.sleep(0.02)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "run", [("/does/not/exist",), (sys.executable, "-c", "raise SystemExit(3)"), ("a\0b",)]
)
async def test_a_program_that_fails_is_logged_and_raises_nothing(
    run: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    await CommandNotifier(NotifyConfig(type="command", run=run)).opened(request())
    assert "notify:" in caplog.text


@pytest.mark.anyio
async def test_a_program_that_never_reads_its_input_harms_nothing() -> None:
    run = (sys.executable, "-c", "import os; os.close(0)")
    async with asyncio.timeout(60):
        await CommandNotifier(NotifyConfig(type="command", run=run)).opened(request(arguments="x" * 10**6))


@pytest.mark.anyio
async def test_a_program_that_has_ended_before_it_is_told_anything_harms_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = asyncio.create_subprocess_exec

    async def ended(*words: str, **more: object) -> asyncio.subprocess.Process:
        process = await usual(*words, **more)  # type: ignore[arg-type]
        assert process.stdin is not None
        while alive(process.pid):
            await asyncio.sleep(0.005)
        while not process.stdin.is_closing():
            await asyncio.sleep(0.005)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", ended)
    async with asyncio.timeout(60):
        await CommandNotifier(NotifyConfig(type="command", run=(sys.executable, "-c", ""))).opened(request())


# By a webhook


@dataclass(slots=True)
class Receiver:
    """A small HTTP server that keeps what it gets."""

    answers: list[bytes]
    port: int = 0
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (row.split(": ", 1) for row in rest)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append((first, headers, body))
        writer.write(self.answers[min(len(self.got), len(self.answers)) - 1])
        await writer.drain()
        writer.close()


def answer(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "", ""]).encode()


@asynccontextmanager
async def receiving(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(list(answers))
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()


def hook(url: str, **headers: str) -> NotifyConfig:
    return NotifyConfig(
        type="webhook",
        url=url,
        headers={name.replace("_", "-"): Secret(value) for name, value in headers.items()},
    )


@pytest.mark.anyio
async def test_a_webhook_gets_one_post_of_json_with_its_headers() -> None:
    async with receiving(answer("204 No Content")) as receiver:
        config = hook(
            f"http://127.0.0.1:{receiver.port}/in?room=1", Authorization="Bearer s3cret", Host="evil"
        )
        await WebhookNotifier(config).opened(request(tool=NASTY))
    ((first, headers, body),) = receiver.got
    assert first == "POST /in?room=1 HTTP/1.1"
    assert headers["authorization"] == "Bearer s3cret"
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert json.loads(body)["code"] == "K7QF2M"
    assert b"\x1b" not in body


@pytest.mark.anyio
async def test_a_busy_receiver_is_tried_again_a_few_times(caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(answer("503 Busy"), answer("200 OK")) as receiver:
        await WebhookNotifier(hook(f"http://127.0.0.1:{receiver.port}/"), pause=0).opened(request())
        assert len(receiver.got) == 2
    assert "not delivered" not in caplog.text
    async with receiving(answer("500 Broken")) as receiver:
        await WebhookNotifier(hook(f"http://127.0.0.1:{receiver.port}/?key=s3cret"), pause=0).opened(
            request()
        )
        assert len(receiver.got) == ATTEMPTS
    assert "it answered 500" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.anyio
async def test_a_redirect_is_not_followed_and_a_refusal_is_final(caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(answer("200 OK")) as target:
        away = answer("302 Found", f"Location: http://127.0.0.1:{target.port}/")
        async with receiving(away) as receiver:
            await WebhookNotifier(hook(f"http://127.0.0.1:{receiver.port}/"), pause=0).opened(request())
            assert len(receiver.got) == 1
        assert target.got == []
    assert "it answered 302" in caplog.text


@pytest.mark.anyio
async def test_a_receiver_that_hangs_or_speaks_rubbish_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hangs, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(60):
        await WebhookNotifier(hook(f"http://127.0.0.1:{port}/"), seconds=0.1, pause=0).opened(request())
        server.close()
        await server.wait_closed()
    async with receiving(b"SSH-2.0-OpenSSH\r\n\r\n") as receiver:
        await WebhookNotifier(hook(f"http://127.0.0.1:{receiver.port}/"), pause=0).opened(request())
    assert caplog.text.count("not delivered") == 2


@pytest.mark.anyio
async def test_a_name_that_leads_to_a_private_address_is_refused_when_it_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def leads_inside(*_: object, **__: object) -> object:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", leads_inside)
    await WebhookNotifier(hook("https://hooks.example.org/x")).opened(request())
    assert "leads to a private address" in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "http://10.0.0.1/",
        "https://user:pass@example.org/",
        "ftp://example.org/",
        "https:///x",
        "https://example.org/a b",
        "https://example.org:notaport/",
        "https://example.org/\r\nX: y",
    ],
)
def test_a_url_that_may_not_be_used_is_refused(url: str) -> None:
    with pytest.raises(Undeliverable):
        Target.of(url)


@pytest.mark.anyio
async def test_a_header_with_a_line_end_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(answer("200 OK")) as receiver:
        await WebhookNotifier(hook(f"http://127.0.0.1:{receiver.port}/", X="a\r\nY: b")).opened(request())
    assert receiver.got == []
    assert "line end" in caplog.text


@pytest.mark.anyio
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind = ["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words = [*kind, "-days", "1", "-subj", "/CN=localhost"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    made = await asyncio.create_subprocess_exec(
        "openssl",
        *words,
        *files,
        "-addext",
        "subjectAltName=DNS:localhost",
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await made.wait() == 0
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert"))
    async with receiving(answer("200 OK"), tls=server) as receiver:
        config = hook(f"https://localhost:{receiver.port}/")
        await WebhookNotifier(config, pause=0).opened(request())
        assert receiver.got == []
        assert "not delivered" in caplog.text
        await WebhookNotifier(config, tls=trusting).opened(request())
        assert len(receiver.got) == 1


# By a bell


@pytest.mark.anyio
async def test_a_bell_rings_on_the_terminal_when_a_request_opens_and_not_when_it_ends() -> None:
    ours, theirs = pty.openpty()
    try:
        bell = BellNotifier(terminal=os.ttyname(theirs))
        await bell.settled(request())
        await bell.opened(request(tool="\x1b[31m"))
        assert os.read(ours, 10) == b"\a"
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.anyio
async def test_without_a_terminal_the_bell_is_silent() -> None:
    await BellNotifier(terminal="/does/not/exist").opened(request())
