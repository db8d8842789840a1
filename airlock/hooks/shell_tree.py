"""The walk over the syntax tree of one shell line.

Every node type is either known here or a doubt. Between the pieces of a statement only blanks may lie:
text that the parser passed over is a doubt too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from airlock.hooks import shell_names as names
from airlock.hooks.shell_parts import Cwds, Flow, Parts, union
from airlock.hooks.shell_reading import GAP_IN_LINE, JOINING, WORDS
from airlock.hooks.shell_redirects import MOVES, Redirections, goes_on
from airlock.hooks.shell_words import Word, WordKind, literal

_parser = Parser(Language(tree_sitter_bash.language()))

_DASH = re.compile(r"[ \t]+-[ \t]*")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_SAFE_TEST = re.compile(
    r"""\[\[?[ ]+(?:![ ]+)?(?:
        -[nzfdersLhwx][ ]+"\$\{?\w+\}?"
      | "\$\{?\w+\}?"[ ]+(?:=|==|!=)[ ]+(?:"[\w ./-]*"|[\w./-]+)
    )[ ]+\]?\]""",
    re.VERBOSE | re.ASCII,
)

_TEST_LEAVES = WORDS | names.words("[ ] [[ ]] = == != =~ ! && || test_operator")
TOKENS = names.words(
    """
    ; & && || | |& ;; ;& ;;& ( ) { } $( ` <( >( ! in do done if then fi elif else while until for
    case esac [ ] [[ ]] (( )) $(( :
    """
) | {"\n"}


def parse(source: str) -> Node:
    """The tree of a line; places in it are places in `source`."""
    # One byte a character keeps byte places equal to character places; what stands outside ASCII is
    # never syntax, and is read from `source`.
    return _parser.parse(_BEYOND_ASCII.sub("x", source).encode("ascii")).root_node


class Walker(Redirections):
    """Walks one line; what it finds goes into `parts`."""

    def __init__(self, source: str, parts: Parts, depth: int) -> None:
        super().__init__(source, parts, depth)
        self.walks: dict[str, Callable[[Node, Cwds], Flow]] = {
            "program": self.block,
            "list": self.joined,
            "pipeline": self.apart,
            "subshell": self.apart,
            "command_substitution": self.apart,
            "process_substitution": self.apart,
            "compound_statement": self.compound,
            "negated_command": self.negated,
            "redirected_statement": self.redirected,
            "command": self.command,
            "test_command": self.test,
            "variable_assignment": self.assignment,
            "variable_assignments": self.block,
            "declaration_command": self.declaration,
            "unset_command": self.declaration,
            "if_statement": self.branches,
            "elif_clause": self.branches,
            "else_clause": self.branches,
            "case_statement": self.case,
            "case_item": self.case,
            "while_statement": self.loop,
            "for_statement": self.loop,
            "do_group": self.block,
            "function_definition": self.function,
            "comment": self.comment,
            "heredoc_redirect": self.lone_redirect,
            "file_redirect": self.lone_redirect,
            "herestring_redirect": self.lone_redirect,
        }

    def walk(self, node: Node, cwds: Cwds) -> Flow:
        """Any node that is a statement."""
        method = self.walks.get(node.type)
        if method is not None and not node.is_missing:
            return method(node, cwds)
        if node.type in WORDS:
            self.word(node, cwds)
        else:
            self.parts.doubt("syntax that is not understood")
            for child in node.named_children:
                self.walk(child, cwds)
        return cwds, cwds

    # statements

    def block(self, node: Node, cwds: Cwds) -> Flow:
        """Statements one after another, each wherever the one before may have led."""
        children = node.children
        self.tight(node, children)
        flow: Flow = (cwds, cwds)
        for child in children:
            if child.is_named:
                flow = self.walk(child, union(*flow))
            elif child.type not in TOKENS:
                self.parts.doubt(f"`{child.type}` where it is not expected")
        return flow

    def joined(self, node: Node, cwds: Cwds) -> Flow:
        """`A && B`, `A || B`."""
        children = node.children
        self.tight(node, children)
        if len(children) != 3 or children[1].type not in {"&&", "||"}:
            self.parts.doubt("a list that is not understood")
            return self.block(node, cwds)
        good, bad = self.walk(children[0], cwds)
        if children[1].type == "&&":
            after, failed = self.walk(children[2], good)
            return after, union(bad, failed)
        after, failed = self.walk(children[2], bad)
        return union(good, after), failed

    def apart(self, node: Node, cwds: Cwds) -> Flow:
        """What runs in shells of its own: its directory changes end with it."""
        children = node.children
        if node.type == "pipeline":  # zsh runs the last piece in the shell itself
            self.tight(node, children)
            flows = [self.walk(child, cwds) for child in children if child.is_named]
            after = union(cwds, *flows[-1]) if flows else cwds
            return after, after
        if children and children[0].type == "`" and "\\" in self.text(node):
            self.parts.doubt("a backslash inside backticks")
        self.block(node, cwds)
        return cwds, cwds

    def compound(self, node: Node, cwds: Cwds) -> Flow:
        """`{ …; }`; arithmetic in double parentheses is not understood."""
        if node.children and node.children[0].type == "((":
            self.parts.doubt("arithmetic")
            self.substitutions(node, cwds)
            return cwds, cwds
        return self.block(node, cwds)

    def negated(self, node: Node, cwds: Cwds) -> Flow:
        """`! A`."""
        good, bad = self.block(node, cwds)
        return bad, good

    def branches(self, node: Node, cwds: Cwds) -> Flow:
        """`if` and its clauses: afterwards the shell may be wherever any of them led."""
        after = union(cwds, *self.block(node, cwds))
        return after, after

    def case(self, node: Node, cwds: Cwds) -> Flow:
        """`case`: its word and patterns run nothing by themselves; its items do."""
        self.tight(node, node.children)
        after = cwds
        values = {child.id for child in node.children_by_field_name("value")}
        for child in node.children:
            if child.id in values:
                self.word(child, cwds, pattern=True)
            elif child.is_named:
                after = union(after, *self.walk(child, union(cwds, after)))
            elif child.type not in TOKENS:
                self.parts.doubt(f"`{child.type}` where it is not expected")
        return after, after

    def loop(self, node: Node, cwds: Cwds) -> Flow:
        """`for`, `while`, `until`: a directory change inside may happen any number of times."""
        self.tight(node, node.children)
        if node.children[0].type == "select" or (
            node.type == "for_statement" and not node.children_by_field_name("value")
        ):
            self.parts.doubt("a loop over what is not written there")
        variable = node.child_by_field_name("variable")
        flow: Flow = (cwds, cwds)
        for child in node.children:
            if variable is not None and child.id == variable.id:
                if self.text(child) not in names.LOOP_VARIABLES:
                    self.parts.doubt(f"sets the variable `{self.text(child)[:40]}`")
            elif child.is_named:
                flow = self.walk(child, union(*flow))
        after = union(cwds, *flow)
        if after != cwds:
            self.parts.doubt("a directory change inside a loop")
        return after, after

    def function(self, node: Node, cwds: Cwds) -> Flow:
        """A function gives later words another meaning."""
        self.parts.doubt("a function is defined")
        body = node.child_by_field_name("body")
        if body is not None:
            self.walk(body, cwds)
        return cwds, cwds

    def comment(self, node: Node, cwds: Cwds) -> Flow:
        """A comment begins where a word could."""
        before = self.source[node.start_byte - 1 : node.start_byte] if node.start_byte else ""
        if before not in {"", " ", "\t", "\n", ";", "&", "|", "(", ")"} or not self.text(node).startswith(
            "#"
        ):
            self.parts.doubt("a `#` inside a word")
        return cwds, cwds

    def assignment(self, node: Node, cwds: Cwds) -> Flow:
        """`NAME=VALUE`."""
        name = node.child_by_field_name("name")
        if name is None or name.type != "variable_name":
            self.substitutions(node, cwds)
            self.parts.doubt("an assignment that is not understood")
            return cwds, cwds
        value = node.child_by_field_name("value")
        if value is not None and value.type == "array":
            self.parts.doubt("an array")
        self.parts.assign(self.word(node, cwds))
        return cwds, cwds

    def declaration(self, node: Node, cwds: Cwds) -> Flow:
        """`export NAME=VALUE` with harmless names; everything else of its kind is a doubt."""
        self.tight(node, node.children, GAP_IN_LINE)
        words = [self.word(child, cwds) for child in node.children]
        if not words:
            return cwds, cwds
        fine = words[0].text == "export" and all(
            child.type == "variable_assignment" for child in node.named_children
        )
        if fine:
            for word in words[1:]:
                self.parts.assign(word)
            self.parts.declare(tuple(words), self.text(node), cwds)
            return cwds, cwds
        return self.parts.run(tuple(words), self.text(node), cwds, self.depth)

    def test(self, node: Node, cwds: Cwds) -> Flow:
        """`[ … ]` and `[[ … ]]` are `bash/test`; evaluating operands is a doubt."""
        self.substitutions(node, cwds)
        text = self.text(node)
        opening = node.children[0].type
        leaves = [leaf for leaf in _leaves(node) if leaf.start_byte < leaf.end_byte]
        words = [self.operand(leaf, cwds) for leaf in leaves]
        self.tight(node, leaves, GAP_IN_LINE)
        touching = any(one.end_byte == two.start_byte for one, two in pairwise(leaves))
        joins = opening == "[" and {"&&", "||"} & {leaf.type for leaf in leaves}
        if touching or joins or any(leaf.type not in _TEST_LEAVES for leaf in leaves):
            self.parts.doubt("a test that is not understood")
        evaluates = opening not in {"[", "[["} or any(
            re.fullmatch(r"-(?:v|R|t|eq|ne|lt|le|gt|ge|a|o)", word.text) for word in words
        )
        plain = all(
            word.kind is WordKind.NUMBER or (word.literal and not re.search(r".[\[$`]", word.text))
            for word in words
        )
        numbers = opening == "[" and plain and "-v" not in text and "-R" not in text
        unknown = any(word.kind in {WordKind.OPAQUE, WordKind.GLOB} for word in words)
        if (evaluates and not numbers) or (unknown and not _SAFE_TEST.fullmatch(text)):
            self.parts.doubt("a test that evaluates what is known only when it runs")
        self.parts.test(text, tuple(words), cwds)
        return cwds, cwds

    def operand(self, leaf: Node, cwds: Cwds) -> Word:
        """A word or an operator of a test."""
        return self.word(leaf, cwds, pattern=True) if leaf.type in WORDS else literal(self.text(leaf))

    # commands and redirections

    def command(self, node: Node, cwds: Cwds, extra: Sequence[Word] = ()) -> Flow:
        """A simple command; `extra` are words that stand behind its redirections."""
        words: list[Word] = []
        children = node.children
        self.tight(node, children, GAP_IN_LINE)
        runs = self.runs(children)
        self.separate(runs)
        for run in runs:
            child = run[0]
            if child.type in JOINING or (not child.is_named and child.type not in TOKENS):
                words.append(self.joined_word(run, cwds))
            elif child.type == "variable_assignment" and not words:
                self.assignment(child, cwds)
            elif child.type in {"file_redirect", "herestring_redirect", "heredoc_redirect"}:
                words += self.redirect(child, cwds)
            else:
                self.parts.doubt("syntax that is not understood")
                self.walk(child, cwds)
        words += extra
        return self.parts.run(tuple(words), self.text(node), cwds, self.depth) if words else (cwds, cwds)

    def redirected(self, node: Node, cwds: Cwds) -> Flow:
        """A statement with redirections: the statement first, then the files."""
        children = node.children
        body = node.child_by_field_name("body")
        rest = [child for child in children if body is None or child.id != body.id]
        if body is None or body.type == "command":
            return self._redirected_command(node, body, rest, cwds)
        self.tight(node, children, GAP_IN_LINE)
        self.separate([[body], *([one] for one in rest)])
        flow = self.walk(body, cwds)
        # The parser hangs the redirection of `cd a && b > f` on the whole list; the shell opens it in `a`.
        if [word for child in rest for word in self.redirect(child, union(cwds, *flow))]:
            self.parts.doubt("words behind a redirection")
        return flow

    def _redirected_command(self, node: Node, body: Node | None, rest: list[Node], cwds: Cwds) -> Flow:
        outer, self.parts.found = self.parts.found, {}
        extra = [word for child in rest for word in self.redirect(child, cwds)]
        if body is not None and rest and _DASH.fullmatch(self.source, body.end_byte, rest[0].start_byte):
            extra.insert(0, literal("-"))  # the parser drops this word in `python - <<END`
        else:
            self.tight(node, node.children, GAP_IN_LINE)
        files, self.parts.found = self.parts.found, outer
        flow: Flow = (cwds, cwds)
        if body is not None:
            self.separate([[body], *([one] for one in rest)])
            flow = self.command(body, cwds, extra)
            if union(cwds, *flow) != cwds and any(
                goes_on(inner) for child in rest for inner in child.children
            ):
                self.parts.doubt(MOVES)
        elif extra:
            self.parts.doubt("words behind a redirection")
        for part in files.values():
            self.parts.add(part.tool, part.arguments)
        return flow


def _leaves(node: Node) -> list[Node]:
    """The words and operators of a test, in order."""
    if node.type in WORDS or not node.children:
        return [node]
    return [leaf for child in node.children for leaf in _leaves(child)]
