"""What upstreams said of themselves last time, kept so that a client's first question is answered at once.

Nothing is decided by it: it answers `initialize` and `server/discover`, and `airlock tools` for a server
that does not run (decisions.md 42).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from dataclasses import field, fields
from pathlib import Path
from typing import Any, Final

from airlock.canonical import encode, parse
from airlock.config import ProviderConfig
from airlock.errors import WireError
from airlock.model import JsonObject
from airlock.proxy.link import Era, UpstreamState
from airlock.proxy.offers import SECTIONS, Offer
from airlock.values import dataclass

MAX_BYTES: Final = 4 * 1024 * 1024
FORM: Final = 1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One upstream as it introduced itself. `lists` is empty when they were too large to keep."""

    era: Era = "legacy"
    protocol_version: str = ""
    server_info: JsonObject = field(default_factory=dict)
    capabilities: JsonObject = field(default_factory=dict)
    instructions: str = ""
    lists: dict[str, list[JsonObject]] = field(default_factory=dict)


def describe(state: UpstreamState, offer: Offer | None = None) -> Description:
    """What is known of a running upstream now."""
    return Description(
        era=state.era,
        protocol_version=state.protocol_version,
        server_info=state.server_info,
        capabilities=state.capabilities,
        instructions=state.instructions,
        lists=dict(offer.lists) if offer is not None else {},
    )


class Descriptions:
    """The kept descriptions, one file each, in a folder of the state directory; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def _file(self, provider: ProviderConfig, era: Era) -> Path | None:
        if self._folder is None:
            return None
        key = hashlib.sha256(f"{provider.endpoint}\0{era}".encode()).hexdigest()[:32]
        return self._folder / f"{key}.json"

    def get(self, provider: ProviderConfig, era: Era) -> Description | None:
        """The last description for clients of that era; None when there is none that can be read."""
        file = self._file(provider, era)
        if file is None:
            return None
        try:
            return _read(parse(file.read_bytes()))
        except (OSError, WireError):
            return None

    def put(self, provider: ProviderConfig, era: Era, description: Description) -> None:
        """Keep a description; a folder that cannot be written costs only the head start."""
        file = self._file(provider, era)
        if file is None:
            return
        try:
            data = _written(description)
            if not file.exists() or file.read_bytes() != data:
                _replace(file, data)
        except (OSError, WireError) as error:
            log.debug("cannot keep the description of `%s`: %s", provider.name, error)


def _written(description: Description) -> bytes:
    plain: dict[str, Any] = {
        "form": FORM,
        "era": description.era,
        "protocol_version": description.protocol_version,
        "server_info": description.server_info,
        "capabilities": description.capabilities,
        "instructions": description.instructions,
        "lists": description.lists,
    }
    data = encode(plain)
    return data if len(data) <= MAX_BYTES else encode({**plain, "lists": {}})


def _read(plain: Any) -> Description | None:
    if not isinstance(plain, dict) or plain.get("form") != FORM:
        return None
    if not _shaped(plain):
        return None
    return Description(**{name: value for name, value in plain.items() if name != "form"})


def _shaped(plain: dict[str, Any]) -> bool:
    lists = plain.get("lists")
    return (
        set(plain) == {"form", *(one.name for one in fields(Description))}
        and plain["era"] in {"legacy", "modern"}
        and isinstance(plain["capabilities"], dict)
        and isinstance(plain["server_info"], dict)
        and isinstance(plain["instructions"], str)
        and isinstance(plain["protocol_version"], str)
        and isinstance(lists, dict)
        and set(lists) <= {section.name for section in SECTIONS}
        and all(
            isinstance(items, list) and all(isinstance(one, dict) for one in items)
            for items in lists.values()
        )
    )


def _replace(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f".{os.urandom(8).hex()}.new")  # `tempfile` costs more to import than to replace
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
        draft.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
