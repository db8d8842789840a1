"""`airlock gateway`: the one HTTP process."""

from __future__ import annotations

import asyncio
import json

import click

from airlock.cli.frame import Command, here
from airlock.cli.render import put


@click.command(cls=Command, example="airlock gateway --port 4111")
@click.option("--host", metavar="HOST", help="The address to listen on (server.host, else 127.0.0.1).")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="The port (server.port, else 4111; 0 picks one).",
)
def gateway(host: str | None, port: int | None) -> int:
    """MCP for many agents, the REST API, hooks and live events on one port, until SIGTERM or Ctrl-C."""
    import uvloop

    from airlock.serving import serve_gateway

    tell = _tell if here().json else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve_gateway(here().config, host=host, port=port, tell=tell))


def _tell(url: str) -> None:
    put(json.dumps({"ok": True, "address": url}))
