"""Redirects and heredocs from the syntax tree, with the words that the grammar hangs below them."""

from __future__ import annotations

from typing import Any

from opslore.commands.syntax import Compound, Part, Redirect, Script, Simple, Word, word
from opslore.commands.words import Words

Item = Simple | Compound
Joined = list[tuple[str, Item]]
"""Items with the operator that stands before each."""


class Redirects(Words):
    """Reads the nodes of redirects."""

    def joined(self, nodes: list[Any], depth: int) -> Joined:
        """The statements in these nodes; the class that knows statements implements it."""
        raise NotImplementedError

    def dropped(self, node: Any, body: Any) -> list[Word]:
        """Words between a command and a redirect that the grammar has no node for: `- <<EOF`."""
        after = next((child for child in node.children if child.start_byte >= body.end_byte), None)
        gap = self.source[body.end_byte : after.start_byte] if after else ""
        return [word(text) for text in gap.split()]

    def behind(self, node: Any, depth: int) -> list[Word]:
        """Words behind a redirect's target, which the grammar hangs below it: `>x delete ns y`."""
        children = node.named_children
        if node.type == "heredoc_redirect":
            arguments = node.children_by_field_name("argument")
            inner = [child for child in children if child.type.endswith("_redirect")]
            words = [self.word(child, depth) for child in arguments]
            return words + [found for child in inner for found in self.behind(child, depth)]
        targets = [child for child in children if child.type != "file_descriptor"]
        return [self.word(target, depth) for target in targets[1:]]

    def redirect(self, node: Any, depth: int) -> tuple[list[Redirect], Joined]:
        """A redirect (several, behind a heredoc), and the commands that the grammar hangs below."""
        descriptor = node.child_by_field_name("descriptor")
        number = self.text(descriptor) if descriptor else ""
        if node.type == "heredoc_redirect":
            return self.heredoc(node, number, depth)
        operator = next((child.type for child in node.children if not child.is_named), ">")
        targets = [child for child in node.named_children if child.type != "file_descriptor"]
        target = self.word(targets[0], depth) if targets else word("")
        return [Redirect(operator, number, target)], []

    def heredoc(self, node: Any, number: str, depth: int) -> tuple[list[Redirect], Joined]:
        """A heredoc; the grammar hangs what follows `<<EOF` on the same line below it."""
        start, body = "", ""
        scripts: tuple[Script, ...] = ()
        redirects: list[Redirect] = []
        operator = "<<"
        following: list[Any] = []
        arguments = node.children_by_field_name("argument")
        for child in node.children:
            if child.type in ("<<", "<<-"):
                operator = child.type
            elif child.type == "heredoc_start":
                start = self.text(child)
            elif child.type == "heredoc_body":
                body, scripts = self.text(child), self.inner(child, depth)
            elif child.type.endswith("_redirect"):
                redirects += self.redirect(child, depth)[0]
            elif child.type != "heredoc_end" and child not in arguments:
                following += child.children if child.type == "pipeline" else [child]
        label = Part("text" if start[:1] in ("'", '"', "\\") else "bare", start.strip("'\"\\"))
        target = Word((label, *(Part("expansion", "", (script,)) for script in scripts)))
        first = Redirect(operator, number, target, body)
        return [first, *redirects], self.joined(following, depth + 1)
