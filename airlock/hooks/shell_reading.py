"""Words, expansions and the blanks between them: what the tree says, checked against the text itself."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

from tree_sitter import Node

from airlock.hooks.shell_names import words
from airlock.hooks.shell_parts import Cwds, Flow, Parts
from airlock.hooks.shell_words import Hole, Misread, Word, WordKind, read_word

_GAP = re.compile(r"(?:(?:\\\n)*[ \t\n](?:[ \t\n]|\\\n)*)?")
GAP_IN_LINE = re.compile(r"(?:(?:\\\n)*[ \t](?:[ \t]|\\\n)*)?")
# A gap of line continuations alone joins what stands on both sides: that is no gap.
_DESCRIPTOR = re.compile(r"(?:^|[ \t\n])[0-9]+$|\}$")
_NAMED_DESCRIPTOR = re.compile(r"(?:^|[ \t\n])\{\w+\}$")
_NAME_HOLE = re.compile(r"\$(?:(\w+|[?$#!@*-])|\{(\w+)\})", re.ASCII)
_SAYING = re.compile(
    r"\$\([ ]*cat[ ]+<<[ ]*(['\"])([\w.-]+)\1\n(.*?)^\2\n?[ \n]*\)", re.DOTALL | re.MULTILINE
)

WORDS = words(
    """
    word string raw_string ansi_c_string translated_string concatenation number simple_expansion
    expansion command_substitution process_substitution arithmetic_expansion brace_expression
    extglob_pattern regex variable_name
    """
)
HOLES = words(
    """
    simple_expansion expansion command_substitution process_substitution arithmetic_expansion
    """
)
JOINING = WORDS | {"command_name"}
"""What is part of one word when it touches another of these."""


class Reading(ABC):
    """The words of one line, and the text around them."""

    def __init__(self, source: str, parts: Parts, depth: int) -> None:
        self.source = source
        self.parts = parts
        self.depth = depth

    @abstractmethod
    def walk(self, node: Node, cwds: Cwds) -> Flow:
        """Any node that is a statement."""

    def text(self, node: Node) -> str:
        """The text of a node as written."""
        return self.source[node.start_byte : node.end_byte]

    def tight(self, node: Node, children: Sequence[Node], gap: re.Pattern[str] = _GAP) -> None:
        """Nothing but blanks may lie between the children of a node."""
        end = node.start_byte
        for child in children:
            if not gap.fullmatch(self.source, end, child.start_byte):
                self.parts.doubt("text that the parser passed over")
            end = max(end, child.end_byte)
        if not gap.fullmatch(self.source, end, node.end_byte):
            self.parts.doubt("text that the parser passed over")

    def separate(self, runs: Sequence[Sequence[Node]]) -> None:
        """Two words that touch are one word for the shell; a redirection may touch the word before it."""
        for (*_, one), (two, *_) in pairwise(runs):
            if two.type.endswith("_redirect") and _NAMED_DESCRIPTOR.search(self.text(one)):
                self.parts.doubt("`{name}` before a redirection, which zsh takes for a descriptor")
            if one.end_byte != two.start_byte:
                continue
            sign = self.source[two.start_byte : two.start_byte + 1]
            redirects = two.type.endswith("_redirect") and sign in {"<", ">", "&"}
            if not redirects or _DESCRIPTOR.search(self.text(one)):
                self.parts.doubt("words that touch")

    def word(self, node: Node, cwds: Cwds, *, pattern: bool = False) -> Word:
        """The word of a node; commands inside it are walked. A pattern is matched, never passed on."""
        return self.joined_word([node], cwds, pattern=pattern)

    def joined_word(self, nodes: Sequence[Node], cwds: Cwds, *, pattern: bool = False) -> Word:
        """The one word that nodes make which touch each other."""
        start, end = nodes[0].start_byte, nodes[-1].end_byte
        holes = [hole for node in nodes for hole in self.holes(node, cwds)]
        try:
            return read_word(self.source, start, end, holes, self.parts.home)
        except Misread as reason:
            if not pattern:
                self.parts.doubt(str(reason))
            raw = self.source[start:end]
            return Word(raw=raw, text=raw, kind=WordKind.OPAQUE, plain=False)

    def runs(self, children: Sequence[Node]) -> list[list[Node]]:
        """Children of a command, those that make one word together: the parser parts `"a"\\b` in two."""
        runs: list[list[Node]] = []
        for child in children:
            last = runs[-1][-1] if runs else None
            touches = last is not None and last.end_byte == child.start_byte
            if touches and last is not None and {last.type, child.type} <= JOINING:
                runs[-1].append(child)
            else:
                runs.append([child])
        return runs

    def holes(self, node: Node, cwds: Cwds) -> list[Hole]:
        """The expansions of a word, outermost ones only."""
        if node.type in HOLES:
            return [self.hole(node, cwds)]
        return [hole for child in node.children for hole in self.holes(child, cwds)]

    def hole(self, node: Node, cwds: Cwds) -> Hole:
        """One expansion, and the walk over what it runs."""
        start, end, text = node.start_byte, node.end_byte, self.text(node)
        if node.type == "command_substitution":
            self.walk(node, cwds)
            value = self.said(node)
            if value is not None:
                return Hole(start=start, end=end, kind=WordKind.LITERAL, text=value)
            return Hole(start=start, end=end, plain=True)
        if node.type == "process_substitution":
            self.walk(node, cwds)
            return Hole(start=start, end=end)
        named = _NAME_HOLE.fullmatch(text)
        if named is None:
            self.substitutions(node, cwds)
            return Hole(start=start, end=end)
        name = named[1] or named[2]
        if name in {"?", "$", "#", "!"}:
            return Hole(start=start, end=end, kind=WordKind.NUMBER, named=True)
        known = self.parts.home if name == "HOME" else cwds[0] if name == "PWD" and len(cwds) == 1 else ""
        if known:
            return Hole(start=start, end=end, kind=WordKind.LITERAL, text=known, named=True)
        return Hole(start=start, end=end, plain=True, named=True)

    def said(self, node: Node) -> str | None:
        """The value of `$(cat <<'END' …)`, which is its text; None for any other substitution."""
        found = _SAYING.fullmatch(self.text(node))
        if found is None or found[2] in found[3].split("\n"):
            return None  # the text ends at the first line that is its delimiter
        return found[3].rstrip("\n")

    def substitutions(self, node: Node, cwds: Cwds) -> None:
        """Walk the commands inside an expansion or a test."""
        for child in node.named_children:
            if child.type in {"command_substitution", "process_substitution"}:
                self.walk(child, cwds)
            else:
                self.substitutions(child, cwds)
