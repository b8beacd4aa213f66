"""Fingerprints of asset functions: 16 hex digits over the syntax tree.

What counts is what the function does: its parameters, annotations and body. What does not count
is its name (a rename keeps the fingerprint), its decorators, its docstring, comments and layout.
The serialisation is our own and the same under every Python that we support: `ast.dump` is not,
because fields come and go between versions.

A function without source (typed into a shell, made by ``exec`` or a ``lambda``) is fingerprinted
by its compiled code instead; that is stable for one minor version of Python only.
"""

from __future__ import annotations

import ast
import importlib.util
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import CodeType
from typing import Any, Final, Protocol

__all__ = [
    "Fingerprint",
    "FunctionNode",
    "Place",
    "fingerprint_all",
    "fingerprint_node",
    "fingerprint_of",
    "fingerprint_tokens",
    "is_docstring",
    "node_tokens",
    "tokens",
]

_DIGITS: Final = 16
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


Place = tuple[int, str]
"""First line of a function, decorators included, and its name."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the source says about one function.

    Attributes:
        digest: 16 lower-case hex digits.
        line_number: The line of the ``def``, starting with 1; zero without source.
    """

    digest: str
    line_number: int


class _Known(Protocol):
    def functions_in(self, path: str) -> Mapping[Place, Fingerprint] | None: ...


def fingerprint_all(
    functions: Sequence[Callable[..., Any]], *, known_files: _Known | None = None
) -> list[Fingerprint]:
    """Fingerprint functions, parsing each of their source files once.

    A function wrapped with ``functools.wraps`` counts together with its wrappers, and the
    innermost one gives the line.

    Args:
        functions: The functions, in any order.
        known_files: Knows the fingerprints of the functions in some files already.

    Returns:
        Their fingerprints, in the same order.
    """
    layers = [_layers(function) for function in functions]
    wanted: dict[str, set[Place]] = {}
    for codes in layers:
        for code in codes:
            place = code.co_firstlineno, code.co_name
            wanted.setdefault(code.co_filename, set()).add(place)
    known: dict[str, Mapping[Place, Fingerprint]] = {}
    for path, places in wanted.items():
        found = None if known_files is None else known_files.functions_in(path)
        if found is None or not places <= found.keys():
            found = _index_file(path, places)
        known[path] = found
    return [_combined([_of_code(code, known[code.co_filename]) for code in one]) for one in layers]


def _of_code(code: CodeType, known: Mapping[Place, Fingerprint]) -> Fingerprint:
    found = known.get((code.co_firstlineno, code.co_name))
    return found if found is not None else Fingerprint(_fingerprint_code(code), 0)


def _combined(parts: list[Fingerprint]) -> Fingerprint:
    if len(parts) == 1:
        return parts[0]
    joined = sha256(",".join(part.digest for part in parts).encode()).hexdigest()
    return Fingerprint(joined[:_DIGITS], parts[-1].line_number)


def _layers(function: Callable[..., Any]) -> list[CodeType]:
    """Return the code of a function and of what it wraps, outermost first."""
    codes: list[CodeType] = []
    seen: set[int] = set()
    layer: Any = function
    while layer is not None and id(layer) not in seen:
        seen.add(id(layer))
        if isinstance(code := getattr(layer, "__code__", None), CodeType):
            codes.append(code)
        layer = getattr(layer, "__wrapped__", None)
    return codes


def _index_file(path: str, wanted: set[Place] | None) -> dict[Place, Fingerprint]:
    """Fingerprint the wanted functions of one file, or all; those not in its source are absent."""
    try:
        source = importlib.util.decode_source(Path(path).read_bytes())
        text, moved = _without_decorators(source, wanted or ())
        with warnings.catch_warnings():
            # Importing the file gives these.
            warnings.simplefilter("ignore")
            tree = ast.parse(text, path)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return {}  # <stdin>, an archive, or a file that changed since: the code object decides
    found: dict[Place, Fingerprint] = {}
    for node in _functions(tree):
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
        place = moved.get(first, first), node.name
        if wanted is None or place in wanted:
            found[place] = Fingerprint(fingerprint_node(node), node.lineno)
    return found


def fingerprint_of(function: Callable[..., Any]) -> Fingerprint:
    """Fingerprint one function; its source file is parsed once for all functions in it."""
    return fingerprint_all([function], known_files=_indexes)[0]


class _Indexes:
    """The fingerprints of every function in the source files that were asked for last."""

    def __init__(self) -> None:
        self._by_path: dict[str, tuple[tuple[int, int], Mapping[Place, Fingerprint]]] = {}

    def functions_in(self, path: str) -> Mapping[Place, Fingerprint] | None:
        try:
            status = Path(path).stat()
        except OSError:
            return None
        stamp = status.st_mtime_ns, status.st_size
        known = self._by_path.get(path)
        if known is None or known[0] != stamp:
            if len(self._by_path) >= _MOST_INDEXES:
                self._by_path.clear()
            known = self._by_path[path] = stamp, _index_file(path, None)
        return known[1]


_MOST_INDEXES: Final = 256
_indexes: Final = _Indexes()


def _without_decorators(source: str, wanted: Iterable[Place]) -> tuple[str, dict[int, int]]:
    """Blank the decorators of some functions, which are most of what there is to parse.

    Decorators that could hold a line that looks like the function's ``def`` are left alone;
    that takes a string over several lines.

    Returns:
        The source, and the line of each ``def`` whose decorators are gone with the line on
        which they began.
    """
    lines = source.split("\n")
    moved: dict[int, int] = {}
    for first, name in wanted:
        decorator = lines[first - 1] if first <= len(lines) else ""
        indent = decorator[: len(decorator) - len(decorator.lstrip(" \t"))]
        if not decorator.startswith(f"{indent}@"):
            continue
        starts = (f"{indent}def {name}(", f"{indent}async def {name}(")
        for place in range(first - 1, len(lines)):
            line = lines[place]
            if line.startswith(starts):
                lines[first - 1 : place] = [""] * (place - first + 1)
                moved[place + 1] = first
                break
            if line.endswith("\\") or '"""' in line or "'''" in line:
                break
    return "\n".join(lines), moved


def _functions(tree: ast.Module) -> Iterable[FunctionNode]:
    """Yield every function below ``tree``; definitions are statements, so only those are seen."""
    stack: list[Any] = [tree.body]
    while stack:
        for node in stack.pop():
            kind = type(node)
            if kind is ast.FunctionDef or kind is ast.AsyncFunctionDef:
                yield node
            elif kind in _SIMPLE_STATEMENTS:
                continue
            stack.extend(
                value
                for name in _BLOCKS
                if (value := getattr(node, name, None)) and type(value) is list
            )


_BLOCKS: Final = ("body", "orelse", "finalbody", "handlers", "cases")
_SIMPLE_STATEMENTS: Final = frozenset(
    {ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Import, ast.ImportFrom}
)


def fingerprint_node(node: FunctionNode) -> str:
    """Return the fingerprint of a function definition."""
    return fingerprint_tokens(node, node_tokens(node))


def fingerprint_tokens(node: FunctionNode, found: Iterable[str]) -> str:
    """Return the fingerprint of a function definition whose `node_tokens` are known."""
    head = "async" if type(node) is ast.AsyncFunctionDef else "def"
    return sha256(f"{head}{' '.join(found)}".encode()).hexdigest()[:_DIGITS]


def node_tokens(node: FunctionNode) -> list[str]:
    """Return the tokens of what counts in a function: parameters, annotations and body."""
    body = node.body[1:] if is_docstring(node.body[0]) else node.body
    return tokens([node.args, node.returns, *getattr(node, "type_params", ()), *body])


def is_docstring(statement: ast.stmt) -> bool:
    """Tell whether a statement, the first of a block, is its docstring."""
    return (
        type(statement) is ast.Expr
        and type(statement.value) is ast.Constant
        and type(statement.value.value) is str
    )


def serialize(nodes: list[Any]) -> str:
    """Return an unambiguous text of syntax nodes: their `tokens`."""
    return " ".join(tokens(nodes))


def tokens(nodes: list[Any]) -> list[str]:
    """Return an unambiguous list of words for syntax nodes, without recursion.

    Each node is written as its class, its plain values, and for each other field that is set
    the number of nodes in it; these nodes follow in order. A name that is used is ``(Name x``.
    """
    out: list[str] = [str(len(nodes))]
    write = out.append
    stack: list[Any] = nodes[::-1]
    take, push = stack.pop, stack.extend
    while stack:
        node = take()
        kind = type(node)
        # Two thirds of all nodes; asking for them first makes the whole a third faster.
        if kind is ast.Name:
            write(f"(Name {node.id}")
        elif kind is ast.Constant:
            write(f"(Constant {_constant(node.value)}")
        elif node is None:
            write("~")  # the key of **rest in a display, a keyword without default
        else:
            push(_open(node, kind, write))
    return out


def _open(node: ast.AST, kind: type, write: Callable[[str], None]) -> list[Any]:
    """Write a node without the nodes in it; return those, last one first."""
    plan = _PLANS.get(kind)
    if plan is None:
        plan = _PLANS[kind] = _plan(kind)
    name, fields = plan
    write(name)
    children: list[Any] = []
    for field in fields:
        value = getattr(node, field, None)
        if value is None:
            continue
        if type(value) is list:
            if not value:
                continue
            if kind is ast.JoinedStr:
                value = _joined(value)
            write(f"{field}*{len(value)}")
            # Most lists hold nodes; names of globals, attributes of patterns are plain text.
            if type(value[0]) is str:
                write(repr(value))
            else:
                children += value
        elif isinstance(value, ast.AST):
            if type(value) is ast.JoinedStr and field == "format_spec" and not value.values:
                continue  # f"{x:}": some versions write an empty specification, some none
            write(f"{field}:")
            children.append(value)
        else:
            write(f"{field}={_constant(value)}")
    children.reverse()
    return children


# Fields that say how something was written, or that follow from the rest.
_IGNORED: Final = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_PLANS: Final[dict[type, tuple[str, tuple[str, ...]]]] = {}


def _plan(kind: type[ast.AST]) -> tuple[str, tuple[str, ...]]:
    return f"({kind.__name__}", tuple(name for name in kind._fields if name not in _IGNORED)


def _constant(value: object) -> str:
    if type(value) is str:
        # ascii(), not repr(): what is printable depends on the Unicode tables of the version.
        return ascii(value)
    if type(value) is int:
        return hex(value)  # decimal conversion of huge integers is limited
    return ascii(value)


def _joined(values: list[Any]) -> list[Any]:
    """Merge neighbouring texts of an f-string; versions split them differently."""
    merged: list[Any] = []
    for value in values:
        if merged and _is_text(value) and _is_text(merged[-1]):
            merged[-1] = ast.Constant(merged[-1].value + value.value)
        else:
            merged.append(value)
    return merged


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _fingerprint_code(code: CodeType) -> str:
    parts: list[str] = []
    stack: list[object] = [code]
    while stack:
        item = stack.pop()
        if isinstance(item, CodeType):
            parts.append(f"{item.co_code.hex()} {item.co_names!r} {item.co_varnames!r}")
            parts.append(f"{item.co_freevars!r} {len(item.co_consts)}")
            stack.extend(item.co_consts)
        elif isinstance(item, frozenset):
            parts.append(ascii(sorted(map(ascii, item))))
        else:
            parts.append(ascii(item))
    return sha256(" ".join(parts).encode()).hexdigest()[:_DIGITS]
