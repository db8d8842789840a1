"""An action as it was sent, checked; and back again from the arguments that were made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airlock.errors import UsageError
from airlock.model import Call, Origin, Overlay, Principal
from airlock.values import dataclass
from airlock.web.compat.asking import Kept
from airlock.web.compat.firewall.opinions import Action
from airlock.web.compat.firewall.words import FACE, HTTP_PROXY, policy_name, tool_and_operation
from airlock.web.compat.once import MOST_KEY
from airlock.web.compat.query import mapping, text

if TYPE_CHECKING:
    from airlock.web.services import Services

CONTEXT, METADATA = "_context", "_metadata"
MOST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What a body asks for. `arguments` is what rules look at, a person sees and an approval is bound to."""

    action: Action
    idempotency_key: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """The params, and beside them what else was said."""
        action = self.action
        beside = {CONTEXT: action.context, METADATA: action.metadata}
        return {**action.params, **{name: dict(value) for name, value in beside.items() if value}}

    @property
    def session(self) -> str:
        """The session that the client named."""
        named = self.action.context.get("session_id")
        return named[:MOST_NAME] if isinstance(named, str) else ""


def submitted(body: Mapping[str, Any], agent: str) -> Submitted:
    """What a body asks for; UsageError names what is wrong with it."""
    tool, operation = _name(body, "tool"), _name(body, "operation")
    if not isinstance(body.get("params"), dict):
        raise UsageError("`params` must be an object")
    params = mapping(body, "params")
    for name in (CONTEXT, METADATA):
        if name in params:
            raise UsageError(f"`params.{name}` is taken: send it as `{name[1:]}` beside `params`")
    action = Action(
        tool=tool,
        operation=in_form(tool, operation),
        params=params,
        context=mapping(body, "context"),
        metadata=mapping(body, "metadata"),
        agent=agent,
    )
    _check_method(action)
    return Submitted(action=action, idempotency_key=text(body, "idempotency_key", most=MOST_KEY))


def _name(body: Mapping[str, Any], member: str) -> str:
    name = text(body, member, most=MOST_NAME, required=True)
    if not name.isprintable() or name != name.strip():
        raise UsageError(f"`{member}` must be printing characters, with no blanks around them")
    return name


def in_form(tool: str, operation: str) -> str:
    """The operation as policies see it: an HTTP method in capital letters, any other as it was sent."""
    return operation.upper() if tool == HTTP_PROXY and operation.isascii() else operation


def _check_method(action: Action) -> None:
    """Two methods in one action: what was judged must be what is sent."""
    method = action.params.get("method", action.operation)
    if action.tool == HTTP_PROXY and (not isinstance(method, str) or method.upper() != action.operation):
        raise UsageError("`params.method` must be the `operation`")


def call_of(services: Services, action: Action, principal: Principal, overlay: Overlay | None = None) -> Call:
    """The call that an action would be, to ask the gate about: it is not submitted."""
    return Call(
        id=services.make_id(),
        principal=principal,
        provider=FACE,
        name=policy_name(action.tool, action.operation),
        arguments=Submitted(action=action).arguments,
        endpoint=FACE,
        origin=Origin(road=FACE, workspace=services.config.workspace),
        overlay=overlay,
    )


def action_of(kept: Kept, arguments: Mapping[str, Any]) -> Action:
    """The action behind a request, of these arguments: masked ones, or those that are still known."""
    body = kept.record.body
    tool, operation = tool_and_operation(str(body["name"]))
    beside = {name: arguments.get(name) for name in (CONTEXT, METADATA)}
    context, metadata = (value if isinstance(value, Mapping) else {} for value in beside.values())
    return Action(
        tool=str(body.get("tool", tool)),
        operation=str(body.get("operation", operation)),
        params={name: value for name, value in arguments.items() if name not in beside},
        context=context,
        metadata=metadata,
        agent=str(body["agent"]),
    )


_NAME = {"type": "string", "minLength": 1, "maxLength": MOST_NAME, "pattern": r"^[A-Za-z0-9_.:/-]+$"}
_OBJECT_OR_NULL = {"type": ["object", "null"]}

BODY = {
    "type": "object",
    "properties": {
        "tool": _NAME,
        "operation": _NAME,
        "params": {"type": "object"},
        "idempotency_key": {"type": ["string", "null"], "maxLength": MOST_KEY},
        "metadata": _OBJECT_OR_NULL,
        "context": {**_OBJECT_OR_NULL, "description": "`user_id`, `session_id`, `purpose`, `metadata`"},
    },
    "required": ["tool", "operation", "params"],
}
