"""Every code block of the documentation does what it says."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from markdown_blocks import (
    Block,
    Command,
    apply_diff,
    blocks,
    commands,
    matches,
    type_command,
)
from servo import Asset, get_registry
from servo_project import WITHOUT_PANDAS

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.docs, pytest.mark.timeout(300)]


def documents() -> Iterator[Path]:
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"))
    yield from (ROOT / "docs").rglob("*.md")
    yield from (ROOT / "examples").glob("*/README.md")
    yield from (ROOT / "benchmarks").glob("*.md")


def relevant() -> list[Path]:
    languages = {"python", "console", "diff"}
    return sorted(
        path
        for path in documents()
        if path.exists() and any(item.language in languages for item in blocks(path.read_text()))
    )


def docstrings() -> Iterator[tuple[str, Block]]:
    for path in sorted((ROOT / "src" / "servo").rglob("*.py")):
        text = path.read_text()
        if "```python" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                for block in blocks(ast.get_docstring(node) or ""):
                    yield f"{path.relative_to(ROOT)}:{getattr(node, 'name', '')}", block


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which `servo` is this checkout and nothing of the developer's shows."""
    home = tmp_path / "home"
    programs = home / "bin"
    programs.mkdir(parents=True)
    for name, module in (("servo", "servo.cli.main"), ("servo-gen", "servo.cli.gen")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        program.chmod(0o755)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("LANG", "LC_ALL", "TMPDIR") or name.startswith("COVERAGE_")
    }
    return kept | {
        "HOME": str(home),
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{WITHOUT_PANDAS}",
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
    }


@pytest.fixture
def empty_registry() -> Iterator[None]:
    get_registry().clear()
    yield
    get_registry().clear()


@pytest.mark.parametrize("path", relevant(), ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.usefixtures("empty_registry")
def test_document_does_what_it_says(
    path: Path, tmp_path: Path, shell: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    namespace: dict[str, object] = {"__name__": "documentation"}
    for block in blocks(path.read_text()):
        if not block.run:
            continue
        where = f"{path.relative_to(ROOT)}:{block.line}"
        title = block.options.get("title")
        monkeypatch.chdir(directory)
        if block.language == "python" and title is not None:
            (directory / title).parent.mkdir(parents=True, exist_ok=True)
            (directory / title).write_text(block.body)
        elif block.language == "diff" and title is not None:
            target = directory / title
            target.write_text(apply_diff(block.body, target.read_text()))
        elif block.language == "python":
            execute(block, where, namespace)
        elif block.language == "console":
            directory = type_all(block, where, directory, shell)


def execute(block: Block, where: str, namespace: dict[str, object]) -> None:
    exec(compile(block.body, where, "exec"), namespace)
    for value in list(namespace.values()):
        # Annotations are looked at on first use only; a block must be right about those too.
        if isinstance(value, Asset):
            assert value.definition


def type_all(block: Block, where: str, directory: Path, shell: dict[str, str]) -> Path:
    # The verbs of a checkout are what runs these tests; they are gates of their own.
    typed = [item for item in commands(block.body) if not item.text.startswith("scripts/")]
    for command in typed:
        wanted = int(block.options.get("exit", "0")) if command is typed[-1] else 0
        code, output, directory = type_command(command, directory, shell)
        assert code == wanted, f"{where}: $ {command.text}\n{output}"
        if command.expected.strip():
            assert matches(command.expected, output), (
                f"{where}: $ {command.text}\nexpected:\n{command.expected}\ngot:\n{output}"
            )
    return directory


def test_docstrings_do_what_they_say(empty_registry: None) -> None:
    for where, block in docstrings():
        if block.language == "python" and block.run:
            execute(block, where, {"__name__": "documentation"})


def test_the_tutorial_is_run() -> None:
    assert ROOT / "docs" / "tutorial.md" in relevant()


def test_an_output_that_differs_is_noticed() -> None:
    assert matches("a ... c\n...\nz\n", "a b c\nx\ny\nz\n")
    assert not matches("a ... c\nz\n", "a b c\nx\nz\n")


def test_a_diff_replaces_the_old_lines() -> None:
    assert apply_diff(" a\n-b\n+c\n", "a\nb\nd\n") == "a\nc\nd\n"


def test_a_diff_that_does_not_apply_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 times"):
        apply_diff(" a\n-b\n+c\n", "a\nx\n")


def test_commands_are_split_at_prompts() -> None:
    assert list(commands("$ a\n1\n2\n$ b\n")) == [Command("a", "1\n2\n"), Command("b", "")]
