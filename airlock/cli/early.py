"""The help of `stdio` and `hook`, which `__main__` serves before the command line library is imported."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from airlock.cli.frame import Command, here


@click.command(cls=Command, tells=False, example="airlock stdio --agent claude-code --config airlock.yaml")
@click.option("--agent", required=True, metavar="NAME", help="The agent of the config whose policy applies.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error; to stderr.")
@click.option("--log-file", type=click.Path(path_type=Path), metavar="FILE", help="Log there, not to stderr.")
def stdio(agent: str, log_level: str | None, log_file: Path | None) -> int:
    """MCP server on stdin and stdout for one agent; stdout carries protocol only."""
    words = _words(("--agent", agent), ("--log-level", log_level), ("--log-file", log_file))
    return int(import_module("airlock.stdiocli").main(words))


@click.command(cls=Command, tells=False, example="airlock hook --client claude-code || exit 2")
@click.option("--client", metavar="NAME", help="Whose hook JSON is on stdin (claude-code).")
@click.option("--agent", metavar="NAME", help="The agent of the config whose policy applies.")
@click.option("--url", metavar="URL", help="Ask the gateway there; else decide on the database.")
@click.option("--timeout", metavar="TIME", help="The limit that the client gives this hook.")
@click.option("--defer", is_flag=True, help="Headless Claude Code: end the run at an asked call.")
def hook(client: str | None, agent: str | None, url: str | None, timeout: str | None, defer: bool) -> int:
    """Native hook JSON on stdin, a native decision on stdout. Ends only with 0 or 2."""
    words = _words(("--client", client), ("--agent", agent), ("--url", url), ("--timeout", timeout))
    return int(import_module("airlock.hookcli").main([*words, *(["--defer"] if defer else [])]))


def _words(*pairs: tuple[str, object]) -> list[str]:
    given = [("--config", here().config), *pairs]
    return [word for name, value in given if value is not None for word in (name, str(value))]
