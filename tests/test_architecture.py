"""The floors of design.md, read from the imports: who may know whom, and which library lives where."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "airlock"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOOR_0 = {"errors", "values", "words", "model"}
FLOOR_2 = {"queue", "gate", "joins", "hookdesk"}
ADAPTERS = {"store", "notify", "proxy", "web"}
PEOPLE = {"cli", "__main__", "stdiocli", "hookcli"}

LIBRARIES = {
    "yaml": {"loader.reader", "cli"},
    "cel": {"matching.cel"},
    "regorus": {"web.compat.firewall.rego.child"},
    "re2": {"matching.regexes"},
    "tree_sitter": {"hooks"},
    "tree_sitter_bash": {"hooks"},
    "aiosqlite": {"store"},
    "sqlite3": {"store"},
    "mcp": {"proxy"},
    "mcp_types": {"proxy"},
    "httpx2": {"proxy", "web"},
    "phonenumbers": {"web"},
    "httptools": {"proxy", "listener"},
    "truststore": {"proxy"},
    "starlette": {"web"},
    "h11": {"outgoing"},
    "uvloop": {"stdiocli", "cli"},
    "uvicorn": {"listener"},
    "cryptography": {"web", "signing"},
    "click": {"cli"},
    "rich": {"cli"},
}
"""Every third-party library, and the one place (a folder, or a module of one) that may import it."""


def place_of(file: Path) -> str:
    """The top-level module or folder a file belongs to."""
    first = file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def floor_of(place: str) -> int:
    if place in FLOOR_0:
        return 0
    if place in FLOOR_2:
        return 2
    if place in ADAPTERS:
        return 3
    if place in {"runtime", "serving", "listener", "inventory", "hookrun", "logins"}:
        return 4
    return 5 if place in PEOPLE else 1


def imports_of(file: Path) -> Iterator[tuple[str, str]]:
    """(top-level module, dotted rest) of every import of a file, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                yield top, rest
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            top, _, rest = node.module.partition(".")
            if rest or top != "airlock":
                yield top, rest
            else:
                for alias in node.names:
                    yield top, alias.name


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_imports_only_lower_floors_and_its_own_library(file: Path) -> None:
    place = place_of(file)
    if place == "__init__":
        return
    for top, rest in imports_of(file):
        if top == "airlock":
            other = rest.partition(".")[0]
            if not other or other in {"__version__", place}:
                continue
            assert floor_of(other) <= floor_of(place), f"{file.name} imports the higher floor `{other}`"
            if place in ADAPTERS:
                assert other not in ADAPTERS, f"{place} imports the adapter `{other}`"
            if place in PEOPLE:
                assert other not in ADAPTERS, f"{place} reaches past the wiring into `{other}`"
        elif top not in sys.stdlib_module_names:
            assert top in LIBRARIES, f"`{top}` has no row in the libraries table"
            module = module_of(file).removeprefix("airlock.")
            assert {place, module} & LIBRARIES[top], (
                f"{file.name} imports `{top}`, which belongs to {LIBRARIES[top]}"
            )


def top_level_imports(file: Path) -> Iterator[str]:
    """The modules of ours that are imported when this one is (not inside functions, not for types only)."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("airlock"):
            names = {alias.name for alias in node.names}
            for name in names:
                inner = f"{node.module}.{name}".replace(".", "/")
                if (PACKAGE.parent / f"{inner}.py").exists():
                    yield f"{node.module}.{name}"
                else:
                    yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("airlock"))


def module_of(file: Path) -> str:
    dotted = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


def test_no_import_cycles() -> None:
    graph = {module_of(file): set(top_level_imports(file)) for file in FILES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for other in sorted(graph.get(module, ())):
            if other != module:
                visit(other, (*path, module))
        done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_stay_under_400_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400


def test_only_the_gate_constructs_a_proceed() -> None:
    makers = [
        file.relative_to(PACKAGE).as_posix()
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id == "Proceed")
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "Proceed")
        )
    ]
    assert makers == ["gate.py"], "a Proceed is made in one function of the gate"


EDGES = {
    "gate.py",  # a defect of ours refuses the call
    "queue/desk.py",  # a notifier's failure changes no verdict
    "cli/main.py",  # a person never sees a traceback
    "hookcli.py",  # a hook ends with a decision, whatever happens
    "web/hook.py",  # so does one over HTTP
    "listener/connection.py",  # a request that comes whole gets its 500, as one in a task does
    "matching/cel.py",  # the engine's panics are not Exceptions
}
"""Where everything may be caught, and why. Each has a test that makes it fire."""


def swallows_everything(node: ast.AST) -> bool:
    """True for a handler, or a `suppress`, of everything that does not raise again."""
    if isinstance(node, ast.ExceptHandler):
        last = node.body[-1]
        return names_everything(node.type) and not (isinstance(last, ast.Raise) and last.exc is None)
    is_suppress = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress")
    return is_suppress and any(names_everything(one) for one in node.args)


def names_everything(node: ast.expr | None) -> bool:
    return node is None or bool({"Exception", "BaseException"} & set(re.findall(r"\w+", ast.unparse(node))))


def test_everything_is_caught_only_at_the_named_edges() -> None:
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if swallows_everything(node)
    }
    assert found <= EDGES


CONNECTS = {
    "reach.py": "for `outgoing.py`: where an agent, or a program over an API, chose the address",
    "outgoing.py": "speaks over the socket that `reach.py` connected",
    "hookwire.py": "to the gateway that the hook was set up for",
    "cli/overhttp.py": "to the gateway that a person set up",
    "proxy/upstream/http_client.py": "to the servers that the config names",
    "proxy/upstream/sse.py": "to the servers that the config names",
    "proxy/login/guard.py": "where such a server leads a login, never further inside than itself",
    "web/compat/firewall/nlp/endpoint.py": "to the servers of models that the config names",
}
"""Who opens a connection, and who chose where it goes (docs/threats.md)."""

CONNECTING = re.compile(
    r"open_connection|create_connection|sock_connect|AsyncClient\(|HTTPS?Connection\b|urlopen|\.connect\(address"
)


def test_connections_are_opened_only_where_it_is_known_who_chose_the_place() -> None:
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in FILES
        if CONNECTING.search(file.read_text(encoding="utf-8"))
    }
    assert found == set(CONNECTS)
