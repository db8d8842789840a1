"""An authorization server with a protected MCP server, and a browser that agrees to everything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airlock.config import OAuthConfig, ProviderConfig, Secret

SERVER = Path(__file__).parents[1] / "fixtures" / "oauth_server.py"
SECONDS = 60
CLIENT, SECRET = "robot", "s3cret/ü"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Site:
    """The two servers."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self.login, self.mcp = addresses["login"], addresses["mcp"]

    def behave(self, **rules: Any) -> None:
        """Change how it behaves; what is not named is as usual."""
        with DIRECT.open(self.login + "/control", json.dumps(rules).encode(), timeout=SECONDS):
            pass

    def seen(self, what: str) -> Any:
        """What it saw of one kind."""
        with DIRECT.open(self.login + "/control", timeout=SECONDS) as answer:
            return json.load(answer)[what]

    def provider(self, name: str = "docs", **oauth: Any) -> ProviderConfig:
        """A provider that a person logs in at."""
        oauth.setdefault("callback_port", 0)
        return ProviderConfig(name=name, type="http", url=self.mcp, oauth=OAuthConfig(**oauth))

    def robot(self, name: str = "docs") -> ProviderConfig:
        """A provider that Airlock logs in at."""
        mine = {"client_id": CLIENT, "client_secret": Secret(SECRET)}
        return self.provider(name, token_url=self.login + "/token", **mine)


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Both servers in a process of their own."""
    process = subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        yield Site(json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def visit(address: str) -> tuple[int, str]:
    """What a browser does: go there, and wherever it is sent."""
    try:
        with DIRECT.open(address, timeout=SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Browser:
    """Opens what it is shown, beside us."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.visits: list[asyncio.Task[tuple[int, str]]] = []

    def __call__(self, address: str) -> None:
        self.shown.append(address)
        self.visits.append(asyncio.create_task(asyncio.to_thread(visit, address)))
