"""Redirections and here-documents: the files that the shell itself opens."""

from __future__ import annotations

import re

from tree_sitter import Node

from airlock.hooks.shell_parts import Cwds, Flow, union
from airlock.hooks.shell_reading import GAP_IN_LINE, WORDS, Reading
from airlock.hooks.shell_words import Misread, Word, read_body

MOVES = "a directory change on a line that begins a here-document"

_PIECES = WORDS | {
    "heredoc_start", "heredoc_body", "heredoc_end", "heredoc_redirect", "file_redirect",
    "herestring_redirect", "file_descriptor",
}  # fmt: skip


def goes_on(child: Node) -> bool:
    """True for a statement behind the delimiter (`<<E && ls`): the parser puts it into the document."""
    return child.is_named and child.type not in _PIECES


class Redirections(Reading):
    """Each redirection becomes a `file/read` or `file/write` part; what else stands there is kept."""

    def lone_redirect(self, node: Node, cwds: Cwds) -> Flow:
        """A redirection where a statement is expected: `$(< file)`."""
        if self.redirect(node, cwds):
            self.parts.doubt("words behind a redirection")
        return cwds, cwds

    def redirect(self, node: Node, cwds: Cwds) -> list[Word]:
        """One redirection becomes a file part; returns words that belong to the command."""
        if not re.match(r"[0-9]?[<>&]", self.text(node)):
            self.parts.doubt("a word that touches a redirection")  # the parser takes `-f2` for a descriptor
        if node.type == "herestring_redirect":
            self.tight(node, node.children, GAP_IN_LINE)
            for child in node.named_children:
                self.word(child, cwds)
            return []
        if node.type == "heredoc_redirect":
            return self.heredoc(node, cwds)
        if node.type != "file_redirect" or node.is_missing:
            self.walk(node, cwds)
            return []
        self.tight(node, node.children, GAP_IN_LINE)
        operator = next((child.type for child in node.children if not child.is_named), "")
        words = [self.joined_word(run, cwds) for run in self.runs(node.children_by_field_name("destination"))]
        if not words:
            if operator not in {">&-", "<&-"}:
                self.parts.doubt("a redirection that is not understood")
            return []
        self.open(operator, words[0], self.text(node), cwds)
        return words[1:]

    def open(self, operator: str, word: Word, text: str, cwds: Cwds) -> None:
        """The file that a redirection opens, unless it only copies a descriptor."""
        if operator in {">&", "<&"} and re.fullmatch(r"[0-9]+|-", word.raw):
            return
        if operator == ">&" and not re.fullmatch(r"[A-Za-z_./][\w./-]*", word.raw, re.ASCII):
            self.parts.doubt("a copy of a descriptor that is not understood")
        if word.raw.startswith("!"):
            self.parts.doubt("`>!` means something else in zsh")
        if operator == "<":
            self.parts.file("read", word, text, cwds)
        elif operator in {">", ">>", ">|", "&>", "&>>", ">&"}:
            self.parts.file("write", word, text, cwds)
        else:
            self.parts.doubt(f"the redirection `{operator}`")

    def heredoc(self, node: Node, cwds: Cwds) -> list[Word]:
        """A here-document: its text is input, expansions in it run, and more may follow its delimiter."""
        extra: list[Word] = []
        pieces = {child.type: child for child in node.children}
        if not self._delimited(pieces):
            self.parts.doubt("a here-document that is not understood")
        self.tight(node, node.children)
        for child in node.children:
            if child.type == "heredoc_body":
                self._heredoc_body(child, pieces, cwds)
            elif child.type in {"file_redirect", "herestring_redirect"}:
                extra += self.redirect(child, cwds)
            elif child.type == "heredoc_redirect":
                self.parts.doubt("several here-documents")
                extra += self.redirect(child, cwds)
            elif child.type in WORDS:
                extra.append(self.word(child, cwds))
            elif goes_on(child) and union(cwds, *self.walk(child, cwds)) != cwds:
                self.parts.doubt(MOVES)
        return extra

    def _delimited(self, pieces: dict[str, Node]) -> bool:
        """True when the document ends for the shell exactly where the parser says so."""
        start, end = pieces.get("heredoc_start"), pieces.get("heredoc_end")
        if start is None or end is None:
            return False
        opened = self.text(start)
        name = re.fullmatch(r"(['\"]?)([\w.!-]+)\1", opened)
        line = self.source.find("\n", start.end_byte)
        tabs = "\t*" if "<<-" in pieces else ""
        if name is None or line < 0 or "\\\n" in self.source[start.end_byte : line + 1]:
            return False
        body = pieces.get("heredoc_body")
        if body is not None and not re.fullmatch(tabs, self.source[line + 1 : body.start_byte]):
            return False
        ending = re.compile(rf"^{tabs}{re.escape(name[2])}$", re.MULTILINE)
        found = ending.search(self.source, line + 1)
        return found is not None and found.end() == end.end_byte

    def _heredoc_body(self, body: Node, pieces: dict[str, Node], cwds: Cwds) -> None:
        start = pieces.get("heredoc_start")
        if start is not None and self.text(start)[0] in "'\"":
            return
        try:
            read_body(self.source, body.start_byte, body.end_byte, self.holes(body, cwds))
        except Misread:
            self.parts.doubt("a here-document that is not understood")
