from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from project_files import WriteFiles
from servo import asset, errors, get_registry
from servo.manifest import AssetDiscovery
from servo.manifest.discovery import ImportFailure

ONE = """
    from servo import asset

    @asset
    def one(ctx): return None
"""


def _keys(root: Path) -> list[str]:
    return [str(found.key) for found in AssetDiscovery(root).discover()]


def test_assets_come_sorted_by_key(write: WriteFiles) -> None:
    body = "from servo import asset\n@asset\ndef {}(ctx): return None\n"
    root = write({"assets/b.py": body.format("zeta"), "assets/a.py": body.format("beta")})
    assert _keys(root) == ["a.beta", "b.zeta"]


def test_src_assets_is_searched_too_and_imported_from_src(write: WriteFiles) -> None:
    root = write({"src/assets/staging.py": ONE})
    (found,) = AssetDiscovery(root).discover()
    assert found.definition.code.module == "assets.staging"


def test_configured_paths_replace_the_defaults(write: WriteFiles) -> None:
    root = write(
        {
            "pyproject.toml": '[tool.servo]\npaths = ["my/assets", "single.py"]\n',
            "my/assets/staging.py": ONE,
            "single.py": "from servo import asset\n@asset\ndef lone(ctx): return None\n",
            "assets/ignored.py": "raise RuntimeError",
        }
    )
    assert _keys(root) == ["default.lone", "staging.one"]


def test_relative_imports_work_with_and_without_init_files(write: WriteFiles) -> None:
    root = write(
        {
            "assets/_shared.py": "NAME = 'shared'\n",
            "assets/deep/__init__.py": "",
            "assets/deep/part.py": """
                from servo import asset
                from .._shared import NAME

                @asset(name=NAME)
                def _(ctx): return None
            """,
        }
    )
    assert _keys(root) == ["part.shared"]


@pytest.mark.parametrize(
    "path",
    [
        "tests/a.py",
        "deep/tests/a.py",
        "test_a.py",
        "a_test.py",
        "conftest.py",
        ".hidden/a.py",
        ".a.py",
        "__pycache__/a.py",
        "venv/a.py",
        "node_modules/a.py",
        "custom/a.py",
    ],
)
def test_what_is_no_asset_module_is_skipped(write: WriteFiles, path: str) -> None:
    root = write(
        {f"assets/{path}": "raise RuntimeError", "assets/custom/pyvenv.cfg": "", "assets/b.py": ONE}
    )
    assert _keys(root) == ["b.one"]


@pytest.mark.parametrize("path", ["latest.py", "contest.py", "mytests/a.py", "testing/a.py"])
def test_a_name_that_only_contains_a_skipped_one_is_not_skipped(
    write: WriteFiles, path: str
) -> None:
    assert len(_keys(write({f"assets/{path}": ONE}))) == 1


def test_where_the_project_lies_does_not_matter(tmp_path: Path) -> None:
    root = tmp_path / "tests" / ".hidden" / "venv"
    (root / "assets").mkdir(parents=True)
    (root / "assets" / "a.py").write_text("from servo import asset\n@asset\ndef a(ctx): ...\n")
    assert _keys(root) == ["a.a"]


def test_a_directory_that_links_to_itself_is_searched_once(write: WriteFiles) -> None:
    root = write({"assets/deep/a.py": ONE})
    (root / "assets" / "deep" / "loop").symlink_to(root / "assets")
    assert _keys(root) == ["a.one"]


def test_all_failures_are_listed_with_file_and_line(write: WriteFiles) -> None:
    root = write(
        {
            "assets/a.py": "x = (\n",
            "assets/b.py": "\nimport nothing_of_that_name\n",
            "assets/c.py": "import sys\n\nsys.exit(3)\n",
            "assets/d.py": ONE,
        }
    )
    with pytest.raises(errors.DiscoveryError) as caught:
        AssetDiscovery(root).discover()
    found = [(one.file, one.line) for one in caught.value.failures]
    assert found == [("assets/a.py", 1), ("assets/b.py", 2), ("assets/c.py", 3)]
    assert all(f"{file}:{line}" in str(caught.value) for file, line in found)
    assert caught.value.exit_code == 2


def test_one_error_that_fails_many_modules_is_listed_once(write: WriteFiles) -> None:
    root = write(
        {
            "assets/__init__.py": "1 / 0\n",
            "assets/a.py": ONE,
            "assets/b.py": ONE,
        }
    )
    with pytest.raises(errors.DiscoveryError) as caught:
        AssetDiscovery(root).discover()
    assert [(one.file, one.line) for one in caught.value.failures] == [("assets/__init__.py", 1)]


def test_a_key_in_two_files_is_refused_with_both_places(write: WriteFiles) -> None:
    body = "from servo import asset\n\n@asset(namespace='raw')\ndef one(ctx): return None\n"
    root = write({"assets/a.py": body, "assets/b.py": body})
    with pytest.raises(errors.DiscoveryError, match=r"Duplicate asset key 'raw\.one'") as caught:
        AssetDiscovery(root).discover()
    assert "a.py:3" in str(caught.value)
    assert "b.py:3" in str(caught.value)


def test_what_modules_print_does_not_reach_standard_output(
    write: WriteFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write({"assets/a.py": "print('hello')\n"})
    assert _keys(root) == []
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "hello\n"


def test_two_projects_of_the_same_layout_do_not_mix(tmp_path: Path) -> None:
    for name in ("first", "second"):
        assets = tmp_path / name / "assets"
        assets.mkdir(parents=True)
        (tmp_path / name / "shared.py").write_text(f"NAME = {name!r}\n")
        (assets / "a.py").write_text(
            "from servo import asset\nimport shared\n\n"
            "@asset(name=shared.NAME)\ndef _(ctx): return None\n"
        )
    assert _keys(tmp_path / "first") == ["a.first"]
    assert _keys(tmp_path / "second") == ["a.second"]
    assert _keys(tmp_path / "first") == ["a.first"]


def test_a_second_discovery_sees_what_was_edited(write: WriteFiles) -> None:
    root = write({"assets/a.py": ONE})
    AssetDiscovery(root).discover()
    write({"assets/a.py": ONE.replace("def one", "def another")})
    assert _keys(root) == ["a.another"]


def test_a_module_that_the_caller_imported_keeps_its_identity(
    write: WriteFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write({"own_project/assets_here.py": ONE})
    write({"pyproject.toml": '[tool.servo]\npaths = ["own_project"]\n'})
    monkeypatch.syspath_prepend(root)
    monkeypatch.delitem(sys.modules, "own_project", raising=False)
    import own_project.assets_here as mine  # type: ignore[import-not-found]  # written above

    (found,) = AssetDiscovery(root).discover()
    assert found is mine.one
    del sys.modules["own_project.assets_here"], sys.modules["own_project"]


def test_assets_declared_elsewhere_are_neither_found_nor_in_the_way(write: WriteFiles) -> None:
    @asset(namespace="a", name="one")
    def mine(ctx: object) -> None: ...

    assert _keys(write({"assets/a.py": ONE})) == ["a.one"]
    assert get_registry().get_by_function(mine.function) is None


def test_the_import_path_is_as_it_was(write: WriteFiles) -> None:
    before = list(sys.path)
    AssetDiscovery(write({"assets/a.py": ONE})).discover()
    assert sys.path == before


def test_a_project_without_asset_directories_has_no_assets(tmp_path: Path) -> None:
    assert AssetDiscovery(tmp_path).discover() == []


def test_a_root_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="is no directory"):
        AssetDiscovery(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "text", "failure"),
    [
        (
            "assets/raw.v2.py",
            "",
            "assets/raw.v2.py: ImportError: the name 'raw.v2' has a dot, which separates packages "
            "in Python; rename it, such as to 'raw_v2'",
        ),
        (
            "assets/v1.2/a.py",
            "",
            "assets/v1.2/a.py: ImportError: the name 'v1.2' has a dot, which separates packages "
            "in Python; rename it, such as to 'v1_2'",
        ),
        (
            "assets/a.py",
            "import os\nos._exit(3)\n",
            "assets/a.py:2: the module calls os._exit(3) when it is imported",
        ),
        ("assets/a.py", "raise GeneratorExit\n", "assets/a.py:1: GeneratorExit"),
        (
            "assets/a.py",
            "x = 1\ndef f(:\n    pass\n",
            "assets/a.py:2: SyntaxError: invalid syntax\n    def f(:\n          ^",
        ),
    ],
    ids=["dot in a name", "dot in a directory", "os._exit", "GeneratorExit", "syntax"],
)
def test_a_module_that_cannot_be_imported_is_named_with_what_to_do(
    write: WriteFiles, file: str, text: str, failure: str
) -> None:
    root = write({file: text})
    with pytest.raises(errors.DiscoveryError) as caught:
        AssetDiscovery(root).discover()
    assert [str(one) for one in caught.value.failures] == [failure]
    assert "1 error while importing 1 asset module;" in str(caught.value)


def test_a_link_that_leads_nowhere_is_named_with_where_it_leads(write: WriteFiles) -> None:
    root = write({"assets/a.py": ONE})
    (root / "assets" / "b.py").symlink_to("/nowhere/b.py")
    with pytest.raises(errors.DiscoveryError, match="importing 2 asset modules;") as caught:
        AssetDiscovery(root).discover()
    (failure,) = caught.value.failures
    assert str(failure).startswith("assets/b.py: ImportError: the link leads to '/nowhere/b.py'")


def test_a_failure_without_a_known_line_shows_no_line(write: WriteFiles) -> None:
    (failure,) = _failures(write({"assets/raw.v2.py": ""}))
    assert failure.line == 0
    assert str(failure).startswith("assets/raw.v2.py: ")
    # A SyntaxError that somebody makes has no line; none is invented for it.
    (made,) = _failures(write({"assets/raw.v2.py": "", "assets/a.py": ONE}))
    assert made.line == 0


def test_what_a_syntax_error_without_a_line_says_is_not_given_one(write: WriteFiles) -> None:
    root = write({"assets/a.py": "raise SyntaxError('made', ('assets/a.py', None, None, None))\n"})
    (failure,) = _failures(root)
    assert (failure.line, failure.source) == (0, "")
    assert str(failure).startswith("assets/a.py: SyntaxError: made")


def _failures(root: Path) -> tuple[ImportFailure, ...]:
    with pytest.raises(errors.DiscoveryError) as caught:
        AssetDiscovery(root).discover()
    return tuple(caught.value.failures)


def test_an_interrupt_goes_on_and_says_which_file_was_imported(write: WriteFiles) -> None:
    root = write({"assets/a.py": "raise KeyboardInterrupt\n"})
    with pytest.raises(KeyboardInterrupt) as caught:
        AssetDiscovery(root).discover()
    assert caught.value.__notes__ == ["It was importing assets/a.py."]


def test_children_of_a_module_end_as_they_like_and_os_exit_is_there_again(
    write: WriteFiles,
) -> None:
    before = os._exit
    root = write(
        {
            "assets/a.py": """
                import os
                from servo import asset

                child = os.fork()
                if not child:
                    os._exit(7)
                STATUS = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

                @asset(tags={"status": str(STATUS)})
                def one(ctx): return None
            """
        }
    )
    (found,) = AssetDiscovery(root).discover()
    assert found.definition.tags == {"status": "7"}
    assert os._exit is before


def test_what_a_module_writes_to_the_descriptor_goes_to_standard_error(
    write: WriteFiles, capfd: pytest.CaptureFixture[str]
) -> None:
    root = write({"assets/a.py": "import os\nos.write(1, b'raw')\nos.system('echo child')\n"})
    os.write(1, b"before ")
    AssetDiscovery(root).discover()
    os.write(1, b"after")
    printed = capfd.readouterr()
    assert printed.out == "before after"
    assert printed.err == "rawchild\n"


def test_a_link_to_a_module_is_imported_like_one(write: WriteFiles) -> None:
    root = write({"assets/__init__.py": "", "shared/a.py": ONE})
    (root / "assets" / "a.py").symlink_to(root / "shared" / "a.py")
    assert _keys(root) == ["a.one"]
