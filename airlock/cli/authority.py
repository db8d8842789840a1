"""Who decides at this terminal: the local user, never an agent's shell, and with the PIN once one is set."""

from __future__ import annotations

import getpass
import os
import pwd
import sys
from collections.abc import Mapping

import click

from airlock.cli import pins
from airlock.cli.shells import agent_of
from airlock.errors import NotPermitted


def local_identity() -> str:
    """The identity of the person at this machine, as the kernel knows it: `local:USER`."""
    user = os.getuid()
    try:
        return f"local:{pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"local:{user}"


PIN_OPTION = click.option("--pin-stdin", is_flag=True, help="Read the PIN from stdin, not the terminal.")


def decider(*, pin_stdin: bool = False, environment: Mapping[str, str] | None = None) -> str:
    """The identity that may decide here; NotPermitted for an agent's shell, or without the PIN."""
    env = os.environ if environment is None else environment
    agent = agent_of(env)
    if not pins.is_set():
        if agent:
            raise NotPermitted(f"an agent's shell may not decide: this one is of {agent}")
        return local_identity()
    if pin_stdin and not agent:
        pins.check(sys.stdin.readline().rstrip("\r\n"))
    else:
        pins.check(typed("PIN: "))
    return local_identity()


NO_TERMINAL = "a PIN is set and there is no terminal to type it on"


def typed(prompt: str, otherwise: str = NO_TERMINAL) -> str:
    """What a person types, unseen, on the controlling terminal; NotPermitted where there is none."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        raise NotPermitted(otherwise) from None
    os.close(terminal)
    return getpass.getpass(f"airlock: {prompt}")


def confirmed(question: str) -> bool:
    """A yes typed on the terminal; False where there is none to ask on."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
