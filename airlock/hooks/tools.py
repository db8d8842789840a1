"""A client's own tool names → the policy's names, and each call's parts.

Shell tools are split, file tools get an absolute `path`, fetching tools a `host`; the native arguments
stay beside them. A tool that no table knows keeps its name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from airlock.hooks.dialect import HookEvent
from airlock.hooks.urls import host_of
from airlock.model import JsonObject, Part

SHELL = "bash"
FETCH = "http/fetch"
MAX_PARTS = 200
PATCH = "file/patch"

_CLAUDE = {
    "Bash": SHELL,
    "Edit": "file/edit",
    "MultiEdit": "file/edit",
    "Write": "file/write",
    "Read": "file/read",
    "Glob": "file/glob",
    "Grep": "file/grep",
    "LS": "file/list",
    "NotebookEdit": "notebook/edit",
    "NotebookRead": "notebook/read",
    "WebFetch": FETCH,
    "WebSearch": "http/search",
    "Agent": "agent/spawn",
    "Task": "agent/spawn",
    "TodoRead": "todo/read",
    "TodoWrite": "todo/write",
}
_CODEX = {
    **_CLAUDE,
    "exec_command": SHELL,
    "shell": SHELL,
    "local_shell": SHELL,
    "shell_command": SHELL,
    "unified_exec": SHELL,
    "apply_patch": PATCH,
    "view_image": "file/read",
    "read_file": "file/read",
    "list_dir": "file/list",
    "grep_files": "file/grep",
    "web_search": "http/search",
    "spawn_agent": "agent/spawn",
    "update_plan": "todo/write",
}
_GEMINI = {
    "run_shell_command": SHELL,
    "read_file": "file/read",
    "read_many_files": "file/read",
    "write_file": "file/write",
    "replace": "file/edit",
    "list_directory": "file/list",
    "glob": "file/glob",
    "grep_search": "file/grep",
    "search_file_content": "file/grep",
    "web_fetch": FETCH,
    "google_web_search": "http/search",
    "write_todos": "todo/write",
}
_CURSOR = {
    **_CLAUDE,
    "Shell": SHELL,
    "StrReplace": "file/edit",
    "TabWrite": "file/write",
    "Delete": "file/write",
    "ReadFile": "file/read",
    "EditNotebook": "notebook/edit",
}
_COPILOT = {
    **_CLAUDE,
    "bash": SHELL,
    "run_in_terminal": SHELL,
    "runTerminalCommand": SHELL,
    "runInTerminal": SHELL,
    "edit": "file/edit",
    "str_replace": "file/edit",
    "str_replace_editor": "file/edit",
    "create": "file/write",
    "view": "file/read",
    "grep": "file/grep",
    "glob": "file/glob",
    "editFiles": "file/edit",
    "insert_edit_into_file": "file/edit",
    "replace_string_in_file": "file/edit",
    "create_file": "file/write",
    "createFile": "file/write",
    "read_file": "file/read",
    "readFile": "file/read",
    "list_dir": "file/list",
    "file_search": "file/glob",
    "grep_search": "file/grep",
    "apply_patch": PATCH,
    "web_fetch": FETCH,
    "fetch_webpage": FETCH,
    "task": "agent/spawn",
    "runSubagent": "agent/spawn",
}
TABLES: Mapping[str, Mapping[str, str]] = {
    "claude-code": _CLAUDE,
    "codex": _CODEX,
    "gemini-cli": _GEMINI,
    "cursor": _CURSOR,
    "copilot": _COPILOT,
}

_COMMANDS = ("command", "cmd")
_WORKDIRS = {
    "codex": ("workdir",),
    "gemini-cli": ("dir_path", "directory"),
    "cursor": ("working_directory", "cwd"),
}
_PATHS = (
    "file_path", "filePath", "notebook_path", "absolute_path", "path", "dir_path", "target_file", "dirPath",
)  # fmt: skip
_MANY_PATHS = ("files", "paths", "include", "filePaths")
_URLS = {"gemini-cli": ("url", "urls", "prompt")}
_PROSE = "description"
_OURS = frozenset({"argv", "cwd", "expands", "path", "because"})
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:[^\s<>\"']+|\bwww\.[^\s<>\"']+")
_PATCHED = re.compile(r"^\*\*\* (?:(Add|Update|Delete) File|Move to): (.*\S)", re.MULTILINE)
_ODD_NAME = re.compile(r"[^A-Za-z0-9_-]")
"""What clients replace by `_` where a server's name becomes part of a tool's."""

_ODD_PATH = re.compile(r"[\x00-\x1f\x7f]|^\s*[A-Za-z][A-Za-z0-9+.-]*:")


def is_ours(event: HookEvent, mcp_names: tuple[str, ...]) -> bool:
    """True for a tool of Airlock's own MCP entry: the proxy asks about it, the hook must not.

    Where the client says which server a tool belongs to, that holds; else the name must.
    """
    if not event.tool.startswith("mcp_"):
        return False
    if event.mcp_server:
        return event.mcp_server in mcp_names
    marks = ["mcp__{}__"] if event.client != "gemini-cli" else ["mcp__{}__", "mcp_{}_"]
    plain = [_ODD_NAME.sub("_", name) for name in mcp_names]
    return any(event.tool.startswith(mark.format(name)) for mark in marks for name in plain)


def arguments_of(event: HookEvent) -> JsonObject:
    """The arguments that an approval is bound to: the native ones.

    The words with which an agent describes its own command are left out: they change with every retry and
    nothing runs by them.
    """
    if event.event and _table(event).get(event.tool) == SHELL and _PROSE in event.input:
        return {name: value for name, value in event.input.items() if name != _PROSE}
    return event.input


def parts_of(event: HookEvent, *, home: str = "") -> tuple[Part, ...]:
    """What the call does, by the policy's names; one part for a tool that is not taken apart.

    An agent chooses the names of its arguments as well: where several could be the one that the tool
    reads, each is judged.
    """
    name = _table(event).get(event.tool)
    if name is None:
        return (Part(tool=_unmapped(event), arguments=event.input),)
    if name == SHELL:
        return _shell(event, home)
    if name == FETCH:
        return _bounded(_fetches(event), "http/_complex", event)
    if name == PATCH:
        return _bounded(_patches(event, home), "file/_complex", event)
    if name.startswith(("file/", "notebook/")):
        return _bounded(_files(name, event, home), "file/_complex", event)
    return (Part(tool=name, arguments=event.input),)


def _bounded(parts: tuple[Part, ...], rest: str, event: HookEvent) -> tuple[Part, ...]:
    """Not more parts than a person reads and a policy judges in no time: the rest is not understood."""
    if len(parts) <= MAX_PARTS:
        return parts
    return (*parts[:MAX_PARTS], Part(tool=rest, arguments=event.input))


def _table(event: HookEvent) -> Mapping[str, str]:
    return TABLES.get(event.client, {})


def _unmapped(event: HookEvent) -> str:
    """The name as it is; `bash` in Airlock's own payload is `exec/run`, as its documentation has it."""
    if not event.event and event.client == "claude-code" and event.tool == "bash":
        return "exec/run"
    if event.client == "gemini-cli" and event.mcp_server and event.tool.startswith("mcp_"):
        bare = event.tool.removeprefix(f"mcp__{event.mcp_server}__").removeprefix(f"mcp_{event.mcp_server}_")
        return f"mcp__{event.mcp_server}__{bare}"
    return event.tool


def _shell(event: HookEvent, home: str) -> tuple[Part, ...]:
    from airlock.hooks.shell import split, split_words

    native = arguments_of(event)
    commands: list[Any] = [native[name] for name in _COMMANDS if name in native] or [None]
    folders = [native[name] for name in _WORKDIRS.get(event.client, ()) if name in native]
    cwds = dict.fromkeys(absolute(one, event.cwd) for one in folders if isinstance(one, str) and one)
    rest = {name: value for name, value in native.items() if name not in _OURS}
    parts: dict[str, Part] = {}
    for cwd in cwds or [event.cwd]:
        for command in commands:
            read = split_words if isinstance(command, list) else split
            for part in read(command, cwd, home=home):
                whole = {**rest, **part.arguments} if part.tool.startswith("bash/") else part.arguments
                parts.setdefault(f"{part.tool}\0{whole!r}", Part(tool=part.tool, arguments=whole))
    return tuple(parts.values())


def absolute(path: str, cwd: str) -> str:
    """The lexical absolute path, as the clients' own tools make it; relative where no `cwd` is known."""
    joined = posixpath.normpath(posixpath.join(cwd, path))
    return "/" + joined.lstrip("/") if joined.startswith("//") else joined


def _texts(value: Any) -> list[str]:
    """Every path or URL in a value: a text, a list of them, objects that name one."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    if isinstance(value, dict):
        return [text for name in _PATHS if isinstance(value.get(name), str) for text in _texts(value[name])]
    return []


def _places(text: str, cwd: str, home: str) -> list[str]:
    """The absolute paths that a tool may make of this text; empty when that cannot be told."""
    plain = text.strip()
    if _ODD_PATH.search(text):
        return []
    found = [absolute(text, cwd), absolute(plain, cwd)]
    if plain.startswith("~"):
        if not home or plain[1:2] not in {"", "/"}:
            return []
        found.append(absolute(home + plain[1:], cwd))
    return found


def _located(name: str, arguments: JsonObject, places: list[str], *, sure: bool) -> tuple[Part, ...]:
    """One part for each path; `file/_complex` beside them when there may be more."""
    rest = {key: value for key, value in arguments.items() if key != "path"}
    parts = [Part(tool=name, arguments={**rest, "path": path}) for path in dict.fromkeys(places)]
    if not parts:
        parts.append(Part(tool=name, arguments=rest))
    if not sure:
        parts.append(Part(tool="file/_complex", arguments=arguments))
    return tuple(parts)


def _files(name: str, event: HookEvent, home: str) -> tuple[Part, ...]:
    texts = [text for key in (*_PATHS, *_MANY_PATHS) for text in _texts(event.input.get(key))]
    pattern = event.input.get("pattern")
    sure = True
    if name in {"file/glob", "file/grep", "file/list"}:
        texts = texts or ["."]
        if name == "file/glob" and isinstance(pattern, str):
            fixed = re.split(r"[*?\[{(!]", pattern, maxsplit=1)[0]
            open_end = pattern[len(fixed) :]
            sure = ".." not in open_end and not re.search(r"[{(][^{(})]*[/~]", open_end)
            texts = [posixpath.join(text, fixed.rpartition("/")[0] or fixed[:1]) for text in texts]
    found = [_places(text, event.cwd, home) for text in texts]
    return _located(name, event.input, [path for one in found for path in one], sure=sure and all(found))


def _fetches(event: HookEvent) -> tuple[Part, ...]:
    """One part for each URL, with its `host`; a URL that readers read differently adds `http/_complex`."""
    urls: list[str] = []
    for key in _URLS.get(event.client, ("url", "urls")):
        texts = _texts(event.input.get(key))
        if key == "prompt":
            texts = [url.rstrip(".,;:!?)") for text in texts for url in _URL_IN_TEXT.findall(text)]
        urls += texts
    parts: list[Part] = []
    for url in dict.fromkeys(urls):
        host, sure = host_of(url)
        arguments = {**event.input, "url": url, "host": host}
        parts.append(Part(tool=FETCH, arguments=arguments))
        if not sure:
            parts.append(Part(tool="http/_complex", arguments=arguments))
    rest = {key: value for key, value in event.input.items() if key != "host"}
    return tuple(parts) or (Part(tool=FETCH, arguments=rest),)


def _patches(event: HookEvent, home: str) -> tuple[Part, ...]:
    """The files that a patch names; `file/_complex` when it names none."""
    text = "\n".join(one for key in (*_COMMANDS, "input", "patch") for one in _texts(event.input.get(key)))
    parts: list[Part] = []
    for action, path in _PATCHED.findall(text):
        places = _places(path, event.cwd, home)
        name = "file/edit" if action == "Update" else "file/write"
        parts += _located(name, event.input, places, sure=bool(places))
    return tuple(parts) or (Part(tool="file/_complex", arguments=event.input),)
