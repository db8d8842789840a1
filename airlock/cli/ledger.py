"""What `init` changed in other programs' files, so that one command takes it out again, byte for byte."""

from __future__ import annotations

import base64
import contextlib
import difflib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from airlock.errors import UsageError, why
from airlock.home import state
from airlock.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One file that was changed: its bytes before (None when it was not there) and after, as base64.

    `made` is the topmost folder that was made for it. `key` is the id of the API key that was made for it, in
    the database of `config`. `project` is the folder in which `init` ran.
    """

    file: str
    host: str
    before: str | None
    after: str
    mode: int
    made: str = ""
    key: str = ""
    config: str = ""
    project: str = ""

    @property
    def changed_since(self) -> bool:
        """True when somebody changed the file after us."""
        return _bytes(Path(self.file)) != base64.b64decode(self.after)

    def difference(self) -> str:
        """What changed since we wrote it, as a unified diff."""
        ours = base64.b64decode(self.after).decode("utf-8", "replace").splitlines()
        now = (_bytes(Path(self.file)) or b"").decode("utf-8", "replace").splitlines()
        return "\n".join(
            difflib.unified_diff(ours, now, "as written by airlock init", self.file, lineterm="")
        )


def write(
    file: Path, host: str, text: str, *, key: str = "", config: str = "", private: bool = False
) -> None:
    """Change a file, in one step and keeping its mode, after its bytes were kept for `take_back`.

    A `private` text is from now on for the user alone.
    """
    before = _bytes(file)
    mode = stat.S_IMODE(file.stat().st_mode) if before is not None else 0o600
    earlier = known(file)
    data = text.encode()
    # A second `init` keeps the first one's original: undo leads back to the file that was not ours yet.
    kept = earlier.before if earlier is not None and not earlier.changed_since else _encoded(before)
    record = Written(
        file=str(file),
        host=host,
        before=kept,
        after=_encoded(data) or "",
        mode=earlier.mode if earlier is not None and kept == earlier.before else mode,
        made=earlier.made if earlier is not None else _missing_folder(file),
        key=key,
        config=config,
        project=str(Path.cwd()),
    )
    _keep(record)
    replace_file(file, data, 0o600 if private else mode)


def known(file: Path) -> Written | None:
    """What was written to this file before, if it was."""
    return next((one for one in every() if one.file == str(file)), None)


def _missing_folder(file: Path) -> str:
    """The topmost folder that has to be made for this file, or was made for one beside it; "" for none."""
    made = {one.made for one in every() if one.made}
    ours = [folder for folder in file.parents if str(folder) in made or not folder.exists()]
    return str(ours[-1]) if ours else ""


def every() -> list[Written]:
    """All files that are changed now, by name."""
    return sorted(_records(), key=lambda one: one.file)


def take_back(record: Written) -> None:
    """Put the file back as it was, and forget it."""
    file = Path(record.file)
    if record.before is None:
        file.unlink(missing_ok=True)
        _remove_folders(file.parent, record.made)
    else:
        replace_file(file, base64.b64decode(record.before), record.mode)
    _place(record.file).unlink(missing_ok=True)


def _remove_folders(folder: Path, made: str) -> None:
    """Remove the folders that were made for a file, as far as they are empty now."""
    if not made:
        return
    top = Path(made)
    with contextlib.suppress(OSError):
        while folder == top or top in folder.parents:
            folder.rmdir()
            folder = folder.parent


def replace_file(file: Path, data: bytes, mode: int) -> None:
    """Write beside it and rename over it: a reader sees the old file or the new one. Links stay links."""
    real = Path(os.path.realpath(file))
    draft = real.with_name(f".{real.name}.{os.urandom(4).hex()}.new")
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        draft.replace(real)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise UsageError(f"`{file}` cannot be written: {why(error)}") from None


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"`{file}` cannot be read: {why(error)}") from None


def _encoded(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _folder() -> Path:
    folder = state.state_dir() / "clients"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _place(file: str) -> Path:
    return _folder() / f"{hashlib.sha256(os.fsencode(file)).hexdigest()[:32]}.json"


def _keep(record: Written) -> None:
    replace_file(_place(record.file), json.dumps(asdict(record)).encode(), 0o600)


def _records() -> Iterator[Written]:
    for path in _folder().glob("*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            yield Written(**json.loads(path.read_bytes()))
