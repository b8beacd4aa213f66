"""What a Dockerfile of ours must not do; and how one is read and rehearsed without Docker."""

from __future__ import annotations

import re
import subprocess
import venv
from pathlib import Path

import pytest

import _dockerfile
import _lock_subset
import _rehearse_image
from _rehearse_image import RehearsalError

ROOT = Path(__file__).resolve().parents[2]
IGNORE = """
*
!src
!*.md
**/__pycache__
**/.servo/*
!**/.servo/state.json
"""
GOOD = """\
FROM python:3.11-slim AS build
COPY pyproject.toml requirements.lock ./
COPY src src
RUN python -m pip install --require-hashes --no-deps -r runtime.txt

FROM python:3.11-slim
COPY --from=build /opt/servo /opt/servo
USER 10001
ENTRYPOINT ["servo"]
"""
BAD = {
    "installs from an index": (
        "COPY src src",
        "RUN pip install --require-hashes arco-servo==1.0",
        "installs arco-servo from an index",
    ),
    "installs from an index, spelt otherwise": (
        "COPY src src",
        "RUN uv pip install 'Arco_Servo[sql]'",
        "installs arco-servo from an index",
    ),
    "runs buf": ("COPY src src", "RUN buf generate", "runs ['buf']"),
    "regenerates": ("COPY src src", "RUN bash scripts/regen.sh", "runs ['regen.sh']"),
    "runs as root": ("USER 10001", "", "runs as root"),
    "goes back to root": ("USER 10001", "USER 10001\nUSER root", "runs as root"),
    "installs without hashes": (" --require-hashes", "", "without --require-hashes"),
    "copies git's database": ("COPY src src", "COPY .git .git", "copies '.git'"),
    "copies everything": ("COPY src src", "COPY . /src", "copies '.'"),
    "copies everything, as a list": ("COPY src src", 'COPY ["./", "/src"]', "copies './'"),
    "installs the whole lock": ("runtime.txt", "requirements.lock", "installs the whole lock"),
    "sets up for development": ("COPY src src", "RUN bash scripts/dev setup", "runs scripts/dev"),
    "compiles in the release": (
        "COPY src src",
        "RUN apt-get install --require-hashes gcc",
        "uses ['gcc']",
    ),
    "is editable": ("--no-deps -r", "-e . -r", "installs in editable mode"),
    "pipes a download to a shell": (
        "COPY src src",
        "RUN curl -fsSL example.org/install.sh | sh",
        "runs ['curl']",
    ),
    "adds an address": ("COPY src src", "LABEL source=https://example.org", "an address"),
    "takes the latest base": (":3.11-slim AS", ":latest AS", "FROM python:latest"),
    "names no tag": ("python:3.11-slim AS", "python AS", "FROM python:"),
    "names a registry": (
        "FROM python:3.11-slim AS",
        "FROM registry.example.org/python:3.11 AS",
        "without a registry",
    ),
    "installs in the last stage": (
        "USER 10001",
        "RUN pip install --require-hashes -r runtime.txt\nUSER 10001",
        "the last stage installs packages",
    ),
    "keeps a secret": ("COPY src src", "ARG INDEX_TOKEN", "looks like a secret"),
    "hides behind a shell": ('["servo"]', "servo", "ENTRYPOINT is a JSON list"),
    "uses what is not understood": ("COPY src src", "ADD src src", "ADD is not used here"),
    "never ends": ('ENTRYPOINT ["servo"]', "RUN true \\", "the last line is continued"),
}


@pytest.mark.parametrize(("name", "release"), [("Dockerfile", True), ("Dockerfile.dev", False)])
def test_a_dockerfile_of_ours_breaks_no_rule(name: str, release: bool) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert _dockerfile.violations(text, release=release) == []


def test_the_file_that_the_bad_ones_are_made_from_breaks_no_rule() -> None:
    assert _dockerfile.violations(GOOD, release=True) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"), [pytest.param(*case, id=name) for name, case in BAD.items()]
)
def test_a_bad_dockerfile_is_refused_with_the_reason(old: str, new: str, reason: str) -> None:
    assert GOOD.count(old) == 1
    said = _dockerfile.violations(GOOD.replace(old, new), release=True)
    assert any(reason in each for each in said), said


def test_developers_may_have_their_tools() -> None:
    text = GOOD.replace("COPY src src", "RUN bash scripts/dev setup")
    assert _dockerfile.violations(text, release=False) == []


def test_lines_are_joined_and_comments_between_them_left_out() -> None:
    (stage,) = _dockerfile.read("FROM a:1\nRUN one \\\n  # why\n\n && two\n")
    (run,) = stage.every("RUN")
    assert (run.line, run.text) == (2, "one && two")
    assert _dockerfile.commands(run) == [["one"], ["two"]]


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("src/servo/asset.py", False),
        ("src/servo/__pycache__/asset.pyc", True),
        ("src/.servo/servo.db", True),
        ("src/a/b/.servo/state.json", False),
        ("README.md", False),
        ("docs/adr/0001.md", True),
        (".git/config", True),
        ("srcs/x.py", True),
    ],
)
def test_the_last_pattern_of_dockerignore_decides(path: str, ignored: bool) -> None:
    assert _rehearse_image.is_ignored(path, IGNORE.split()) is ignored


def test_the_context_is_what_git_knows_and_nothing_private() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    context = set(_rehearse_image.context_of(ROOT))
    assert context <= set(listed.stdout.splitlines())
    assert {"pyproject.toml", "requirements.lock", "src/servo/py.typed"} <= context
    assert not any(name.startswith((".git", ".venv", ".ci")) for name in context)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    (made / "src/__pycache__").mkdir(parents=True)
    (made / "src/a.py").write_text("a", encoding="utf-8")
    (made / "src/__pycache__/a.pyc").write_text("a", encoding="utf-8")
    (made / "README.md").write_text("read me", encoding="utf-8")
    (made / ".dockerignore").write_text(IGNORE, encoding="utf-8")
    return made


def rehearse(context: Path, text: str, **given: str) -> _rehearse_image.Rehearsal:
    dockerfile = context / "Dockerfile"
    dockerfile.write_text(text, encoding="utf-8")
    folder = context.parent / "image"
    folder.mkdir()
    python = context.parent / "python"
    venv.create(python)  # without pip, which takes seconds
    return _rehearse_image.rehearse(dockerfile, folder, context=context, given=given, python=python)


def test_a_rehearsal_copies_what_is_named_and_not_ignored(context: Path) -> None:
    made = rehearse(
        context,
        "FROM python:3.11 AS one\nWORKDIR /w\nCOPY src lib\nCOPY *.md docs/\n"
        "FROM python:3.11\nCOPY --from=one /w /kept\n",
    )
    assert made.copied == {"src/a.py", "README.md"}
    kept = sorted(each for each in (made.root / "kept").rglob("*") if each.is_file())
    assert kept == [made.root / "kept/docs/README.md", made.root / "kept/lib/a.py"]


def test_a_rehearsal_runs_lines_in_the_image_with_its_environment(context: Path) -> None:
    made = rehearse(
        context,
        "FROM python:3.11\nARG NAME=nobody\nENV PLACE=/opt/x WHO=$NAME\nWORKDIR /w\n"
        'RUN mkdir -p "$PLACE" && echo "$WHO" >"$PLACE/who" && pwd >>"$PLACE/who"\n',
        NAME="somebody",
    )
    assert (made.root / "opt/x/who").read_text() == f"somebody\n{made.root / 'w'}\n"
    assert made.run(["python", "-c", "import sys; print(sys.prefix)"]) == f"{made.python}\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("COPY missing here", "COPY finds no 'missing'"),
        ("COPY .git here", "COPY finds no '.git'"),
        ("RUN exit 3", "ended with 3"),
        ("RUN touch /opt/x", "['/opt/x'] would be paths of this machine"),
        ("RUN python -c 'import pytest'", "No module named 'pytest'"),
    ],
)
def test_a_rehearsal_fails_where_docker_would(context: Path, line: str, reason: str) -> None:
    with pytest.raises(RehearsalError, match=re.escape(reason)):
        rehearse(context, f"FROM python:3.11\n{line}\n")


def test_the_part_of_the_lock_for_a_release_is_whole_hashed_and_free_of_tools() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = _lock_subset.entries(lock)
    assert "".join(entry.text for entry in locked) == lock[lock.index(locked[0].text) :]
    project = {"": ["protobuf>=6", "rich"], "sql": ["arco-servo[parquet]"], "parquet": ["pyarrow"]}
    roots = _lock_subset.requirements(project, ["sql"])
    part = _lock_subset.closure(locked, roots)
    names = [entry.name for entry in part]
    assert names == ["markdown-it-py", "mdurl", "protobuf", "pyarrow", "pygments", "rich"]
    assert all("--hash=sha256:" in entry.text for entry in part)


def test_what_the_lock_or_the_project_lacks_is_an_error_that_names_it() -> None:
    with pytest.raises(_lock_subset.SubsetError, match="'fast'"):
        _lock_subset.requirements({"": []}, ["fast"])
    with pytest.raises(_lock_subset.SubsetError, match="'left-pad'"):
        _lock_subset.closure([], {"left-pad"})
