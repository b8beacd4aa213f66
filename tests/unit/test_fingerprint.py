from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo._fingerprint import fingerprint_all, fingerprint_node, serialize

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write and import a module."""
    count = 0

    def load(text: str) -> ModuleType:
        nonlocal count
        count += 1
        path = tmp_path / f"module{count}.py"
        path.write_text(dedent(text))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def _node(text: str) -> str:
    (node,) = ast.parse(dedent(text)).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return fingerprint_node(node)


PLAIN = "def f(ctx, up: int = 1) -> int:\n    return up + 1\n"


def test_a_fingerprint_is_sixteen_hex_digits_that_never_change() -> None:
    # A different value here means that every asset of every user looks edited after an upgrade.
    assert _node(PLAIN) == "69c9586261d8ab36"


@pytest.mark.parametrize(
    "same",
    [
        "def another_name(ctx, up: int = 1) -> int:\n    return up + 1\n",
        "def f(ctx, up: int = 1) -> int:\n    # a comment\n\n    return (up +\n        1)\n",
        'def f(ctx, up: int = 1) -> int:\n    """A docstring."""\n    return up + 0x1\n',
        "@decorator(1)\n@another\ndef f(\n ctx,\n up: int = 1,\n) -> int:\n return up + 1\n",
    ],
    ids=["name", "layout", "docstring", "decorators"],
)
def test_what_does_not_change_the_function_keeps_the_fingerprint(same: str) -> None:
    assert _node(same) == _node(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        "def f(ctx, up: int = 1) -> int:\n    return up + 2\n",
        "def f(ctx, up: int = 1) -> int:\n    return up - 1\n",
        "def f(ctx, up: int = 1) -> int:\n    return ctx + 1\n",
        "def f(ctx, up: int = 2) -> int:\n    return up + 1\n",
        "def f(ctx, up: str = 1) -> int:\n    return up + 1\n",
        "def f(ctx, up: int = 1) -> str:\n    return up + 1\n",
        "def f(ctx, *, up: int = 1) -> int:\n    return up + 1\n",
        "def f(ctx, up: int = 1) -> int:\n    return up + 1.0\n",
        "def f(ctx, up: int = 1) -> int:\n    return up + True\n",
        "def f(ctx, up: int = 1) -> int:\n    pass\n    return up + 1\n",
        "async def f(ctx, up: int = 1) -> int:\n    return up + 1\n",
    ],
)
def test_an_edit_of_the_function_changes_the_fingerprint(other: str) -> None:
    assert _node(other) != _node(PLAIN)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("return {**a}", "return {None: a}"),
        ("return f(a, b)", "return f(a)(b)"),
        ("return [a, [b]]", "return [[a, b]]"),
        ("return a[1:]", "return a[:1]"),
        ("return 'a' 'b'", "return 'a', 'b'"),
        ("return 'x'", "return b'x'"),
        ("return f'{a!r}'", "return f'{a!s}'"),
        ("return f'{a:>3}'", "return f'{a}'"),
        ("global a, b", "global a; global b"),
        ("x = y = 1", "x, y = 1"),
        ("for a in b: pass\nelse: c", "for a in b: c"),
        ("return lambda a, /: a", "return lambda a: a"),
    ],
)
def test_trees_that_are_easily_confused_differ(one: str, other: str) -> None:
    def wrapped(body: str) -> str:
        return "def f(ctx):\n" + "".join(f" {line}\n" for line in body.split("\n"))

    assert _node(wrapped(one)) != _node(wrapped(other))


def test_texts_of_an_f_string_count_together_however_they_are_split() -> None:
    split = ast.parse("def f(ctx):\n    return f'ab{ctx}'").body[0]
    joined = ast.parse("def f(ctx):\n    return f'ab{ctx}'").body[0]
    (text,) = [node for node in ast.walk(split) if isinstance(node, ast.JoinedStr)]
    text.values[:1] = [ast.Constant("a"), ast.Constant("b")]
    assert fingerprint_node(split) == fingerprint_node(joined)  # type: ignore[arg-type]  # a def


def test_an_empty_format_specification_is_none() -> None:
    assert _node("def f(x): return f'{x:}'") == _node("def f(x): return f'{x}'")


def test_a_very_deep_expression_is_no_trouble() -> None:
    node: Any = ast.Name("x")
    for _ in range(50_000):
        node = ast.UnaryOp(ast.Not(), node)
    assert serialize([node]).count("UnaryOp") == 50_000
    while isinstance(node, ast.UnaryOp):  # taken apart by hand: freeing it recursively is deep
        node = node.operand


def test_a_huge_number_is_no_trouble() -> None:
    assert _node("def f(ctx): return 0x" + "f" * 10_000) != _node("def f(ctx): return 1")


@given(st.text(max_size=20), st.text(max_size=20))
def test_texts_have_the_same_fingerprint_only_if_they_are_equal(one: str, other: str) -> None:
    def constant(text: str) -> str:
        return serialize([ast.Constant(text)])

    assert (constant(one) == constant(other)) == (one == other)


def test_the_line_is_that_of_the_def(load: Load) -> None:
    module = load(
        """
        import functools

        @functools.lru_cache(
            maxsize=3,
        )
        def f(ctx):
            return 1
        """
    )
    (found,) = fingerprint_all([module.f.__wrapped__])
    assert found.line_number == 7


@pytest.mark.parametrize(
    "decorator",
    [
        "@keep(text='plain')",
        "@keep(\n    text='two lines',\n)\n@keep()",
        '@keep(text="""\ndef f(ctx):\n    return 2\n""")',
        "@keep(text='continued \\\ndef f(ctx):')",
        "@keep(  # def f(ctx): a comment\n)",
    ],
)
def test_decorators_do_not_count_whatever_is_in_them(load: Load, decorator: str) -> None:
    keep = "def keep(**_):\n    return lambda function: function\n\n"
    plain = load("def f(ctx):\n    return 1\n")
    decorated = load(f"{keep}{decorator}\ndef f(ctx):\n    return 1\n")
    one, other = (fingerprint_all([module.f])[0] for module in (plain, decorated))
    assert one.digest == other.digest


def test_functions_of_one_file_are_told_apart(load: Load) -> None:
    module = load(
        """
        class Group:
            @staticmethod
            def f(ctx): return 1

        if True:
            def g(ctx): return 2
        else:
            def g(ctx): return 3

        def outer():
            async def inner(ctx): return 4
            return inner

        def f(ctx): return 5
        """
    )
    functions = [module.Group.f, module.g, module.outer(), module.f]
    found = fingerprint_all(functions)
    assert len({one.digest for one in found}) == 4
    assert [one.line_number for one in found] == [4, 7, 12, 15]


def test_a_wrapped_function_counts_with_its_wrapper(load: Load) -> None:
    def text(body: str, wrapper: str) -> str:
        return (
            "import functools\n\ndef wrap(function):\n    @functools.wraps(function)\n"
            f"    def call(ctx):\n        {wrapper}\n    return call\n\n"
            f"@wrap\ndef f(ctx):\n    {body}\n"
        )

    versions = [
        text("return 1", "return function(ctx)"),
        text("return 2", "return function(ctx)"),
        text("return 1", "return function(None)"),
    ]
    found = [fingerprint_all([load(version).f])[0] for version in versions]
    assert len({one.digest for one in found}) == 3
    assert {one.line_number for one in found} == {10}


def test_functions_without_source_are_fingerprinted_by_their_code() -> None:
    def made(body: str) -> Any:
        names: dict[str, Any] = {}
        exec(f"def f(ctx):\n    return {body}", names)
        return names["f"]

    one, same, other = fingerprint_all([made("[1, 2]"), made("[1, 2]"), made("[1, 3]")])
    assert one == same
    assert one.digest != other.digest
    assert one.line_number == 0


def test_lambdas_differ_by_what_they_do() -> None:
    one, other = fingerprint_all([lambda ctx: 1, lambda ctx: 2])
    assert one.digest != other.digest
