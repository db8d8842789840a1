"""The demo server's tools: what each looks like, and what it does to the notes in memory.

Nothing leaves the process: mail is only recorded, money only counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any, Final

from airlock.model import JsonObject
from airlock.values import dataclass


class ToolFailure(Exception):
    """The tool was called rightly and could not do it: a result with `isError`."""


class BadArguments(Exception):
    """The arguments do not fit the input schema: also a result with `isError`."""


@dataclass(slots=True)
class Desk:
    """What the demo server remembers while it runs."""

    notes: dict[str, str] = field(default_factory=lambda: {"welcome": "Airlock asks before this changes."})
    sent: list[JsonObject] = field(default_factory=list)
    balance: float = 1000

    def echo(self, text: str) -> JsonObject:
        """The same text."""
        return {"text": text}

    def list_notes(self) -> JsonObject:
        """The names."""
        return {"names": sorted(self.notes)}

    def read_note(self, name: str) -> JsonObject:
        """One note."""
        return {"name": name, "text": self._note(name)}

    def write_note(self, name: str, text: str) -> JsonObject:
        """Write or overwrite one."""
        created = name not in self.notes
        self.notes[name] = text
        return {"name": name, "created": created}

    def delete_note(self, name: str) -> JsonObject:
        """Take one away."""
        self._note(name)
        del self.notes[name]
        return {"name": name, "deleted": True}

    def send_email(self, to: str, subject: str, body: str) -> JsonObject:
        """Write a mail into the list of sent ones."""
        self.sent.append({"to": to, "subject": subject, "body": body})
        return {"to": to, "recorded": len(self.sent)}

    def transfer(self, to: str, amount: float) -> JsonObject:
        """Take money from the balance."""
        if amount <= 0:
            raise ToolFailure("the amount must be more than 0")
        if amount > self.balance:
            raise ToolFailure(f"the balance is only {self.balance:g}")
        self.balance -= amount
        return {"to": to, "amount": amount, "balance": self.balance}

    def _note(self, name: str) -> str:
        if name not in self.notes:
            raise ToolFailure(f"there is no note `{name}`")
        return self.notes[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool: its listing, and the words for its result."""

    name: str
    title: str
    description: str
    arguments: dict[str, str]
    result: dict[str, str]
    says: str
    reads: bool = False
    destroys: bool = False
    open_world: bool = False

    def listing(self) -> JsonObject:
        """What `tools/list` shows."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": _schema(self.arguments, closed=True),
            "outputSchema": _schema(self.result, closed=False),
            "annotations": {
                "title": self.title,
                "readOnlyHint": self.reads,
                "destructiveHint": self.destroys,
                "idempotentHint": self.reads,
                "openWorldHint": self.open_world,
            },
        }

    def call(self, desk: Desk, arguments: JsonObject) -> JsonObject:
        """A tool result; what goes wrong is a result with `isError`."""
        try:
            self._check(arguments)
            structured = _DEEDS[self.name](desk, **arguments)
        except (ToolFailure, BadArguments) as failure:
            return {"content": [{"type": "text", "text": str(failure)}], "isError": True}
        text = self.says.format(**{**structured, **{k: v for k, v in arguments.items() if k != "body"}})
        return {"content": [{"type": "text", "text": text}], "structuredContent": structured}

    def _check(self, arguments: JsonObject) -> None:
        missing = [name for name in self.arguments if name not in arguments]
        if missing:
            raise BadArguments(f"missing argument: `{missing[0]}`")
        for name, value in arguments.items():
            if name not in self.arguments:
                raise BadArguments(f"unknown argument: `{name}`")
            if not isinstance(value, _TYPES[self.arguments[name]]) or isinstance(value, bool):
                raise BadArguments(f"`{name}` must be a {self.arguments[name]}")


_TYPES: Final[dict[str, Any]] = {"string": str, "number": (int, float)}

_DEEDS: Final[dict[str, Callable[..., JsonObject]]] = {
    "echo": Desk.echo,
    "list_notes": Desk.list_notes,
    "read_note": Desk.read_note,
    "write_note": Desk.write_note,
    "delete_note": Desk.delete_note,
    "send_email": Desk.send_email,
    "transfer": Desk.transfer,
}


def _schema(members: dict[str, str], *, closed: bool) -> JsonObject:
    properties: JsonObject = {name: _TYPE_SCHEMAS.get(kind, {"type": kind}) for name, kind in members.items()}
    schema: JsonObject = {"type": "object", "properties": properties, "required": list(members)}
    return {**schema, "additionalProperties": False} if closed else schema


_TYPE_SCHEMAS: Final[dict[str, JsonObject]] = {"names": {"type": "array", "items": {"type": "string"}}}

TOOLS: Final = (
    Tool(
        name="echo",
        title="Echo",
        description="Returns the text that it is given.",
        arguments={"text": "string"},
        result={"text": "string"},
        says="{text}",
        reads=True,
    ),
    Tool(
        name="list_notes",
        title="List notes",
        description="Lists the names of all notes.",
        arguments={},
        result={"names": "names"},
        says="notes: {names}",
        reads=True,
    ),
    Tool(
        name="read_note",
        title="Read a note",
        description="Returns the text of one note.",
        arguments={"name": "string"},
        result={"name": "string", "text": "string"},
        says="{text}",
        reads=True,
    ),
    Tool(
        name="write_note",
        title="Write a note",
        description="Writes a note, over an older one of that name if there is one.",
        arguments={"name": "string", "text": "string"},
        result={"name": "string", "created": "boolean"},
        says="wrote the note `{name}`",
        destroys=True,
    ),
    Tool(
        name="delete_note",
        title="Delete a note",
        description="Deletes a note for good.",
        arguments={"name": "string"},
        result={"name": "string", "deleted": "boolean"},
        says="deleted the note `{name}`",
        destroys=True,
    ),
    Tool(
        name="send_email",
        title="Send an email",
        description="Records an email as sent. This is a demo: nothing leaves the machine.",
        arguments={"to": "string", "subject": "string", "body": "string"},
        result={"to": "string", "recorded": "integer"},
        says="recorded an email to {to}: {subject}",
        open_world=True,
    ),
    Tool(
        name="transfer",
        title="Transfer money",
        description="Moves play money out of a balance of 1000 that lives in memory.",
        arguments={"to": "string", "amount": "number"},
        result={"to": "string", "amount": "number", "balance": "number"},
        says="transferred {amount} to {to}; {balance} are left",
        destroys=True,
        open_world=True,
    ),
)
