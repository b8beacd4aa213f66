"""Single edits of Python code: where they can be made, and what they change.

Each edit is one that a person could make by mistake: another comparison, a condition that always
holds, a statement that is gone. Left out is what no test is meant to notice: annotations, texts,
docstrings, code for type checkers, and numbers at the top of a module, which are limits and
intervals whose size benchmarks judge.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_COMPARED: Final = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_CALCULATED: Final = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
}
_JOINED: Final = {ast.And: ("and", "or"), ast.Or: ("or", "and")}


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit of a file.

    Attributes:
        line: The line where it begins, from 1.
        start: The first character that is replaced, in the whole text.
        end: The first one after it that stays.
        new: What stands there instead.
    """

    line: int
    start: int
    end: int
    new: str

    def applied(self, text: str) -> str:
        """Return the text of the file after the edit."""
        return text[: self.start] + self.new + text[self.end :]


def edits_of(text: str) -> list[Edit]:
    """Return every edit of a module, in order."""
    found = set(_Finder(_Places(text)).of(ast.parse(text)))
    return sorted(found, key=lambda edit: (edit.start, edit.end, edit.new))


def compiles(text: str) -> bool:
    """Tell whether a text is Python: an edit of a part of an f-string, say, may not leave any."""
    try:
        compile(text, "edited", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


class _Places:
    """Turns lines and columns of syntax nodes, which count bytes, into places in the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def at(self, line: int, column: int) -> int:
        before = self._lines[line - 1].encode()[:column].decode()
        return self._starts[line - 1] + len(before)

    def of(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self.at(node.lineno, node.col_offset),
            self.at(node.end_lineno, node.end_col_offset),
        )

    def line_of(self, place: int) -> int:
        return self.text.count("\n", 0, place) + 1


class _Finder:
    def __init__(self, places: _Places) -> None:
        self._places = places

    def of(self, module: ast.Module) -> Iterator[Edit]:
        for statement in module.body:
            if not _is_constant(statement):
                yield from self._inside(statement)

    def _inside(self, outer: ast.AST) -> Iterator[Edit]:
        waiting: list[ast.AST] = [outer]
        while waiting:
            node = waiting.pop()
            if _is_for_type_checkers(node):
                continue
            yield from self._edits(node)
            waiting += _children(node)

    def _edits(self, node: ast.AST) -> Iterator[Edit]:
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield from self._swapped(_COMPARED.get(type(operator)), left, right)
            case ast.BinOp(left=left, op=operator, right=right) if not _is_text(left, right):
                yield from self._swapped(_CALCULATED.get(type(operator)), left, right)
            case ast.BoolOp(op=operator, values=[first, second, *_]):
                yield from self._swapped(_JOINED[type(operator)], first, second)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                start, _ = self._places.of(node)
                inner, end = self._places.of(operand)
                yield self._edit(start, end, f"({self._places.text[inner:end]})")
            case ast.Constant(value=bool() as value):
                yield self._replaced(node, repr(not value))
            case ast.Constant(value=int() as value):
                yield self._replaced(node, repr(value + 1))
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                yield self._replaced(test, "True")
                if not isinstance(node, ast.While):
                    yield self._replaced(test, "False")
            case ast.comprehension(ifs=[test, *_]):
                yield self._replaced(test, "True")
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                yield self._replaced(value, "None")
            case ast.Raise() | ast.Expr(value=ast.Call() | ast.Await()) | ast.Delete():
                yield self._replaced(node, "pass")

    def _swapped(
        self, words: tuple[str, str] | None, left: ast.expr, right: ast.expr
    ) -> Iterator[Edit]:
        if words is None:
            return
        old, new = words
        _, start = self._places.of(left)
        end, _ = self._places.of(right)
        between = self._places.text[start:end]
        if between.split("#", 1)[0].count(old) == 1:
            place = start + between.index(old)
            yield self._edit(place, place + len(old), new)

    def _replaced(self, node: ast.expr | ast.stmt, new: str) -> Edit:
        return self._edit(*self._places.of(node), new)

    def _edit(self, start: int, end: int, new: str) -> Edit:
        return Edit(self._places.line_of(start), start, end, new)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is inside a node, but for annotations, decorators and docstrings."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, ast.AST):
                yield one


def _is_constant(statement: ast.stmt) -> bool:
    """Tell whether a statement of a module names a limit, an interval or a list of names."""
    match statement:
        case ast.AnnAssign(value=ast.Constant() | ast.UnaryOp() | ast.BinOp() | None):
            return True
        case ast.Assign(value=ast.Constant() | ast.UnaryOp() | ast.BinOp()):
            return True
    return False


def _is_for_type_checkers(node: ast.AST) -> bool:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.FunctionDef(decorator_list=decorators):
            return any(isinstance(one, ast.Name) and one.id == "overload" for one in decorators)
    return False


def _is_text(*nodes: ast.expr) -> bool:
    return any(
        isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        for node in nodes
    )


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
