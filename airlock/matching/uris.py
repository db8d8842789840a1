"""Resource URIs as the policy compares them: the ways in which a server may read one URI.

A pattern is compared with every reading. An allow pattern must match all of them; one is enough for
ask and deny. What has no clear readings (hidden dot segments, control characters) is refused outright.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, unquote_to_bytes

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(.*)", re.DOTALL)
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_UNCLEAR = re.compile(r"[\x00-\x20\x7f\\]")
_DEFAULT_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}
_HOSTS = frozenset({"file", "ftp", *_DEFAULT_PORTS})
_NO_PATH = re.compile(r"\A(?:https?|wss?|ftp)://[^/?#]*(?=[?#])")
"""`https://evil.example?x.good.example/` is `https://evil.example/?x…` (RFC 3986, 6.2.3)."""

_USER = re.compile(r"\A((?:https?|wss?|ftp)://)[^/?#]*@")
"""`http://localhost:1@evil.example/` is on `evil.example`."""

_ROUNDS = 5


def readings(uri: str) -> tuple[str, ...]:
    """The normal form of a URI and what else a server may take it for; empty when that is unclear."""
    if _UNCLEAR.search(uri.strip(" ")) or uri != uri.strip() or _BROKEN_PERCENT.search(uri):
        return ()
    normal = _normal(uri)
    decoded = _decoded(normal)
    if not normal or not decoded or (not decoded.isascii() and _hides_the_end_of_its_host(decoded)):
        return ()
    forms = [normal, decoded]
    forms += [form.partition("#")[0] for form in forms]
    forms += [_NO_PATH.sub(r"\g<0>/", form) for form in forms]
    forms += [_USER.sub(r"\1", form) for form in forms]
    if normal.startswith("file:"):
        forms += [form.partition("?")[0] for form in forms]
    return tuple(dict.fromkeys(forms))


def _hides_the_end_of_its_host(decoded: str) -> bool:
    """True where NFKC, by which hosts are read, makes a sign that ends one: `evil.example／.good.example`."""
    match = _SCHEME.fullmatch(decoded)
    if match is None or match[1].lower() not in _HOSTS or not match[2].startswith("//"):
        return False
    host, _ = _split_authority(match[2][2:])
    return any(sign in unicodedata.normalize("NFKC", host) for sign in "/?#@\\")


def _normal(uri: str) -> str:
    text = _ESCAPE.sub(_plain_escape, uri)
    text = "".join(char if char.isascii() else quote(char, errors="surrogatepass") for char in text)
    match = _SCHEME.fullmatch(text)
    if match is None:
        return _with_path("", text)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file" and not rest.startswith("//") and rest.startswith("/"):
        rest = "//" + rest
    if not rest.startswith("//"):
        return _with_path(f"{scheme}:", rest)
    authority, path = _split_authority(rest[2:])
    return _with_path(f"{scheme}://{_normal_authority(scheme, authority)}", path)


def _plain_escape(match: re.Match[str]) -> str:
    byte = int(match[0][1:], 16)
    return chr(byte) if byte in _UNRESERVED else match[0].upper()


def _split_authority(rest: str) -> tuple[str, str]:
    end = min((place for sign in "/?#" if (place := rest.find(sign)) >= 0), default=len(rest))
    return rest[:end], rest[end:]


def _normal_authority(scheme: str, authority: str) -> str:
    if scheme not in _HOSTS:
        return authority  # a name of the server's own, where case may matter
    user, at, host = authority.rpartition("@")
    host = host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, "\0")).removesuffix(".")
    if scheme == "file" and host == "localhost":
        host = ""
    return user + at + _ESCAPE.sub(lambda match: match[0].upper(), host)


def _with_path(front: str, rest: str) -> str:
    """The front and the path without dot segments; "" when a relative path has any."""
    end = min((place for sign in "?#" if (place := rest.find(sign)) >= 0), default=len(rest))
    path, tail = rest[:end], rest[end:]
    if front.startswith("file:"):
        path = re.sub(r"/{2,}", "/", path)
    segments = path.split("/")
    if "." not in segments and ".." not in segments:
        return front + path + tail
    if not path.startswith("/"):
        return ""
    return front + _without_dots(segments) + tail


def _without_dots(segments: list[str]) -> str:
    kept: list[str] = []
    for segment in segments[1:]:
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _decoded(normal: str) -> str:
    """What is left when every escape is undone, however often it was escaped; "" when unclear."""
    text = normal
    for _ in range(_ROUNDS):
        try:
            plain = unquote_to_bytes(text).decode("utf-8")
        except UnicodeError:
            return ""
        if plain == text:
            break
        text = plain
    else:
        return ""
    path = re.split(r"[?#]", normal)[0] if text == normal else text
    segments = path.split("/")
    if "." in segments or ".." in segments or re.search(r"[\x00-\x1f\x7f\\]", text):
        return ""
    return "file://" + re.sub(r"/{2,}", "/", text[7:]) if text.startswith("file:///") else text
