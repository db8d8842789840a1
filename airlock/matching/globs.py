"""Texts that a glob cannot judge: another spelling of a path, an address whose host is not where it seems."""

from __future__ import annotations

import re
import unicodedata

_ODD = "has `.`, `..` or empty segments, which a glob cannot judge"
_ODD_HOST = "has a host that readers find at different places, which a glob cannot judge"
_HOST = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)")
_OF_THE_WEB = frozenset({"http", "https", "ws", "wss"})
_ENDS_A_HOST = re.compile(r"[?#\\%\x00-\x20\x7f]")


def odd_spelling(text: str) -> str:
    """Why a text is not compared with a glob: it spells a path or a host in a way that globs do not see."""
    if "/" not in text:
        return "" if text not in {".", ".."} else _ODD
    if "://" in text and (found := _HOST.match(text)) and _odd_host(*found.groups()):
        return _ODD_HOST
    if ".." not in text and "//" not in text and "/." not in text and not text.startswith("."):
        return ""
    segments = text.replace("://", ":/", 1).split("/")
    odd = "." in segments or ".." in segments or "" in segments[1:-1]
    return _ODD if odd else ""


def _odd_host(scheme: str, authority: str) -> bool:
    """True where what stands before the first slash of an address is no plain host and port.

    `evil.example?x.good.example` ends at the `?`, `localhost:1@evil.example` begins behind the `@`, and NFKC,
    by which hosts are read, makes a slash of `／`.
    """
    plain = authority if authority.isascii() else unicodedata.normalize("NFKC", authority)
    user = "@" in plain and scheme.lower() in _OF_THE_WEB
    return user or "/" in plain or _ENDS_A_HOST.search(plain) is not None
