"""SidClaw's published clients, unmodified, against a running gateway; people decide in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from fixtures import npm, pypi

pytestmark = pytest.mark.real

BOUND = 60
SECRET = "the-people-know-this-secret"
UPSTREAM = sys.executable.replace("/", "%2F")
CONFIG = f"""
server: {{api_secret: {SECRET}}}
compat: [sidclaw]
agents:
  mailer:
    allow: ["sidclaw/crm/read_contact", "sidclaw/lookup/lookup", "sidclaw/{UPSTREAM}/echo"]
    ask: ["sidclaw/gmail/*", "sidclaw/send/send", "sidclaw/{UPSTREAM}/write_note"]
    deny: ["sidclaw/bank/*", "sidclaw/{UPSTREAM}/delete_note"]
rules:
  - {{id: short, tool: sidclaw/gmail/hurried, effect: ask, timeout: 1s}}
"""
START = """
import asyncio, json, os, sys
from sidclaw import SidClaw, AsyncSidClaw
import sidclaw
settings = dict(api_key=os.environ["KEY"], base_url=os.environ["URL"], agent_id="mailer")
SOON = {"timeout": 30, "poll_interval": 0.05}
def say(**members): print(json.dumps(members), flush=True)
def wanted(operation, integration="gmail", **context):
    return {"operation": operation, "target_integration": integration, "resource_scope": "partners",
            "data_classification": "confidential", "context": context}
"""


class House:
    """A gateway process, and the command line of the person who decides."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "airlock.yaml"
        self.config.write_text(f"database: sqlite:///{folder}/airlock.db\n{CONFIG}", encoding="utf-8")
        self.config.chmod(0o600)
        self.env = {**os.environ, "AIRLOCK_STATE_DIR": str(folder / "state")}
        self.gateway = subprocess.Popen(
            [*self.command("gateway"), "--port", "0"], stdout=subprocess.PIPE, env=self.env, text=True
        )
        assert self.gateway.stdout is not None
        self.url = self.gateway.stdout.readline().split()[-1]
        scopes = ["--scope", "evaluate", "--scope", "traces:write"]
        self.key = self.airlock("keys", "create", "--name", "sdk", "--for", "sidclaw", *scopes).strip()
        try:
            self.python = pypi.python("sidclaw")
        except npm.Missing as missing:
            pytest.skip(str(missing))

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "airlock", "--config", str(self.config), *words]

    def airlock(self, *words: str) -> str:
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, env=self.env, timeout=BOUND, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def code(self, **arguments: Any) -> str:
        """The code under which this waits, as `airlock pending` shows it."""
        rows = json.loads(self.airlock("pending", "--json"))
        (row,) = [row for row in rows if row["args"].items() >= arguments.items()]
        return str(row["code"])

    def run(self, script: str) -> Client:
        env = {**self.env, "KEY": self.key, "URL": self.url}
        return Client([self.python, "-c", START + script], env)


class Client:
    """A program that uses the client library, and says a line of JSON whenever it has something to say."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        )
        self._watch = threading.Timer(BOUND, self.process.kill)
        self._watch.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        self.process.kill()
        self.process.communicate()

    def hears(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate(timeout=BOUND)[1])
        return dict(json.loads(line))

    def says(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("sidclaw"))
    try:
        yield made
    finally:
        made.gateway.terminate()
        made.gateway.communicate(timeout=BOUND)


def test_the_client_is_allowed_and_denied_and_tells_how_it_came_out(house: House) -> None:
    script = """
with SidClaw(**settings) as client:
    allowed = client.evaluate(wanted("read_contact", "crm"))
    client.record_outcome(allowed.trace_id, {"status": "success", "tokens_in": 12, "model": "m"})
    client.record_telemetry(allowed.trace_id, {"tokens_out": 7, "cost_estimate": 0.25})
    denied = client.evaluate(wanted("pay", "bank"))
    say(allowed=allowed.model_dump(), denied=denied.model_dump())
"""
    with house.run(script) as client:
        said = client.hears()
    assert said["allowed"]["decision"] == "allow"
    assert said["denied"]["decision"] == "deny"
    assert "sidclaw/bank/*" in said["denied"]["reason"]
    (entry,) = json.loads(house.airlock("audit", "--json", "--tool", "sidclaw/crm/read_contact"))
    assert (entry["effect"], entry["result"]) == ("allow", "success")


def test_the_client_waits_until_a_person_in_another_process_approves(house: House) -> None:
    script = """
with SidClaw(**settings) as client:
    asked = client.evaluate(wanted("send_email", to="eve"))
    say(**asked.model_dump())
    status = client.wait_for_approval(asked.approval_request_id, SOON)
    say(**status.model_dump())
    client.record_outcome(asked.trace_id, {"status": "error", "error_classification": "timeout"})
    say(done=True)
"""
    with house.run(script) as client:
        asked = client.hears()
        assert asked["decision"] == "approval_required"
        code = house.code(operation="send_email")
        house.airlock("approve", code, "--note", "fine by me")
        status = client.hears()
        assert status["id"] == asked["approval_request_id"]
        assert (status["status"], status["decision_note"]) == ("approved", "fine by me")
        assert status["approver_name"]
        assert client.hears()["done"]
    (entry,) = json.loads(house.airlock("audit", "--json", "--tool", "sidclaw/gmail/send_email"))
    assert (entry["hitl_outcome"], entry["result"]) == ("approved", "error")


def test_the_asynchronous_client_hears_a_no_with_its_reason(house: House) -> None:
    script = """
async def main():
    async with AsyncSidClaw(**settings) as client:
        asked = await client.evaluate(wanted("send_newsletter"))
        say(decision=asked.decision)
        status = await client.wait_for_approval(asked.approval_request_id, SOON)
        say(**status.model_dump())
asyncio.run(main())
"""
    with house.run(script) as client:
        assert client.hears()["decision"] == "approval_required"
        house.airlock("deny", house.code(operation="send_newsletter"), "--reason", "not to all of them")
        said = client.hears()
    assert (said["status"], said["decision_note"]) == ("denied", "not to all of them")


def test_the_client_raises_its_own_errors_for_ours(house: House) -> None:
    script = """
def raised(work):
    try:
        work()
    except Exception as error:
        return [type(error).__name__, getattr(error, "code", ""), bool(getattr(error, "request_id", None))]
with SidClaw(**settings) as client, SidClaw(**{**settings, "api_key": "ai_" + "0" * 64}) as stranger, \\
     SidClaw(**{**settings, "agent_id": "nobody"}) as nobody:
    hurried = client.evaluate(wanted("hurried"))
    say(expired=raised(lambda: client.wait_for_approval(hurried.approval_request_id, SOON)),
        late=raised(lambda: client.wait_for_approval(hurried.approval_request_id, {"timeout": 0})),
        stranger=raised(lambda: stranger.evaluate(wanted("x"))),
        nobody=raised(lambda: nobody.evaluate(wanted("x"))),
        wrong=raised(lambda: client.evaluate({**wanted("x"), "data_classification": "odd"})),
        lost=raised(lambda: client.record_outcome("0" * 32, {"status": "success"})))
"""
    with house.run(script) as client:
        said = client.hears()
    assert said == {
        "expired": ["ApprovalExpiredError", "approval_expired", False],
        "late": ["ApprovalTimeoutError", "", False],
        "stranger": ["AuthenticationError", "unauthorized", True],
        "nobody": ["APIError", "not_found", True],
        "wrong": ["APIError", "validation_error", True],
        "lost": ["APIError", "not_found", True],
    }


def test_a_tool_of_langchain_runs_once_for_each_yes(house: House) -> None:
    script = """
from langchain_core.tools import BaseTool
from langchain_sidclaw import GovernanceCallbackHandler, govern_tools
from pydantic import ConfigDict
ran = []
class Open(BaseTool):
    # govern_tool puts a method on the tool, which pydantic lets it do where extra members are allowed
    model_config = ConfigDict(extra="allow")
class Lookup(Open):
    name: str = "lookup"
    description: str = "Look somebody up."
    def _run(self, who: str) -> str:
        return "found " + who
class Send(Open):
    name: str = "send"
    description: str = "Send a text."
    def _run(self, text: str) -> str:
        ran.append(text)
        return "sent"
lookup, send = Lookup(), Send()
with SidClaw(**settings) as client:
    handler = GovernanceCallbackHandler(client=client)
    say(observed=lookup.invoke({"who": "eve"}, config={"callbacks": [handler]}))
    looking, sending = govern_tools([lookup, send], client=client, data_classification="internal")
    say(allowed=looking.invoke({"who": "bob"}))
    for _ in range(3):
        try:
            say(result=sending.invoke({"text": "hello"}), ran=len(ran))
        except sidclaw.ActionDeniedError as error:
            say(refused=error.reason, ran=len(ran))
        sys.stdin.readline()
"""
    with house.run(script) as client:
        assert client.hears() == {"observed": "found eve"}
        assert client.hears() == {"allowed": "found bob"}
        first = client.hears()
        assert first["refused"].startswith("Approval required")
        assert first["ran"] == 0
        house.airlock("approve", house.code(operation="send"))
        client.says("")
        assert client.hears() == {"result": "sent", "ran": 1}
        client.says("")
        assert client.hears()["ran"] == 1
        house.airlock("deny", house.code(operation="send"))
        client.says("")
    entries = json.loads(house.airlock("audit", "--json", "--tool", "sidclaw/lookup/lookup"))
    assert [entry["result"] for entry in entries] == ["success", "success"]


def test_the_proxy_script_lets_a_call_through_when_a_person_has_approved_it(house: House) -> None:
    env = {
        **house.env,
        "SIDCLAW_API_KEY": house.key,
        "SIDCLAW_API_URL": house.url,
        "SIDCLAW_AGENT_ID": "mailer",
        "SIDCLAW_UPSTREAM_CMD": sys.executable,
        "SIDCLAW_UPSTREAM_ARGS": "-m,airlock.demo",
    }
    script = str(Path(house.python).with_name("sidclaw-mcp-proxy"))
    note = {"name": "write_note", "arguments": {"name": "a", "text": "b"}}
    with Client([script], env) as proxy:
        info = {"name": "tester", "version": "1"}
        begin = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
        rpc(proxy, "initialize", begin)
        proxy.says(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        names = {tool["name"] for tool in rpc(proxy, "tools/list", {})["tools"]}
        assert {"echo", "write_note"} <= names
        echoed = rpc(proxy, "tools/call", {"name": "echo", "arguments": {"text": "hello"}})
        assert "hello" in text_of(echoed)
        refused = rpc(proxy, "tools/call", note)
        assert refused["isError"]
        assert text_of(refused).startswith("Approval required")
        code = house.code(operation="write_note")
        assert code not in text_of(refused)
        house.airlock("approve", code)
        done = rpc(proxy, "tools/call", note)
        assert not done.get("isError"), text_of(done)
        again = rpc(proxy, "tools/call", note)
        assert text_of(again).startswith("Approval required")
        denied = rpc(proxy, "tools/call", {"name": "delete_note", "arguments": {"name": "a"}})
        assert text_of(denied).startswith("Action denied by policy")


def rpc(proxy: Client, method: str, params: dict[str, Any]) -> dict[str, Any]:
    proxy.says(json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params}))
    while (frame := proxy.hears()).get("id") != method:
        pass
    return dict(frame["result"])


def text_of(result: dict[str, Any]) -> str:
    return " ".join(str(part.get("text", "")) for part in result["content"])


def test_the_packages_own_check_accepts_our_signature(house: House) -> None:
    got: list[tuple[dict[str, str], bytes]] = []
    came = threading.Event()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((dict(self.headers), body))
            self.send_response(200)
            self.end_headers()
            came.set()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script = """
import httpx
from sidclaw.webhooks import verify_webhook_signature
secret, url = sys.stdin.readline().strip(), sys.stdin.readline().strip()
http = httpx.Client(base_url=os.environ["URL"], headers={"Authorization": "Bearer " + secret})
made = http.post("/api/v1/webhooks", json={"url": url, "events": ["approval.requested"]}).json()
with SidClaw(**settings) as client:
    client.evaluate(wanted("send_parcel"))
say(made=True)
signature, body = sys.stdin.readline().strip(), json.loads(sys.stdin.readline())
say(good=verify_webhook_signature(body, signature, made["secret"]),
    bad=verify_webhook_signature(body + " ", signature, made["secret"]))
http.delete("/api/v1/webhooks/" + made["id"])
"""
    try:
        with house.run(script) as client:
            client.says(SECRET)
            client.says(f"http://127.0.0.1:{server.server_port}/hook")
            assert client.hears() == {"made": True}
            assert came.wait(BOUND)
            headers, body = got[0]
            client.says(headers["X-Webhook-Signature"])
            client.says(json.dumps(body.decode()))
            assert client.hears() == {"good": True, "bad": False}
    finally:
        server.shutdown()
        server.server_close()
    house.airlock("audit", "verify")
    payload = json.loads(body)
    assert payload["event"] == "approval.requested"
    assert payload["data"]["requested_operation"] == "send_parcel"
    assert headers["X-Webhook-ID"]
    assert headers["X-Webhook-Timestamp"].endswith("Z")
