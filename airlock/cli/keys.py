"""`airlock keys`: what programs get in place of the people's secret. A key is shown once."""

from __future__ import annotations

import click

from airlock.apikeys import OWN_SCOPES, PREFIXES, ApiKey, Scope, parse_scopes
from airlock.cli.authority import PIN_OPTION, decider
from airlock.cli.frame import Frame, Group, here, wait_for
from airlock.cli.places import one_config
from airlock.cli.render import complain, put, put_json, put_table
from airlock.cli.show import local_time
from airlock.durations import milliseconds
from airlock.errors import UsageError
from airlock.ids import now_ms
from airlock.keyring import Wish, key_shape
from airlock.runtime import open_keyring


@click.group(
    cls=Group, default="list", example="airlock keys create --name hooks --scope hook --agent claude-code"
)
def keys() -> None:
    """Make, list and end API keys."""


@keys.command(example="airlock keys create --name phone --scope read --scope approvals:decide")
@click.option("--name", required=True, metavar="N", help="What it is for; people see it.")
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    metavar="S",
    help=f"One of {', '.join(OWN_SCOPES)}, or a scope of a sister API; repeat it.",
)
@click.option("--agent", default="", metavar="A", help="Bind it to this agent: then it decides nothing.")
@click.option("--rate", type=int, metavar="N", help="At most so many requests a minute.")
@click.option(
    "--for",
    "face",
    default="",
    metavar="API",
    help=f"For clients of a sister API, which look at the prefix: {', '.join(filter(None, PREFIXES))}.",
)
@click.option("--owner", default="", metavar="N", help="Who answers for it.")
@click.option("--expires", default="", metavar="T", help="How long it works, such as 30d.")
@PIN_OPTION
def create(  # noqa: PLR0917 - one parameter for each option
    name: str,
    scopes: tuple[str, ...],
    agent: str,
    rate: int | None,
    face: str,
    owner: str,
    expires: str,
    pin_stdin: bool,
) -> None:
    """Make a key. It is printed once and kept nowhere."""
    wish = Wish(
        name=name,
        scopes=parse_scopes(scopes),
        agent=agent,
        rate=rate,
        face=face,
        owner=owner,
        expires_at=_end(expires),
    )
    wait_for(_create(here(), wish, decider(pin_stdin=pin_stdin)))


def _end(length: str) -> int | None:
    try:
        return now_ms() + milliseconds(length) if length else None
    except ValueError as error:
        raise UsageError(f"--expires: {error}") from None


async def _create(frame: Frame, wish: Wish, by: str) -> None:
    from airlock.loader.file import load

    config = one_config(frame)
    wish.check(load(config.file, lenient=True).agents)
    async with open_keyring(config) as ring:
        made = await ring.create(wish, by=by, within=frozenset(Scope))
    if frame.json:
        put_json({**key_shape(made.key), "key": made.text})
        return
    complain(f"key {made.key.id} for `{made.key.name}`: this is the only time that it is shown")
    put(made.text)


@keys.command("list", example="airlock keys list --json")
def list_() -> None:
    """Every key that was made here, without its text."""
    wait_for(_list(here()))


async def _list(frame: Frame) -> None:
    async with open_keyring(one_config(frame)) as ring:
        rows = await ring.list()
    if frame.json:
        put_json([key_shape(key) for key in rows])
    elif rows:
        put_table(("id", "name", "scopes", "agent", "rate", "made", "by", "state"), map(_row, rows))
    else:
        put("no keys")


def _row(key: ApiKey) -> tuple[str, ...]:
    ended = "works" if key.works(now_ms()) else "expired"
    if key.revoked_at is not None:
        ended = f"revoked {local_time(key.revoked_at)}"
    scopes = " ".join(sorted(key.scopes))
    rate = "" if key.rate is None else f"{key.rate}/min"
    return key.id, key.name, scopes, key.agent, rate, local_time(key.created_at), key.created_by, ended


@keys.command(example="airlock keys revoke k7f3q9a2b")
@click.argument("key_id", metavar="ID")
@PIN_OPTION
def revoke(key_id: str, pin_stdin: bool) -> None:
    """End a key at once, for every process."""
    wait_for(_revoke(here(), key_id, decider(pin_stdin=pin_stdin)))


async def _revoke(frame: Frame, key_id: str, by: str) -> None:
    async with open_keyring(one_config(frame)) as ring:
        key = await ring.revoke(key_id, by=by)
    if frame.json:
        put_json({"ok": True, **key_shape(key)})
    else:
        put(f"{key.id} is revoked")
