"""`airlock pin`: a PIN that deciding asks for."""

from __future__ import annotations

import os
import sys

import click

from airlock.cli import pins
from airlock.cli.authority import decider, typed
from airlock.cli.frame import Group, here
from airlock.cli.render import complain, put, put_json
from airlock.cli.shells import agent_of
from airlock.errors import NotPermitted, UsageError


@click.group(cls=Group, example="airlock pin set")
def pin() -> None:
    """Ask for a PIN whenever something is decided on this machine."""


@pin.command("set", example="airlock pin set")
@click.option("--pin-stdin", is_flag=True, help="Read it from stdin: the old one first where there is one.")
def set_(pin_stdin: bool) -> None:
    """Set the PIN, or change it; a change asks for the old one."""
    _authorise(pin_stdin)
    if pin_stdin:
        new = sys.stdin.readline().rstrip("\r\n")
    else:
        new = typed("new PIN: ", "there is no terminal to type the new PIN on: use `--pin-stdin`")
        if typed("again: ") != new:
            raise UsageError("the two do not match: nothing was changed")
    pins.set_pin(new)
    if pins.movable():
        complain("`AIRLOCK_STATE_DIR` is set: the PIN is asked for only by commands that have it set too")
    _say(is_set=True, text="the PIN is set: deciding asks for it from now on")


@pin.command(example="airlock pin clear")
@click.option("--pin-stdin", is_flag=True, help="Read the PIN from stdin instead of the terminal.")
def clear(pin_stdin: bool) -> None:
    """Forget the PIN, after asking for it once more."""
    _authorise(pin_stdin)
    pins.clear()
    _say(is_set=False, text="there is no PIN any more")


def _authorise(pin_stdin: bool) -> None:
    agent = agent_of(os.environ)
    if agent:
        raise NotPermitted(f"an agent's shell may not set or clear the PIN: this one is of {agent}")
    if pins.is_set():
        decider(pin_stdin=pin_stdin)


def _say(*, is_set: bool, text: str) -> None:
    if here().json:
        put_json({"pin": is_set})
    else:
        put(text)
