"""The facts about one source file that decide the code fingerprints of the assets in it.

They come from the syntax tree alone, so comments, layout and docstrings are no part of them. The
functions of assets are kept apart from the rest of their file: one asset can be edited without
the others changing.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from servo._fingerprint import (
    Fingerprint,
    FunctionNode,
    Place,
    fingerprint_tokens,
    is_docstring,
    node_tokens,
    tokens,
)

__all__ = ["Import", "ModuleFacts", "Part", "binary_facts", "read_facts"]

Import = tuple[int, str, tuple[str, ...]]
"""An import statement: level (0 for absolute), module, and the names that it takes from it."""

Part = tuple[str, tuple[Import, ...], tuple[str, ...]]
"""A part of a file: its digest, its imports, and the assets of the file that it names."""

ANY: Final = "*"
"""In place of a name: the part can reach everything in its module, whatever it is called."""


class ModuleFacts(NamedTuple):
    """What counts in one file; consists of tuples, dictionaries and text only.

    Attributes:
        digest: Of the whole file.
        imports: All import statements of the file.
        rest: Everything except the functions of assets.
        assets: The functions of assets at the top level of the file, by name.
        functions: Fingerprint and line of each decorated function, by place.
    """

    digest: str
    imports: tuple[Import, ...]
    rest: Part
    assets: dict[str, Part]
    functions: dict[Place, tuple[str, int]]

    def fingerprints(self) -> Mapping[Place, Fingerprint]:
        """Return the fingerprints of the decorated functions."""
        return {place: Fingerprint(*values) for place, values in self.functions.items()}


def binary_facts(data: bytes) -> ModuleFacts:
    """Return the facts about a file that has no readable source: its bytes count."""
    found = digest(data)
    return ModuleFacts(found, (), (found, (), ()), {}, {})


def read_facts(source: bytes) -> ModuleFacts:
    """Return the facts about the source of a module.

    A source that is not valid Python counts by its bytes.
    """
    try:
        with warnings.catch_warnings():
            # Importing the module gives these, under its own name.
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return binary_facts(source)
    return _Reading(tree, maybe_walrus=b":=" in source).facts()


class _Reading:
    """Takes one syntax tree apart; the tree is of no further use afterwards."""

    def __init__(self, tree: ast.Module, *, maybe_walrus: bool) -> None:
        self._functions: dict[Place, tuple[str, int]] = {}
        self._body = tree.body
        # An argument of a decorator or a default that assigns a name is part of the module.
        self._own, self._rest = ([], tree.body) if maybe_walrus else _split(tree.body)

    def facts(self) -> ModuleFacts:
        names = [node.name for node, _ in self._own]
        wanted = frozenset(f"(Name {name}" for name in names)
        assets: dict[str, Part] = {}
        imports: list[Import] = []
        for node, decorators in self._own:
            part = self._asset(node, decorators, wanted)
            if (earlier := assets.get(node.name)) is not None:
                # The later one replaces the earlier one, and may have used it.
                part = _joined(earlier, part)
            assets[node.name] = part
            imports += part[1]
        rest = self._rest_part(wanted)
        whole = ",".join([rest[0], *(f"{name}={part[0]}" for name, part in assets.items())])
        return ModuleFacts(
            digest(whole.encode()), (*rest[1], *imports), rest, assets, self._functions
        )

    def _asset(
        self, node: FunctionNode, decorators: list[ast.expr], wanted: frozenset[str]
    ) -> Part:
        found = node_tokens(node)
        own = fingerprint_tokens(node, found)
        self._functions[node.decorator_list[0].lineno, node.name] = own, node.lineno
        if decorators:
            more = tokens(list(decorators))
            own = digest(f"{own} {' '.join(more)}".encode())
            found += more
        _, imports = self._survey([node.body])
        return own, imports, _uses(found, wanted)

    def _rest_part(self, wanted: frozenset[str]) -> Part:
        definitions, imports = self._survey([self._rest])
        if self._body and is_docstring(self._body[0]):
            self._rest = self._rest[1:]
        for node in definitions:
            if is_docstring(node.body[0]):
                node.body[:1] = [] if len(node.body) > 1 else [ast.Pass()]
        found = tokens(list(self._rest))
        return digest(" ".join(found).encode()), imports, _uses(found, wanted)

    def _survey(
        self, blocks: list[list[ast.stmt]]
    ) -> tuple[list[FunctionNode | ast.ClassDef], tuple[Import, ...]]:
        """Find definitions and imports; note the fingerprints of decorated functions."""
        definitions: list[FunctionNode | ast.ClassDef] = []
        imports: list[Import] = []
        stack = blocks
        while stack:
            for node in stack.pop():
                kind = type(node)
                if isinstance(node, ast.Import):
                    imports += [(0, alias.name, ()) for alias in node.names]
                    continue
                if isinstance(node, ast.ImportFrom):
                    names = tuple(alias.name for alias in node.names)
                    imports.append((node.level, node.module or "", names))
                    continue
                if kind in _SIMPLE_STATEMENTS:
                    continue
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    definitions.append(node)
                    if node.decorator_list:
                        own = fingerprint_tokens(node, node_tokens(node))
                        place = node.decorator_list[0].lineno, node.name
                        self._functions[place] = own, node.lineno
                elif isinstance(node, ast.ClassDef):
                    definitions.append(node)
                stack.extend(
                    value
                    for name in _BLOCKS
                    if (value := getattr(node, name, None)) and type(value) is list
                )
        return definitions, tuple(imports)


def _split(
    body: list[ast.stmt],
) -> tuple[list[tuple[FunctionNode, list[ast.expr]]], list[ast.stmt]]:
    """Part the functions that ``servo.asset`` decorates from the rest.

    The decorator itself does not count: what it says is in the asset's definition. Other
    decorators of the function do.
    """
    direct, modules = _names_of_asset(body)
    assets: list[tuple[FunctionNode, list[ast.expr]]] = []
    rest: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            others = [one for one in node.decorator_list if not _is_asset(one, direct, modules)]
            if len(others) < len(node.decorator_list):
                assets.append((node, others))
                continue
        rest.append(node)
    return assets, rest


def _names_of_asset(body: list[ast.stmt]) -> tuple[set[str], set[str]]:
    """Find the names under which a module knows ``servo.asset``, and ``servo`` itself.

    A name that the module binds in another way as well may mean anything, and does not count.
    """
    direct: set[str] = set()
    modules: set[str] = set()
    others: set[str] = set()
    for node in body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                is_ours = node.level == 0 and (node.module, alias.name) in _ASSET
                (direct if is_ours else others).add(alias.asname or alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                is_ours = alias.name == "servo"
                (modules if is_ours else others).add(alias.asname or alias.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            others.add(node.name)
        elif not isinstance(node, ast.Expr):
            # Assignments, and whatever is bound inside of blocks.
            others |= _bound_names(node)
    if ANY in others:
        return set(), set()
    return direct - others, modules - others


def _bound_names(statement: ast.stmt) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
    return found


def _is_asset(decorator: ast.expr, direct: set[str], modules: set[str]) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(target, ast.Name):
        return target.id in direct
    return (
        isinstance(target, ast.Attribute)
        and target.attr == "asset"
        and isinstance(target.value, ast.Name)
        and target.value.id in modules
    )


def _uses(found: Iterable[str], wanted: frozenset[str]) -> tuple[str, ...]:
    words = (wanted | _DYNAMIC).intersection(found)
    if words & _DYNAMIC:
        return (ANY,)
    return tuple(sorted(word.partition(" ")[2] for word in words))


def _joined(one: Part, other: Part) -> Part:
    return (
        digest(f"{one[0]},{other[0]}".encode()),
        (*one[1], *other[1]),
        tuple(sorted({*one[2], *other[2]})),
    )


def digest(data: bytes) -> str:
    """Return 32 hex digits of SHA-256."""
    return sha256(data).hexdigest()[:32]


_ASSET: Final = (("servo", "asset"), ("servo.asset", "asset"))
_BLOCKS: Final = ("body", "orelse", "finalbody", "handlers", "cases")
_SIMPLE_STATEMENTS: Final = frozenset(
    {ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Pass, ast.Raise}
)
_DYNAMIC: Final = frozenset(
    [
        *(f"(Name {name}" for name in ("globals", "locals", "vars", "eval", "exec", "__import__")),
        "attr='modules'",  # sys.modules[__name__]
    ]
)
"""Words of code that may reach a function without saying its name."""
