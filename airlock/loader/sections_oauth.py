"""The keys of a provider that Airlock logs in at, and of its `client_credentials`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from airlock.loader.shapes import FLAG, TEXT, WHOLE, Key, one

OAUTH: Final[Mapping[str, Key]] = {
    "oauth": Key(
        FLAG,
        "Whether the server wants an OAuth login; `airlock login NAME` does it in the browser.",
        "false",
        "oauth: true",
    ),
    "oauth_callback_port": Key(
        WHOLE,
        "The loopback port to which the browser comes back; 0 takes a free one.",
        "18432",
        "oauth_callback_port: 18432",
    ),
    "oauth_callback_url": Key(
        TEXT,
        "The redirect address that is registered at the authorization server, where it is another.",
        "`http://127.0.0.1:PORT/callback`",
        'oauth_callback_url: "http://localhost:18432/callback"',
    ),
    "client_id": Key(
        TEXT,
        "The client that is registered at the authorization server, for `oauth`.",
        "Airlock registers itself",
        "client_id: airlock",
    ),
    "client_secret": Key(TEXT, "Its secret.", "none", 'client_secret: "${DOCS_CLIENT_SECRET}"'),
    "scope": Key(
        TEXT, "The scopes to ask for, with blanks between.", "what the server names", 'scope: "read write"'
    ),
    "client_credentials": Key(
        one("client_credentials"),
        "Airlock logs in by itself, without a person and a browser; not together with `oauth: true`.",
        "none",
        'client_credentials: {token_url: "https://example.com/token", client_id: a, client_secret: "${KEY}"}',
    ),
}

CLIENT_CREDENTIALS: Final[Mapping[str, Key]] = {
    "token_url": Key(
        TEXT, "Where the tokens come from.", "required", 'token_url: "https://example.com/token"'
    ),
    "client_id": Key(TEXT, "Who asks for them.", "required", "client_id: airlock"),
    "client_secret": Key(TEXT, "Its secret.", "required", 'client_secret: "${DOCS_CLIENT_SECRET}"'),
    "scope": Key(TEXT, "The scopes to ask for, with blanks between.", "none", 'scope: "read write"'),
}
