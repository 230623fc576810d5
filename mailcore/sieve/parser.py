"""Tokens -> tree (RFC 5228 §8.2). What may stand where is not known here; nesting is bounded, so recursion is too."""

from __future__ import annotations

from mailcore.sieve.lexer import Kind, Token, tokens
from mailcore.sieve.syntax import Argument, Command, Flaw, Number, Strings, Tag

_NAMES = {
    Kind.IDENTIFIER: "a name",
    Kind.NUMBER: "a number",
    Kind.STRING: "a string",
    Kind.END: "the end of the script",
}


def parse(script: str, nesting: int) -> tuple[Command, ...]:
    """The commands of a script.

    Args:
        script: its text.
        nesting: so deep blocks or tests may lie within one another.

    Raises:
        Flaw: it does not follow the grammar, or is nested too deeply.
    """
    return _Parser(script, nesting).script()


class _Parser:
    """Recursive descent with one token of foresight."""

    def __init__(self, script: str, nesting: int) -> None:
        self.nesting = nesting
        self.tokens = tokens(script)
        self.next = next(self.tokens)

    def take(self) -> Token:
        """Go on by one token."""
        token = self.next
        self.next = next(self.tokens, token)
        return token

    def at_mark(self, mark: str) -> bool:
        """Whether this mark comes next."""
        return self.next.kind is Kind.MARK and self.next.text == mark

    def took_mark(self, mark: str) -> bool:
        """Whether this mark came next; it is behind us then."""
        if self.at_mark(mark):
            self.take()
            return True
        return False

    def expected(self, what: str) -> Flaw:
        """Something else came."""
        token = self.next
        found = _NAMES.get(token.kind) or f'"{token.text}"'
        return Flaw(token.at, f"{what} is expected here, not {found}.")

    def script(self) -> tuple[Command, ...]:
        """`commands` to the end."""
        commands = []
        while self.next.kind is not Kind.END:
            commands.append(self.command(0))
        return tuple(commands)

    def command(self, depth: int) -> Command:
        """`identifier arguments (";" / block)`."""
        if self.next.kind is not Kind.IDENTIFIER:
            raise self.expected("A command")
        name = self.take()
        arguments, tests = self.arguments(depth)
        block: tuple[Command, ...] | None = None
        if self.at_mark("{"):
            block = self.block(depth + 1)
        elif not self.took_mark(";"):
            raise self.expected(f'";" or a block behind "{name.text}"')
        return Command(name.text, *arguments, tests=tests, block=block, at=name.at)

    def block(self, depth: int) -> tuple[Command, ...]:
        """`"{" commands "}"`."""
        opening = self.take()
        self.check_depth(depth, opening.at)
        commands = []
        while not self.took_mark("}"):
            if self.next.kind is Kind.END:
                raise Flaw(opening.at, 'This block has no end: close it with "}".')
            commands.append(self.command(depth))
        return tuple(commands)

    def arguments(self, depth: int) -> tuple[list[Argument], tuple[Command, ...]]:
        """`*argument [test / test-list]`."""
        arguments: list[Argument] = []
        while True:
            token = self.next
            if token.kind is Kind.TAG:
                self.take()
                arguments.append(Tag(token.text, token.at))
            elif token.kind is Kind.NUMBER:
                self.take()
                arguments.append(Number(token.number, token.at))
            elif token.kind is Kind.STRING:
                self.take()
                arguments.append(Strings((token.text,), token.at))
            elif self.at_mark("["):
                arguments.append(self.string_list())
            else:
                break
        if self.next.kind is Kind.IDENTIFIER:
            return arguments, (self.test(depth + 1),)
        return arguments, self.test_list(depth + 1) if self.at_mark("(") else ()

    def string_list(self) -> Strings:
        """`"[" string *("," string) "]"`."""
        opening = self.take()
        values = []
        while True:
            if self.next.kind is not Kind.STRING:
                raise self.expected("A string")
            values.append(self.take().text)
            if self.took_mark("]"):
                return Strings(tuple(values), opening.at, is_list=True)
            if not self.took_mark(","):
                raise self.expected('"," or "]"')

    def test(self, depth: int) -> Command:
        """`identifier arguments`."""
        if self.next.kind is not Kind.IDENTIFIER:
            raise self.expected("A test")
        name = self.take()
        self.check_depth(depth, name.at)
        arguments, tests = self.arguments(depth)
        return Command(name.text, *arguments, tests=tests, at=name.at)

    def test_list(self, depth: int) -> tuple[Command, ...]:
        """`"(" test *("," test) ")"`."""
        self.take()
        found = [self.test(depth)]
        while not self.took_mark(")"):
            if not self.took_mark(","):
                raise self.expected('"," or ")"')
            found.append(self.test(depth))
        return tuple(found)

    def check_depth(self, depth: int, at: int) -> None:
        """Refuse what is nested too deeply, before the stack is."""
        if depth > self.nesting:
            raise Flaw(at, f"This is nested more than {self.nesting} deep: split it into several commands.")
