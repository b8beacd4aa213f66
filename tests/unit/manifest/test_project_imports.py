"""Importing the project's modules from exactly the source that was fingerprinted."""

from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
import os
import py_compile
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from project_files import WriteFiles
from servo.manifest import AssetDiscovery, Project, build_project
from servo.manifest.project_code import ProjectCode
from servo.manifest.project_imports import ProjectFinder, importing


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An import root; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def _backdate(path: Path) -> None:
    # Python tells source from source by the second.
    os.utime(path, (1_700_000_000, 1_700_000_000))


def test_byte_code_of_the_same_size_and_time_is_not_taken_for_the_source(root: Path) -> None:
    path = root / "stale_one.py"
    path.write_text("VALUE = 'one'\n")
    _backdate(path)
    py_compile.compile(str(path))
    path.write_text("VALUE = 'two'\n")
    _backdate(path)
    with importing(ProjectCode([root])):
        assert importlib.import_module("stale_one").VALUE == "two"


def test_byte_code_is_written_and_used_by_plain_python_as_well(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = root / "kept_one.py"
    path.write_text("VALUE = 'one'\n")
    with importing(ProjectCode([root])):
        importlib.import_module("kept_one")
    kept = Path(importlib.util.cache_from_source(str(path)))
    written = kept.read_bytes()
    for text in ("VALUE = 'one'\n", "VALUE = 'two'\n"):
        path.write_text(text)
        _backdate(path)
        done = subprocess.run(
            [sys.executable, "-c", "import kept_one; print(kept_one.VALUE)"],
            cwd=root,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() in text
    assert kept.read_bytes() == written


@pytest.mark.parametrize("damage", [b"", b"abc", None])
def test_damaged_byte_code_is_made_anew(
    root: Path, damage: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = root / "damaged_one.py"
    path.write_text("VALUE = 'one'\n")
    with importing(ProjectCode([root])):
        importlib.import_module("damaged_one")
        kept = Path(importlib.util.cache_from_source(str(path)))
        whole = kept.read_bytes()
        kept.write_bytes(whole[:20] if damage is None else damage)
        del sys.modules["damaged_one"]
        assert importlib.import_module("damaged_one").VALUE == "one"
    assert kept.read_bytes() == whole


def test_a_project_that_was_moved_shows_its_new_place(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (root / "one").mkdir()
    (root / "one" / "moved_module.py").write_text("def f():\n    raise ValueError\n")
    monkeypatch.syspath_prepend(root / "one")
    with importing(ProjectCode([root / "one"])):
        importlib.import_module("moved_module")
    del sys.modules["moved_module"]
    (root / "one").rename(root / "two")
    monkeypatch.syspath_prepend(root / "two")
    with importing(ProjectCode([root / "two"])):
        code = importlib.import_module("moved_module").f.__code__
    assert code.co_filename == str(root / "two" / "moved_module.py")


def test_a_module_that_is_imported_later_is_the_one_that_was_fingerprinted(root: Path) -> None:
    (root / "early_one.py").write_text("def late():\n    import late_one\n    return late_one.V\n")
    (root / "late_one.py").write_text("V = 1\n")
    code = ProjectCode([root])
    code.fingerprint("early_one", "late")
    (root / "late_one.py").unlink()
    with importing(code):
        assert importlib.import_module("early_one").late() == 1


def test_tracebacks_show_the_lines_that_were_executed(root: Path) -> None:
    path = root / "raises_one.py"
    path.write_text("def f():\n    raise ValueError('executed')\n")
    finder = ProjectFinder(ProjectCode([root]), keep_lines=True)
    finder.install()
    try:
        module = importlib.import_module("raises_one")
    finally:
        finder.remove()
    path.write_text("def f():\n    return 'edited since, and longer than before'\n")
    with pytest.raises(ValueError, match="executed") as caught:
        module.f()
    assert "raise ValueError('executed')" in "".join(traceback.format_exception(caught.value))


def test_resources_and_source_of_a_module_are_there(root: Path) -> None:
    (root / "has_data").mkdir()
    (root / "has_data" / "__init__.py").write_text("V = 1\n")
    (root / "has_data" / "table.txt").write_text("rows")
    with importing(ProjectCode([root])):
        package = importlib.import_module("has_data")
    assert importlib.resources.files("has_data").joinpath("table.txt").read_text() == "rows"
    assert package.__spec__.loader.get_source("has_data") == "V = 1\n"
    assert importlib.reload(package).V == 1


def test_what_python_would_find_elsewhere_is_left_to_python(root: Path) -> None:
    # Both are on the path before the project, or in it already.
    (root / "json").mkdir()
    (root / "json" / "nothing.py").write_text("")
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "twice_one.py").write_text("V = 'project'\n")
    (root / "twice_one.py").write_text("V = 'first'\n")
    code = ProjectCode([root / "elsewhere", root])
    with importing(code), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(root), str(root / "elsewhere"), *sys.path])
        assert importlib.import_module("twice_one").V == "first"
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("json.nothing")


def test_a_binary_that_was_replaced_is_not_loaded(root: Path) -> None:
    path = root / "binary_one.pyc"
    (root / "source.py").write_text("V = 1\n")
    py_compile.compile(str(root / "source.py"), cfile=str(path))
    code = ProjectCode([root])
    code.fingerprint("binary_one", "f")
    with importing(code):
        assert importlib.import_module("binary_one").V == 1
        del sys.modules["binary_one"]
        path.write_bytes(path.read_bytes() + b" ")
        with pytest.raises(ImportError, match="was replaced"):
            importlib.import_module("binary_one")


def test_a_build_imports_what_it_fingerprints_although_the_byte_code_looks_current(
    write: WriteFiles,
) -> None:
    body = "from servo import asset\n\n@asset(description={!r})\ndef one(ctx): return None\n"
    root = write({"assets/a.py": body.format("first")})
    path = root / "assets" / "a.py"
    _backdate(path)
    py_compile.compile(str(path))
    path.write_text(body.format("other"))
    _backdate(path)
    (found,) = build_project(Project.load(root, environ={}), frozen=False).assets
    assert found.description == "other"
    assert [one.definition.description for one in AssetDiscovery(root).discover()] == ["other"]
