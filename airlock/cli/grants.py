"""`airlock grants`: the standing yeses, and how to end them."""

from __future__ import annotations

import click

from airlock.cli.authority import PIN_OPTION, decider
from airlock.cli.frame import Frame, Group, here, wait_for
from airlock.cli.places import open_places
from airlock.cli.render import put, put_json, put_table
from airlock.cli.show import local_time, span_of
from airlock.errors import NoSuchRequest
from airlock.ids import now_ms
from airlock.model import Grant
from airlock.views import grant_shape


@click.group(cls=Group, default="list", example="airlock grants\nairlock grants revoke 5f2c91aa")
def grants() -> None:
    """List the standing grants, or revoke one."""


@grants.command("list", example="airlock grants list --json")
@click.option("--agent", default="", metavar="NAME", help="Only this agent's.")
def list_(agent: str) -> None:
    """Every grant that still stands: what it covers and when it ends."""
    wait_for(_list(here(), agent))


async def _list(frame: Frame, agent: str) -> None:
    async with open_places(frame) as places:
        found = [one for runtime in await places.runtimes() for one in await runtime.gate.grants()]
    rows = [one for one in found if agent in {"", one.agent}]
    if frame.json:
        put_json([grant_shape(one) for one in rows])
    elif rows:
        put_table(("id", "agent", "tool", "covers", "ends", "given by", "workspace"), map(_row, rows))
    else:
        put("no grants")


def _row(grant: Grant) -> tuple[str, ...]:
    covers = "any arguments" if grant.any_args else "the same call"
    ends = f"{local_time(grant.expires_at)} (in {span_of(grant.expires_at - now_ms())})"
    return (grant.id[:12], grant.agent, grant.tool, covers, ends, grant.granted_by, grant.workspace)


@grants.command(example="airlock grants revoke 5f2c91aa")
@click.argument("grant_id", metavar="ID")
@PIN_OPTION
def revoke(grant_id: str, pin_stdin: bool) -> None:
    """End a grant at once; its id may be shortened."""
    wait_for(_revoke(here(), grant_id, decider(pin_stdin=pin_stdin)))


async def _revoke(frame: Frame, grant_id: str, identity: str) -> None:
    async with open_places(frame, everywhere=True) as places:
        for runtime in await places.runtimes():
            hits = [one for one in await runtime.gate.grants() if one.id.startswith(grant_id)]
            if hits:
                ended = await runtime.gate.revoke(grant_id, identity)
                break
        else:
            raise NoSuchRequest(f"no grant `{grant_id[:64]}`: see `airlock grants`")
    if frame.json:
        put_json({"ok": True, **grant_shape(ended)})
    else:
        put(f"{ended.id[:12]} is revoked")
