"""The sister APIs: each a thin face over the one gate, queue, keys and history.

A face is a package here with `make_face(FaceConfig) -> Face`, named as in `compat:` of the config. What it
needs is shared:

`face`      `Face`: its routes (the same table as the gateway's own, with scopes; give each `error=` the shape
            of its errors), which path prefixes are its own, how errors and limits are written, where a
            credential stands, what its webhooks are told (`announce`) and how they are signed (`sign`).
`asking`    `ask(services, credential, Ask)` puts a request before the gate without waiting, and keeps a
            record beside it: `Kept`. `find` by id; `collect` when whoever asked comes for the answer (which
            spends the approval, under the policy of that moment); `report` how it came out; `asker`.
`listing`   `listed`: a page of the face's requests and of all others that waited on any road, newest first.
`stored`    policies, agents and the like: `add`, `change`, `drop`, `kept`, `one_kept`, each in history.
`matching`  `check_match`, `matches`: exact values and `$lt $gt $lte $gte $in $regex` over dotted paths.
`webhooks`  `check_url`, `check_events`, `register`, `publish(services, face, news)`, `deliveries`, `replay`.
`courier`   follows the history and delivers: questions are announced by the face's `announce`, whatever road
            they were decided on; all else the face publishes itself.
`once`      idempotency keys.
`query`     paging, and the members of bodies. `people`: names for identities. `sealing`: secrets at rest.

An `Overlay` on the call carries what the face's own policies say: the strictest of it and the YAML wins;
where neither names the call, a person is asked. Decide by `services.gate.resolve`: it refuses whoever asked.
`services.gate.settled` waits for an answer from any process; `retract` withdraws what nobody has answered.
Keys of a face have its prefix (`apikeys.PREFIXES`) and are made by `keyring.Keyring`. Records are
`ports_faces.Record`: all kinds but those in `ports_faces.LASTING` go when the history of their age goes.
"""

from __future__ import annotations

import importlib

from airlock.config import Config, FaceConfig
from airlock.errors import UsageError
from airlock.web.compat.face import Face


def faces_for(config: Config) -> tuple[Face, ...]:
    """The faces that the config switches on; UsageError for one that this version does not have."""
    return tuple(_face(one) for one in config.compat.values())


def _face(config: FaceConfig) -> Face:
    name = f"{__name__}.{config.name}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UsageError(f"`compat: {config.name}`: this version does not speak that API") from None
    made: Face = module.make_face(config)
    return made
