"""Servers that others wrote: the Python and npm ones of the MCP project, over each transport."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from airlock.config import ProviderConfig, Secret
from airlock.proxy.link import Facing
from fixtures import npm
from support.ports import free_port
from support.upstreams import LEGACY, MODERN, call, request, running

pytestmark = [pytest.mark.anyio, pytest.mark.real]

EITHER = pytest.mark.parametrize("facing", [LEGACY, MODERN], ids=["legacy", "modern"])


def module(name: str, *args: str) -> ProviderConfig:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"`{name}` is missing: pip install -e '.[test]'")
    return ProviderConfig(name="real", type="stdio", command=sys.executable, args=("-m", name, *args))


def node_server(name: str, *args: str) -> tuple[str, ...]:
    try:
        return (*npm.server(name), *args)
    except npm.Missing as missing:
        pytest.skip(str(missing))


def node(name: str, *args: str) -> ProviderConfig:
    command, *rest = node_server(name, *args)
    return ProviderConfig(name="real", type="stdio", command=command, args=tuple(rest))


def init_repository(path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(path)], check=True, timeout=60)


@EITHER
async def test_the_git_server_answers_in_the_clients_era(facing: Facing, tmp_path: Path) -> None:
    init_repository(tmp_path)
    async with running(module("mcp_server_git", "--repository", str(tmp_path)), facing) as (upstream, _):
        assert upstream.state.era == facing.era
        listed = await request(upstream, "tools/list", {})
        assert "git_status" in [tool["name"] for tool in listed["result"]["tools"]]
        result = await call(upstream, "git_status", repo_path=str(tmp_path))
        assert "No commits yet" in result["content"][0]["text"]


@EITHER
async def test_the_time_server_answers_in_the_clients_era(facing: Facing) -> None:
    async with running(module("mcp_server_time", "--local-timezone", "UTC"), facing) as (upstream, _):
        assert upstream.state.era == facing.era
        result = await call(upstream, "get_current_time", timezone="UTC")
        assert "UTC" in result["content"][0]["text"]


@EITHER
async def test_the_filesystem_server_reads_and_is_legacy(facing: Facing, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello\n")
    async with running(node("server-filesystem", str(tmp_path)), facing) as (upstream, listener):
        assert upstream.state.era == "legacy"
        await listener.until(lambda: listener.asks)  # it wants to know the roots
        request_id, method, _ = listener.asks[0]
        assert method == "roots/list"
        roots = {"roots": [{"uri": tmp_path.as_uri()}]}
        upstream.respond(request_id, {"result": roots})
        result = await call(upstream, "read_text_file", path=str(tmp_path / "a.txt"))
        assert result["content"][0]["text"] == "hello\n"


@EITHER
async def test_the_everything_server_sends_progress(facing: Facing) -> None:
    async with running(node("server-everything", "stdio"), facing) as (upstream, _):
        await check_everything(upstream)


async def check_everything(upstream: object) -> None:
    seen: list[object] = []
    done = asyncio.get_running_loop().create_future()
    params = {"name": "trigger-long-running-operation", "arguments": {"duration": 0.3, "steps": 3}}
    upstream.request("tools/call", params, done.set_result, seen.append)  # type: ignore[attr-defined]
    async with asyncio.timeout(60):
        assert "result" in await done
    assert len(seen) >= 2
    assert (await call(upstream, "get-sum", a=2, b=3))["content"][0]["text"].endswith("5.")  # type: ignore[arg-type]


@asynccontextmanager
async def everything_at(kind: str) -> AsyncIterator[int]:
    """The everything server over HTTP, ready, on a free port."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *node_server("server-everything", kind),
        env={"PORT": str(port), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr
        async with asyncio.timeout(60):
            while b"port" not in (await process.stderr.readline()).lower():
                pass
        yield port
    finally:
        process.kill()
        await process.communicate()


@EITHER
@pytest.mark.parametrize(
    ("kind", "type_", "path"), [("streamableHttp", "http", "mcp"), ("sse", "sse", "sse")], ids=["http", "sse"]
)
async def test_the_everything_server_works_over_http_too(
    facing: Facing, kind: str, type_: str, path: str
) -> None:
    async with everything_at(kind) as port:
        provider = ProviderConfig(
            name="real",
            type=type_,  # type: ignore[arg-type]
            url=f"http://127.0.0.1:{port}/{path}",
            headers={"X-Key": Secret("v")},
        )
        async with running(provider, facing) as (upstream, listener):
            assert upstream.state.era == "legacy"
            await check_everything(upstream)
        assert listener.phases[-1] == "closed"
