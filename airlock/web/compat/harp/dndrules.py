"""What the do-not-disturb policies say of an artifact.

Action-deny, workspace-deny, action-approve, workspace-approve; then the longest `argvPrefix`, then the
newest. An approve with a selector covers plain words only: nothing that a shell would read as more.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airlock.model import Effect, Overlay
from airlock.ports_faces import Record
from airlock.web.compat.harp.words import FACE
from airlock.web.compat.stored import consult, kept

if TYPE_CHECKING:
    from airlock.web.services import Services

KIND = "policy"
WORKSPACE, ACTION = "airlock.dnd.workspace", "airlock.dnd.action"
APPROVE_ALL, DENY_ALL = "approve_all", "deny_all"
ANY = "*"

_PLAIN = re.compile(r"[\w ./:=@%+,-]*\Z", re.ASCII)
_BETWEEN = re.compile(r"[;&|\n()`]+|\$\(")
_EFFECTS = {APPROVE_ALL: Effect.ALLOW, DENY_ALL: Effect.DENY}


async def standing(services: Services) -> list[Record]:
    """All that have not ended, the strictest first."""
    now = services.clock()
    found = [one for one in await kept(services, FACE, KIND) if now < one.body["expires_at"]]
    return sorted(found, key=_rank)


def _rank(one: Record) -> tuple[bool, bool, int, int]:
    body = one.body
    prefix = (body["selector"] or {}).get("argvPrefix") or []
    return (
        body["mode"] != DENY_ALL,
        body["type"] != ACTION,
        -len(prefix),
        -one.created_at,
    )


def about(one: Record, *, enforcer: str, workspace: str, session: str) -> bool:
    """True when it is about this enforcer in this workspace and session."""
    body = one.body
    return (
        body["enforcer"] in {ANY, enforcer}
        and body["workspace"] in {ANY, workspace}
        and body["session"] in {"", session}
    )


async def overlay(services: Services, arguments: Mapping[str, Any], kind: str, session: str = "") -> Overlay:
    """The one that counts for an artifact with these arguments, as the gate joins it with the config."""
    enforcer, workspace = str(arguments.get("enforcer", "")), str(arguments.get("workspace", ""))
    for one in await standing(services):
        if about(one, enforcer=enforcer, workspace=workspace, session=session) and covers(
            one, kind, arguments.get("artifact")
        ):
            return Overlay(
                effect=_EFFECTS[one.body["mode"]],
                rule=f"harp:dnd:{one.id}",
                reason=f"do not disturb: {one.body['mode']}",
                consulted=await consult(services, {f"policy:{one.id}": one.body}),
            )
    return Overlay(rule="harp")


def covers(one: Record, kind: str, artifact: Any) -> bool:
    """True when an artifact of this type, with this content, is meant."""
    body = one.body
    if body["target"] and body["target"] != kind:
        return False
    if not body["selector"]:
        return True
    denies = body["mode"] == DENY_ALL
    commands = _commands(artifact, plain=not denies)
    return any(_selected(body["selector"], words) for words in commands)


def _selected(selector: Mapping[str, Any], words: list[str]) -> bool:
    family, prefix = selector.get("commandFamily"), selector.get("argvPrefix") or []
    if not words or (family and words[0].rpartition("/")[2] != family):
        return False
    return words[: len(prefix)] == list(prefix)


def _commands(artifact: Any, *, plain: bool) -> list[list[str]]:
    """The commands of an artifact as words; with `plain` none unless it is one plain command."""
    if not isinstance(artifact, dict):
        return []
    argv = artifact.get("argv")
    if isinstance(argv, list) and argv and all(isinstance(one, str) for one in argv):
        shown = artifact.get("commandText")
        return [argv] if not plain or shown in (None, "", shlex.join(argv)) else []
    text = artifact.get("commandText")
    if not isinstance(text, str) or (plain and not _PLAIN.match(text)):
        return []
    return [_words(piece) for piece in ([text] if plain else _BETWEEN.split(text))]


def _words(piece: str) -> list[str]:
    try:
        return shlex.split(piece)
    except ValueError:
        return piece.split()
