"""From a hook's event to the `Call` that the gate decides."""

from __future__ import annotations

from airlock.hooks.dialect import HookEvent
from airlock.hooks.tools import arguments_of, parts_of
from airlock.model import Call, Origin, Principal
from airlock.ports import MakeId

_LONGEST = 400
_LONGEST_PATH = 4_096
"""What stands on record beside the arguments is bounded."""


def build_call(
    event: HookEvent, *, agent: str, workspace: str, new_id: MakeId, identity: str = "", home: str = ""
) -> Call:
    """The call of an event. Its name is that of its first part; each part is judged by itself.

    `identity` names the credential, else it is the agent's own. `home` is what `~` stands for in shell
    lines: give it only when the client runs on this machine as this user.
    """
    parts = parts_of(event, home=home)
    provider, slash, name = parts[0].tool.partition("/")
    return Call(
        id=new_id(),
        principal=Principal(name=agent, identity=identity or f"agent:{agent}"),
        provider=provider if slash else "",
        name=name if slash else provider,
        arguments=arguments_of(event),
        parts=parts,
        origin=Origin(
            road="hook",
            workspace=workspace,
            session=event.session[:_LONGEST],
            cwd=event.cwd if len(event.cwd) <= _LONGEST_PATH else "",
            client=event.client,
            tool_use_id=event.tool_use_id[:_LONGEST],
        ),
    )
