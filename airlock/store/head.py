"""The signed head: the chain's end at some moment, in a second file, so that a cut tail is noticed.

The key lies beside the database. Who can write both files can sign anew; what no one can undo is a copy
of the head that was kept elsewhere (docs/store.md).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airlock.audit import CHAIN, VERSION, Head
from airlock.canonical import canonical
from airlock.errors import StoreError
from airlock.keys import derive
from airlock.values import dataclass


def head_path(database: Path) -> Path:
    """The head file of this database."""
    return database.with_name(database.name + ".head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Signs heads and knows its own signatures."""

    key: bytes

    @classmethod
    def of(cls, key: bytes) -> Seal:
        """The seal that belongs to the key beside the database."""
        return cls(key=derive(key, "airlock audit head"))

    def _mac(self, fields: dict[str, Any]) -> str:
        return hmac.new(self.key, canonical(fields), hashlib.sha256).hexdigest()

    def text(self, head: Head, at: int) -> str:
        """The content of a head file."""
        fields = {"version": VERSION, "chain": CHAIN, "seq": head.seq, "hash": head.hash, "at": at}
        return json.dumps({**fields, "mac": self._mac(fields)}) + "\n"

    def read(self, path: Path) -> Head | None:
        """The head in this file, None when there is no file; StoreError when the signature is not ours."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"cannot read the signed head `{path}`: {error}") from error
        try:
            fields = json.loads(text)
            mac = fields.pop("mac")
            if hmac.compare_digest(str(mac), self._mac(fields)):
                return Head(seq=int(fields["seq"]), hash=str(fields["hash"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise StoreError(f"the signed head `{path}` was changed, or signed with another key")


@contextmanager
def fresh_head(path: Path, text: str) -> Iterator[Path]:
    """The content on the disk under another name, for a move to `path`; gone after the block if not moved."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, text.encode())
        os.fsync(fd)
        os.close(fd)
        fd = -1
        yield fresh
    finally:
        if fd >= 0:
            os.close(fd)
        fresh.unlink(missing_ok=True)
