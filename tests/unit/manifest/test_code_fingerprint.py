"""What an asset runs with: which edits change its code fingerprint, and which do not."""

from __future__ import annotations

import importlib.machinery
import itertools
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo.manifest.module_facts import read_facts
from servo.manifest.project_code import ProjectCode

ASSETS = """
from servo import asset
from lib.near import near


@asset
def x(ctx):
    return near()


@asset
def y(ctx):
    return 1
"""
PROJECT = {
    "assets/a.py": ASSETS,
    "lib/__init__.py": "",
    "lib/near.py": "from . import far\n\n\ndef near():\n    return far.FAR\n",
    "lib/far.py": "FAR = 1\n",
    "lib/other.py": "OTHER = 1\n",
    "lib/data.csv": "a,b\n",
}


class Tree:
    """A project's files; each question is answered by looking at them anew."""

    def __init__(self, root: Path, files: dict[str, str]) -> None:
        self.root = root
        for path, text in files.items():
            self.write(path, text)

    def write(self, path: str, text: str | bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(dedent(text).encode() if isinstance(text, str) else text)

    def fingerprint(self, function: str = "x", module: str = "assets.a") -> str:
        return ProjectCode([self.root / "src", self.root]).fingerprint(module, function)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path, PROJECT)


def test_a_fingerprint_is_sixteen_hex_digits_that_never_change(tree: Tree) -> None:
    # A different value here means that no worker accepts what an older version has deployed.
    assert tree.fingerprint() == "c5d5ef52d91e6035"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("assets/a.py", ASSETS.replace("return near()", "return near() + 1")),
        ("assets/a.py", ASSETS + "\nLATER = 1\n"),
        ("assets/a.py", ASSETS.replace("@asset\ndef x", "@asset\n@twice\ndef x")),
        ("lib/near.py", PROJECT["lib/near.py"] + "\nMORE = 1\n"),
        ("lib/far.py", "FAR = 2\n"),
        ("lib/__init__.py", "import os\n"),
        ("assets/__init__.py", "import os\n"),
        ("src/lib/__init__.py", ""),
    ],
    ids=["body", "rest", "decorator", "helper", "helper of it", "init", "own init", "shadowed"],
)
def test_an_edit_of_what_an_asset_runs_with_changes_it(tree: Tree, path: str, text: str) -> None:
    before = tree.fingerprint()
    tree.write(path, text)
    assert tree.fingerprint() != before


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("assets/a.py", "# a comment\n" + ASSETS.replace("near()", "( near() )")),
        ("assets/a.py", '"""A docstring."""\n' + ASSETS),
        ("assets/a.py", ASSETS.replace("    return near()", '    """Doc."""\n    return near()')),
        ("assets/a.py", ASSETS.replace("return 1", "return 2")),
        ("assets/a.py", ASSETS.replace("@asset\ndef x", "@asset(owners=['ada'])\ndef x")),
        ("assets/a.py", ASSETS + "\n\n@asset\ndef z(ctx):\n    import lib.other\n"),
        ("assets/b.py", ASSETS),
        ("lib/far.py", "FAR = (\n    1\n)  # one\n"),
        ("lib/near.py", PROJECT["lib/near.py"].replace("    return", "    '''Doc.'''\n    return")),
        ("lib/other.py", "OTHER = 2\n"),
        ("lib/data.csv", "c\n"),
        ("tests/test_a.py", "import lib.near\n"),
    ],
)
def test_other_edits_do_not_change_it(tree: Tree, path: str, text: str) -> None:
    before = tree.fingerprint()
    tree.write(path, text)
    assert tree.fingerprint() == before


def test_a_docstring_in_place_of_an_empty_body_counts_as_one(tmp_path: Path) -> None:
    one, other = (
        read_facts(f"class C:\n    {body}\n".encode()).digest for body in ("pass", "'''Doc.'''")
    )
    assert one == other


@pytest.mark.parametrize(
    "imports",
    [
        "import lib.other",
        "import lib.other as short",
        "from lib import other",
        "from lib.other import OTHER",
        "from lib.other import *",
        "from lib import *",
        "from ..lib.other import OTHER",
        "from .. import lib",
        "if True:\n    from lib import other",
        "try:\n    pass\nexcept ValueError:\n    import lib.other",
        "class C:\n    import lib.other",
        "def f():\n    async def g():\n        import lib.other",
        "match 1:\n    case 1:\n        import lib.other",
        "with open('x') as f:\n    import lib.other",
        "while True:\n    pass\nelse:\n    import lib.other",
    ],
)
def test_an_import_counts_wherever_and_however_it_is_written(tmp_path: Path, imports: str) -> None:
    # In a package, so that relative imports reach as far as they may.
    inside = {f"top/{path}": text for path, text in PROJECT.items() if path != "assets/a.py"}
    tree = Tree(tmp_path, {"top/__init__.py": "", "top/assets/__init__.py": "", **inside})
    if "." not in imports.partition("from ")[2][:1]:
        imports = imports.replace("lib", "top.lib")
    code = "from servo import asset\n" + imports + "\n\n@asset\ndef x(ctx):\n    return 1\n"
    tree.write("top/assets/a.py", code)
    watched = "top/lib/__init__.py" if imports == "from .. import lib" else "top/lib/other.py"
    before = tree.fingerprint(module="top.assets.a")
    tree.write(watched, "OTHER = 2\n")
    assert tree.fingerprint(module="top.assets.a") != before


def test_an_import_inside_of_an_asset_counts_for_that_asset_alone(tree: Tree) -> None:
    tree.write("assets/a.py", ASSETS.replace("    return 1", "    import lib.other\n    return 1"))
    x, y = tree.fingerprint("x"), tree.fingerprint("y")
    tree.write("lib/other.py", "OTHER = 2\n")
    assert tree.fingerprint("x") == x
    assert tree.fingerprint("y") != y


@pytest.mark.parametrize(
    "rest",
    [
        "def helper():\n    return y.function(None)\n",
        "ALL = [y]\n",
        "def helper():\n    return globals()['y']\n",
        "import sys\nhere = sys.modules[__name__]\n",
        "from assets import a\n",
        "import loop\n",
        "asset = print\n",
        "if True:\n    from lib.near import near as asset\n",
    ],
    ids=["call", "name", "globals", "modules", "itself", "cycle", "assigned", "imported"],
)
def test_an_asset_that_others_can_reach_counts_for_them(tree: Tree, rest: str) -> None:
    tree.write("loop.py", "import assets.a\n")
    tree.write("assets/a.py", ASSETS + rest)
    before = tree.fingerprint("x")
    tree.write("assets/a.py", ASSETS.replace("return 1", "return 2") + rest)
    assert tree.fingerprint("x") != before


def test_an_asset_that_another_one_names_counts_for_it_with_its_imports(tree: Tree) -> None:
    text = ASSETS.replace("near()", "y.function(ctx)").replace("return 1", "import lib.other")
    tree.write("assets/a.py", text)
    before = tree.fingerprint("x")
    tree.write("lib/other.py", "OTHER = 2\n")
    assert tree.fingerprint("x") != before


@pytest.mark.parametrize(
    ("imported", "decorator"),
    [
        ("from servo import asset", "asset"),
        ("from servo import asset as table", "table(owners=['ada'])"),
        ("import servo", "servo.asset"),
        ("import servo as s", "s.asset(owners=['ada'])"),
    ],
)
def test_an_asset_is_recognized_under_any_name(
    tmp_path: Path, imported: str, decorator: str
) -> None:
    text = f"{imported}\n@{decorator}\nasync def x(ctx):\n    pass\n"
    assert list(read_facts(text.encode()).assets) == ["x"]


def test_a_function_that_only_looks_like_an_asset_is_part_of_the_rest() -> None:
    for text in (
        "from lib import asset\n@asset\ndef x(ctx): pass\n",
        "from servo import asset\nfrom lib import asset\n@asset\ndef x(ctx): pass\n",
        "from servo import asset\nif True:\n    @asset\n    def x(ctx): pass\n",
        "from servo import asset\n@asset(tags=(T := {}))\ndef x(ctx): pass\n",
        "from servo import *\n@asset\ndef x(ctx): pass\n",
    ):
        assert read_facts(text.encode()).assets == {}, text


def test_an_asset_that_a_function_makes_runs_with_its_whole_module(tree: Tree) -> None:
    before = tree.fingerprint("make.<locals>.inner"), tree.fingerprint("x")
    tree.write("assets/a.py", ASSETS.replace("return 1", "return 2"))
    after = tree.fingerprint("make.<locals>.inner"), tree.fingerprint("x")
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_a_module_outside_of_the_project_has_no_fingerprint(tree: Tree) -> None:
    assert tree.fingerprint(module="json.decoder") == ""
    assert tree.fingerprint(module="lib") != ""
    assert tree.fingerprint(module="assets") == "", "a directory has no code of its own"


def test_namespace_packages_are_searched_in_every_root(tmp_path: Path) -> None:
    tree = Tree(tmp_path, {"src/ns/one.py": "", "ns/two.py": "T = 1\n"})
    tree.write("src/ns/one.py", "import ns.two\n")
    before = tree.fingerprint(module="ns.one")
    tree.write("ns/two.py", "T = 2\n")
    assert tree.fingerprint(module="ns.one") != before


def test_an_extension_counts_by_its_bytes(tmp_path: Path) -> None:
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    tree = Tree(tmp_path, {"assets/a.py": "import fast\n"})
    tree.write(f"fast{suffix}", b"\x7fELF one")
    before = tree.fingerprint()
    tree.write(f"fast{suffix}", b"\x7fELF two")
    assert tree.fingerprint() != before


@pytest.mark.parametrize("broken", [b"def (", b"x = '\xff'\n", b"(" * 5000 + b"\n", b"a\0b"])
def test_what_cannot_be_parsed_counts_by_its_bytes(tree: Tree, broken: bytes) -> None:
    tree.write("lib/far.py", broken)
    before = tree.fingerprint()
    tree.write("lib/far.py", broken + b" ")
    assert tree.fingerprint() != before


def test_a_very_long_chain_of_imports_is_followed(tmp_path: Path) -> None:
    count = 3000
    tree = Tree(tmp_path, {f"m{n}.py": f"import m{n + 1}\n" for n in range(count)})
    tree.write(f"m{count}.py", "END = 1\nimport m0\n")
    before = tree.fingerprint(module="m0")
    tree.write(f"m{count}.py", "END = 2\nimport m0\n")
    assert tree.fingerprint(module="m0") != before


NAMES = ("a", "b", "c", "d", "e")


@given(edges=st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES))), data=st.data())
def test_exactly_what_is_reachable_counts(
    edges: set[tuple[str, str]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("graph")
    imports = {name: [f"import {to}" for one, to in sorted(edges) if one == name] for name in NAMES}
    tree = Tree(root, {f"{name}.py": "\n".join(lines) for name, lines in imports.items()})
    reached = {"a"}
    for _ in NAMES:
        reached |= {to for one, to in edges if one in reached}
    edited = data.draw(st.sampled_from(NAMES))
    before = tree.fingerprint(module="a")
    tree.write(f"{edited}.py", "\n".join([*imports[edited], "EDITED = 1"]))
    assert (tree.fingerprint(module="a") != before) == (edited in reached)


def test_a_module_stays_what_it_was_when_it_was_looked_at_first(tree: Tree) -> None:
    code = ProjectCode([tree.root])
    before = code.fingerprint("assets.a", "x"), code.fingerprint("lib.near", "near")
    place = code.find("lib.far")
    tree.write("lib/far.py", "FAR = 2\n")
    # Another file would be found under the same name now.
    tree.write("lib/far/__init__.py", "FAR = 3\n")
    tree.write("assets/late.py", "from lib import far\n")
    code.look_again()
    assert (code.fingerprint("assets.a", "x"), code.fingerprint("lib.near", "near")) == before
    assert code.find("lib.far") == place
    late = code.fingerprint("assets.late", "x")
    assert late not in ("", tree.fingerprint(module="assets.late")), "it would get the old lib.far"


def test_new_files_are_noticed_when_asked_for(tree: Tree) -> None:
    code = ProjectCode([tree.root])
    code.fingerprint("assets.a", "x")
    tree.write("assets/new.py", "NEW = 1\n")
    code.look_again()
    assert code.fingerprint("assets.new", "x") == tree.fingerprint(module="assets.new") != ""


def test_edits_of_assets_in_one_file_are_independent_of_each_other(tree: Tree) -> None:
    bodies = [
        ASSETS.replace("near()", f"near() + {x}").replace("return 1", f"return {y}")
        for x, y in itertools.product((1, 2), (3, 4))
    ]
    found = []
    for text in bodies:
        tree.write("assets/a.py", text)
        found.append((tree.fingerprint("x"), tree.fingerprint("y")))
    assert len({x for x, _ in found}) == 2
    assert len({y for _, y in found}) == 2


def test_the_functions_of_a_file_are_listed_once(tree: Tree) -> None:
    # A worker asks for each of them, and a file may have thousands.
    code = ProjectCode([tree.root])
    code.fingerprint("assets.a", "x")
    path = str(tree.root / "assets/a.py")
    found = code.functions_in(path)
    assert found is not None
    assert {name for _, name in found} == {"x", "y"}
    assert code.functions_in(path) is found
    assert code.functions_in(str(tree.root / "lib/other.py")) is None
