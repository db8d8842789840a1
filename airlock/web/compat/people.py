"""Names for identities, as the sister APIs write them: of a person, of a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airlock.approval import person_of

if TYPE_CHECKING:
    from airlock.web.services import Services


async def names_of(services: Services, identities: set[str]) -> dict[str, str]:
    """A name for each: the person behind it, else the key's name, else what the identity says itself."""
    people = services.config.people
    found = {one: person_of(one, people) for one in identities if one}
    unnamed = {one for one, name in found.items() if name == one}
    if services.keys is not None and any(one.startswith("key:") for one in unnamed):
        keys = {key.identity: key.name for key in await services.keys.keys()}
        found |= {one: keys[one] for one in unnamed if one in keys}
    return {one: _plain(name) if name == one else name for one, name in found.items()}


async def name_of(services: Services, identity: str) -> str:
    """The name of one; "" for nobody."""
    return (await names_of(services, {identity})).get(identity, "")


def _plain(identity: str) -> str:
    road, _, name = identity.partition(":")
    return name if road in {"local", "agent"} and name else identity
