"""The program in which Rego is evaluated: questions on stdin, answers on stdout, each after its length.

It is run by its path, and loads the standard library and the engine, which lies in the folder of its one
argument. Before it reads the first question it gives up what no evaluation needs: it can open no file and no
socket, and grow only so far.
A question is an object with `do`:

`read`    `text` of a policy. The answer: `version`, `package`, `rules`; or `wrong` with `line` and `cause`.
`judge`   `policies`: digests, with `text` where this child has not had it; and `input`. One answer for each
          policy, in order and as soon as it is there: `outputs` by rule name, or `wrong`.

What kills it (a nesting too deep, too much memory, an alarm) is for the other end to see and to refuse.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import struct
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

OUTPUTS = ("deny", "require_approval", "allow", "decision", "reason", "risk_level", "approval_config")
EFFECTIVE = OUTPUTS[:4]
REFUSED = {
    "http.send": "a policy reaches no network",
    "opa.runtime": "a policy sees its input, not the machine",
    "rand.intn": "a decision must come out the same when it is taken again",
    "uuid.rfc4122": "a decision must come out the same when it is taken again",
    "trace": "there is nobody to read it",
}
NOTHING_ELSE = "a policy sees nothing but its input"
KEYWORDS = frozenset({"if", "contains", "in", "every"})
ANSWERS, MOST_OPEN = 3, 1 << 20
GROWTH = 256 << 20
MOST_ANSWER = 256 << 10
LAST_RESORT_S = 3.0
_SPOT = re.compile(r"--> [^\n]*?:(\d+):\d+\n")
_CAUSE = re.compile(r"(?:^|\n)error: *([^\n]+)")
_MISSING_IF = re.compile(r"`(if|contains)` keyword is required")


class Wrong(Exception):
    """A policy is wrong, or its evaluation failed."""

    def __init__(self, cause: str, line: int = 0) -> None:
        self.answer = {"wrong": {"line": line, "cause": cause[:500]}}
        self.cause = cause
        super().__init__(cause)


def main() -> None:
    """Serve until stdin ends."""
    os.dup2(1, ANSWERS)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # whatever the engine prints is no answer
    shelf = Shelf()
    give_up()
    write(ANSWERS, {"ready": True})
    while (question := read(0)) is not None:
        signal.setitimer(signal.ITIMER_REAL, LAST_RESORT_S)  # should the other end be gone: it ends by itself
        if question["do"] == "read":
            write(ANSWERS, shelf.described(question["text"]))
        else:
            for policy in question["policies"]:
                write(ANSWERS, shelf.judged(policy, question["input"]))
        signal.setitimer(signal.ITIMER_REAL, 0)


def give_up() -> None:
    """No more files, sockets or cores, nor any that were open; memory up to a limit."""
    most = mapped() + GROWTH
    # uvloop hands on all that whoever started the gateway had left open, and copies of its own.
    os.closerange(ANSWERS + 1, MOST_OPEN)
    resource.setrlimit(resource.RLIMIT_NOFILE, (ANSWERS + 1, ANSWERS + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # macOS knows this limit and does not hold it
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def mapped() -> int:
    """The address space in use: the engine's allocator sets a gigabyte aside and touches little of it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 2 << 30


def read(source: int) -> dict[str, Any] | None:
    """The next question; None at the end."""
    head = exactly(source, 4)
    return None if head is None else json.loads(exactly(source, struct.unpack(">I", head)[0]) or b"null")


def exactly(source: int, count: int) -> bytes | None:
    """So many bytes, None when there are no more."""
    whole = b""
    while len(whole) < count:
        piece = os.read(source, count - len(whole))
        if not piece:
            return None
        whole += piece
    return whole


def write(target: int, answer: dict[str, Any]) -> None:
    """One answer."""
    try:
        body = json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        body = json.dumps(Wrong("its outputs cannot be written as JSON").answer).encode()
    if len(body) > MOST_ANSWER:
        body = json.dumps(Wrong(f"its outputs are larger than {MOST_ANSWER} bytes").answer).encode()
    rest = memoryview(struct.pack(">I", len(body)) + body)
    while rest:
        rest = rest[os.write(target, rest) :]


class Shelf:
    """Policies that were read before, by the digest of their text: each is parsed once."""

    def __init__(self) -> None:
        engine = engine_with("package names\nfound := opa.runtime().builtins", old=False)
        self._builtins = {*value_of(engine, "data.names.found"), "print"} - set(REFUSED)
        self._read: dict[str, Policy | Wrong] = {}

    def described(self, text: str) -> dict[str, Any]:
        """What a policy is, or what is wrong with it."""
        try:
            policy = Policy(text, self._builtins)
            policy.judge("{}")
        except Wrong as wrong:
            return wrong.answer
        return {"version": policy.version, "package": policy.package, "rules": policy.rules}

    def judged(self, policy: dict[str, Any], given: str) -> dict[str, Any]:
        """The outputs of one policy."""
        found = self._found(policy["digest"], policy["text"])
        if isinstance(found, Wrong):
            return found.answer
        try:
            return {"outputs": found.judge(given)}
        except Wrong as wrong:
            return wrong.answer

    def _found(self, digest: str, text: str) -> Policy | Wrong:
        if digest not in self._read:
            try:
                self._read[digest] = Policy(text, self._builtins)
            except Wrong as wrong:
                self._read[digest] = wrong
        return self._read[digest]


class Policy:
    """One policy, parsed and looked through."""

    def __init__(self, text: str, builtins: set[str]) -> None:
        self._engine, self.version = parsed(text)
        tree = tree_of(self._engine)
        path = path_of(tree["package"]["refr"])
        self.package = ".".join(path)
        heads = [(names, kind) for rule in tree["rules"] for names, kind in heads_of(rule)]
        check_imports(tree)
        functions = {".".join(names) for names, kind in heads if kind == "Func"}
        local = functions | {f"data.{self.package}.{name}" for name in functions}
        check_calls(tree["rules"], builtins | local)
        check_data(tree["rules"], ["data", *path])
        found = {names[0] for names, kind in heads if kind != "Func"}
        self.rules = [name for name in OUTPUTS if name in found]
        if not found & set(EFFECTIVE):
            raise Wrong(f"it has none of the rules {', '.join(f'`{one}`' for one in EFFECTIVE)}", 1)
        self.judge("{}")  # what is wrong for every input comes out, before anything is written into it
        self._engine = engine_with(demanding(text, tree), old=self.version == 0)

    def judge(self, given: str) -> dict[str, Any]:
        """Its outputs by name; what is undefined is not among them."""
        engine = self._engine.clone()  # nothing of one evaluation is left for the next
        try:
            engine.set_input_json(given)
            found = {name: value_of(engine, f"data.{self.package}.{name}") for name in self.rules}
        except RuntimeError as error:
            raise told(error) from None
        return {name: value for name, value in found.items() if value is not UNDEFINED}


UNDEFINED = object()


def value_of(engine: Any, query: str) -> Any:
    """What a reference is, UNDEFINED when it is nothing."""
    results = json.loads(engine.eval_query_as_json(query)).get("result")
    return results[0]["expressions"][0]["value"] if results else UNDEFINED


def parsed(text: str) -> tuple[Any, int]:
    """The engine with a policy, and the version of Rego: 1 if it can be read as that, else 0."""
    try:
        return engine_with(text, old=False), 1
    except Wrong as wrong:
        modern = wrong
    if not _MISSING_IF.search(modern.cause):
        raise modern
    engine = engine_with(text, old=True)
    heads = {names[0] for rule in tree_of(engine)["rules"] for names, _ in heads_of(rule)}
    if heads & KEYWORDS:  # `allow if {` of version 1 is `allow`, always, and a rule `if` in version 0
        raise modern
    return engine, 0


def engine_with(text: str, *, old: bool) -> Any:
    """An engine that has read one policy; Wrong when it cannot be read."""
    import regorus

    engine = regorus.Engine()
    engine.set_rego_v0(old)
    engine.set_gather_prints(True)
    try:
        engine.add_policy("policy", text)
    except RuntimeError as error:
        raise told(error) from None
    return engine


def tree_of(engine: Any) -> dict[str, Any]:
    """The syntax tree of its one policy."""
    tree: dict[str, Any] = json.loads(engine.get_ast_as_json())[0]["ast"]
    return tree


def told(error: Exception) -> Wrong:
    """What the engine says, as a line and a cause."""
    text = str(error).partition("Stack backtrace")[0].strip()
    spot, cause = _SPOT.search(text + "\n"), _CAUSE.search(text)
    return Wrong(cause[1] if cause else " ".join(text.split()), int(spot[1]) if spot else 0)


def heads_of(rule: dict[str, Any]) -> Iterator[tuple[list[str], str]]:
    """The name that a rule defines, and in which form."""
    if "Default" in rule:
        yield path_of(rule["Default"]["refr"]), "Func" if rule["Default"]["args"] else "Default"
    else:
        ((form, head),) = rule["Spec"]["head"].items()
        yield path_of(head["refr"]), form


def path_of(refr: dict[str, Any]) -> list[str]:
    """`a.b["c"]` as its names, `*` for a part that is not written out."""
    ((form, node),) = refr.items()
    if form == "Var":
        return [str(node["value"])]
    if form == "RefDot":
        return [*path_of(node["refr"]), str(node["field"][1])]
    if form == "RefBrack":
        index = node["index"].get("String", {"value": "*"})
        return [*path_of(node["refr"]), str(index["value"])]
    return ["*"]


def check_imports(tree: dict[str, Any]) -> None:
    """Only the input and the language itself may be imported."""
    for one in tree["imports"]:
        path = path_of(one["refr"])
        if path[0] not in {"input", "rego", "future"}:
            raise Wrong(f"`import {'.'.join(path)}`: {NOTHING_ELSE}", line_of(one))


def check_calls(rules: list[Any], known: set[str]) -> None:
    """Every function that is called is there."""
    for form, node in nodes(rules):
        if form == "Call":
            name = ".".join(path_of(node["fcn"]))
            if name not in known:
                raise Wrong(f"`{name}`: {REFUSED.get(name, 'there is no such function here')}", line_of(node))


def check_data(rules: list[Any], own: list[str]) -> None:
    """`data` is the policy's own package: of any other document it could only find out that there is none."""
    seen: set[int] = set()
    for form, node in nodes(rules):
        if form not in {"Var", "RefDot", "RefBrack"} or id(node) in seen:
            continue
        inner = node
        while "refr" in inner:  # outermost first: the parts of a reference are no references of their own
            ((_, inner),) = inner["refr"].items()
            seen.add(id(inner))
        path = path_of({form: node})
        if path[0] == "data" and path[: len(own)] != own:
            raise Wrong(f"`{'.'.join(path)}`: {NOTHING_ELSE}", line_of(node))


def nodes(tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of a syntax tree with its kind, outer ones first."""
    rest = [tree]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            for name, value in one.items():
                if isinstance(value, dict) and "span" in value:
                    yield name, value
            rest.extend(one.values())
        elif isinstance(one, list):
            rest.extend(one)


def line_of(node: dict[str, Any]) -> int:
    """The line that a node begins in."""
    return int(node["span"]["line"])


def demanding(text: str, tree: dict[str, Any]) -> str:
    """The policy with, before each `not`, what OPA wants to be there for it.

    In OPA `not f(input.x)` is undefined where `input.x` is; only `not input.x` and `not input.x == y` hold
    then: its compiler takes what a call works on out of the negation. The engine negates all of it.
    """
    mark, source, added = "airlock", text.encode(), defaultdict[int, str](str)
    while mark in text:
        mark += "_"
    named = {path_of(one["refr"])[-1] for one in tree["imports"]}
    named |= {names[0] for rule in tree["rules"] for names, _ in heads_of(rule)} | {"input", "data"}
    for rule in tree["rules"]:
        for query in (one for kind, one in nodes(rule) if kind == "query"):
            wanted = [(stmt, list(demands(stmt, rule, named, source))) for stmt in query["stmts"]]
            braced = query["span"]["start"] != next((one["span"]["start"] for one in query["stmts"]), None)
            if any(parts for _, parts in wanted) and not braced:
                added[query["span"]["start"]] += "{ "
                added[query["span"]["end"]] += " }"
            for stmt, parts in wanted:
                for number, part in enumerate(parts):
                    added[stmt["span"]["start"]] += f"{mark}_{stmt['sidx']}_{number} := {part}; "
    for place in sorted(added, reverse=True):
        source = source[:place] + added[place].encode() + source[place:]
    return source.decode()


def demands(stmt: dict[str, Any], rule: Any, named: set[str], source: bytes) -> Iterator[str]:
    """What must be there for one statement, where it is a negation, as it is written."""
    if "NotExpr" not in stmt["literal"]:
        return
    ((form, node),) = stmt["literal"]["NotExpr"]["expr"].items()
    known = Counter(str(one["value"]) for kind, one in nodes(rule) if kind == "Var")
    known -= Counter(str(one["value"]) for kind, one in nodes(stmt) if kind == "Var")
    spans = [one[part] for kind, one in nodes(rule) if kind == "Every" for part in ("key", "value")]
    bound = named | set(known) | {written(span, source) for span in spans if span}
    for name in indexes(form, node):
        if name == "_" or name not in bound:
            raise Wrong(f"`{name}` under `not`: nothing binds it (`some {name} in …`, before)", line_of(stmt))
    given = "".join(f" {written(one['span'], source)}" for one in stmt.get("with_mods") or ())
    for part in worked_on(form, node, named, own=True, spared=True):
        yield written(part["span"], source) + given


def written(span: dict[str, int], source: bytes) -> str:
    return source[span["start"] : span["end"]].decode()


def indexes(form: str, node: dict[str, Any]) -> Iterator[str]:
    """The variables that stand in brackets, but for those that a comprehension has for itself."""
    if form == "RefBrack" and "Var" in node["index"]:
        yield str(node["index"]["Var"]["value"])
    if not form.endswith("Compr"):
        for inner in inside([*node.values()]):
            yield from indexes(*inner)


def worked_on(form: str, node: Any, named: set[str], *, own: bool, spared: bool) -> Iterator[dict[str, Any]]:
    """The calls and references of a negated expression: `own` is itself, `spared` may be missing."""
    is_path = form in {"RefDot", "RefBrack"}
    is_read = is_path or (form == "Var" and node["value"] in named)
    if (form == "Call" and not own) or (is_read and not spared):
        yield node
    elif not form.endswith("Compr"):
        for name, value in node.items():
            for inner in inside(value if name != "fcn" else None):
                spares = name != "index" and ((is_path and spared) or (own and node.get("op") == "Eq"))
                yield from worked_on(*inner, named, own=False, spared=spares)


def inside(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The expressions that a part of the tree holds, each with its kind."""
    if isinstance(value, list):
        for one in value:
            yield from inside(one)
    elif isinstance(value, dict) and len(value) == 1:
        yield from value.items()


if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    sys.setrecursionlimit(10_000)
    main()
