"""The recipe "add a field" works: its steps, performed on a copy of the tree."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

import _contract_docs
import _prove_proto_break
import _regen
from markdown_blocks import Block, apply_diff, blocks, commands, matches, type_command

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "docs/contract/add-a-field.md"


def perform(block: Block, tree: Path, environment: dict[str, str]) -> None:
    """Do what a block of the recipe says, and compare what comes of it."""
    where = f"{RECIPE.name}:{block.line}"
    if block.language == "diff":
        target = tree / block.options["title"]
        target.write_text(apply_diff(block.body, target.read_text("utf-8")), encoding="utf-8")
        return
    assert block.language == "console", f"{where}: nobody performs {block.language!r}"
    for command in commands(block.body):
        code, output, _ = type_command(command, tree, environment)
        wanted = int(block.options.get("exit", "0"))
        assert code == wanted, f"{where}: $ {command.text}\n{output}"
        if command.expected.strip():
            assert matches(command.expected, output), f"{where}: $ {command.text}\n{output}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_step_of_the_recipe_works_and_leaves_nothing_to_do(tmp_path: Path) -> None:
    tree, home = tmp_path / "tree", tmp_path / "home"
    home.mkdir()
    _prove_proto_break.copy_tree(ROOT, tree)
    shutil.copytree(ROOT / "docs/contract", tree / "docs/contract")
    (tree / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    environment = {
        "HOME": str(home),
        # The environment is borrowed, and knows the tree that it was made for.
        "PYTHONPATH": str(tree / "src"),
        "PATH": f"{tree / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
        "CI": "1",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    steps = list(blocks(RECIPE.read_text(encoding="utf-8")))
    assert [step.language for step in steps].count("diff") >= 5
    for step in steps:
        perform(step, tree, environment)
    assert _regen.hash_drift(tree) == []
    assert _contract_docs.main(["--check", "--root", str(tree)]) == 0
    page = (tree / "docs/contract/reference/asset.md").read_text(encoding="utf-8")
    assert "| 51 | `on_call` | `onCall` | string, optional | Who is called" in page
