"""What a server's refusal means to the person who wrote the config."""

from __future__ import annotations

import os
import re
import socket

from airlock.config import ProviderConfig
from airlock.errors import why

_CALL_FAILED = re.compile(r"\[Errno (\d+)\] Connect(ion refused| call failed)")


def cure(provider: ProviderConfig, status: int, *, asks_for_login: bool) -> str:
    """What to do about an HTTP status; "" where nothing is known to help."""
    name, oauth = provider.name, provider.oauth
    if status in {401, 403}:
        if oauth is not None and not oauth.token_url:
            return f": run `airlock login {name}`"
        if oauth is not None:
            return ": check its `client_credentials`"
        if asks_for_login:
            return f": set `oauth: true` for this provider and run `airlock login {name}`"
        return ": check the `headers` of this provider"
    return ": check its `url`" if status in {404, 405} else ""


def said(error: BaseException) -> str:
    """Why there is no connection, in one phrase."""
    if isinstance(error, socket.gaierror):
        return why(error)
    text = str(error) or type(error).__name__
    # asyncio says the address again, once for each that a name stands for; uvloop puts its number in front.
    found = _CALL_FAILED.search(text)
    return os.strerror(int(found[1])).lower() if found else text
