"""`airlock login` and `airlock logout`: the servers behind Airlock that want a person's OAuth login."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping

import click

from airlock.cli.frame import Command, here, wait_for
from airlock.cli.places import checked_config
from airlock.cli.render import complain, put, put_json
from airlock.cli.shells import agent_of
from airlock.durations import milliseconds
from airlock.errors import NotPermitted, UsageError
from airlock.visible import bounded, visible

LONGEST_MS = 3_600_000


@click.command(cls=Command, example="airlock login docs\nairlock login docs --no-browser")
@click.argument("provider")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--timeout", default="5m", metavar="TIME", help="How long to wait for the browser (5m).")
def login(provider: str, no_browser: bool, timeout: str) -> None:
    """Log in at a server behind Airlock. The browser opens, and comes back to an address on this machine."""
    from airlock import logins

    agent = agent_of(os.environ)
    if agent:
        raise NotPermitted(f"an agent's shell may not log in: this one is of {agent}")
    seconds = _seconds(timeout)
    one = logins.provider_of(checked_config(here()), provider)

    def show(address: str) -> None:
        if not no_browser and has_browser(os.environ):
            open_browser(address)
        sys.stderr.write(f"airlock: to log in at `{one.name}`, open this address:\n{visible(address)}\n")
        sys.stderr.flush()

    scope = wait_for(logins.login(one, show, seconds=seconds))
    if here().json:
        put_json({"ok": True, "provider": one.name, "scope": scope or None})
    else:
        put(f"logged in at {one.name}" + (f" for: {bounded(scope, 200)}" if scope else ""))


@click.command(cls=Command, example="airlock logout docs")
@click.argument("provider")
def logout(provider: str) -> None:
    """Forget a login, and ask the server to end it."""
    from airlock import logins

    one = logins.provider_of(checked_config(here()), provider)
    gone = wait_for(logins.logout(one))
    if here().json:
        put_json({"ok": True, "provider": one.name, "changed": gone})
    elif gone:
        put(f"logged out of {one.name}")
    else:
        complain(f"there was no login at `{one.name}`")


def _seconds(text: str) -> float:
    try:
        length = milliseconds(text)
    except ValueError as error:
        raise UsageError(f"`--timeout`: {error}") from None
    if not 0 < length <= LONGEST_MS:
        raise UsageError("`--timeout` is at most 1h")
    return length / 1000


def has_browser(env: Mapping[str, str]) -> bool:
    """True where a browser has a window: one in the terminal would take it over."""
    return sys.platform == "darwin" or any(
        env.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )


def open_browser(address: str) -> None:
    """Open it beside us: some browsers come back only when they are closed."""
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
