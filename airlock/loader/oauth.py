"""How a provider is logged in at: `oauth`, `client_credentials` and what belongs to them."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from airlock.config import OAuthConfig, Secret
from airlock.loader.fields import Section
from airlock.loader.sections_oauth import OAUTH
from airlock.loader.settings import LOOPBACK, split_url
from airlock.loader.substitution import refers

KEYS: Final = tuple(OAUTH)
_OF_A_LOGIN: Final = ("oauth_callback_port", "oauth_callback_url", "client_id", "client_secret", "scope")
_PORT: Final = 18432


def oauth(section: Section) -> OAuthConfig | None:
    """What the config says of logging in; None where nothing is to be logged in at."""
    by_person = section.flag("oauth", default=False)
    by_itself = section.found("client_credentials") is not None
    if by_person and by_itself:
        section.error("client_credentials", "does not go together with `oauth: true`", "keep one of them")
    for key in _OF_A_LOGIN:
        if section.found(key) is not None and not by_person:
            section.error(key, "is part of `oauth: true`, which is not set")
    if not (by_person or by_itself):
        return None
    _check_server(section)
    return _credentials(section) if by_itself else _login(section)


def _check_server(section: Section) -> None:
    found = section.found("headers")
    names = list(found.node.keys or {}) if found else []
    if any(name.lower() == "authorization" for name in names):
        section.error("headers", "`Authorization` is what the login is for: it cannot stand here too")
    _safe(section, "url")


def _safe(section: Section, key: str) -> str:
    """A URL that a secret may be sent to: https, or this machine."""
    text = section.text(key)
    parts = split_url(text)
    if not text or (not section.resolve and refers(text)):
        return text
    if parts is None:
        if key != "url":  # `url` is looked at elsewhere
            section.error(key, "must be an https URL")
    elif parts[0] != "https" and (urlsplit(text).hostname or "") not in LOOPBACK:
        section.error(key, "must be https: a token is a secret")
    return text


def _login(section: Section) -> OAuthConfig:
    secret = _secret(section)
    if secret is not None and section.found("client_id") is None:
        section.missing("client_id", "a secret belongs to a client")
    return OAuthConfig(
        client_id=section.text("client_id"),
        client_secret=secret,
        scope=section.text("scope"),
        callback_port=section.whole("oauth_callback_port", _PORT, most=65535),
        callback_url=_safe(section, "oauth_callback_url"),
    )


def _credentials(section: Section) -> OAuthConfig:
    inner = section.section("client_credentials", "client_credentials")
    inner.resolve = section.resolve
    for key, why in (("token_url", "where tokens come from"), ("client_id", ""), ("client_secret", "")):
        if inner.found(key) is None:
            inner.missing(key, why)
    return OAuthConfig(
        client_id=inner.text("client_id"),
        client_secret=_secret(inner),
        scope=inner.text("scope"),
        token_url=_safe(inner, "token_url"),
    )


def _secret(section: Section) -> Secret | None:
    """A secret that somebody else made: however short, it is what it is."""
    found = section.found("client_secret")
    if found is None:
        return None
    value = section.scalar(found.node, found.path)
    return Secret(value) if value else None
