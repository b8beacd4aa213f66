"""Git tags give the version, and a release that must not be is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.version import Version

import _release
import _tag_version
from servo import _version

ROOT = Path(__file__).resolve().parents[2]
BUF_YAML = "version: v2\nmodules:\n  - path: proto\nbreaking:\n  use:\n    - WIRE_JSON\n"
PROTO = (
    'syntax = "proto3";\npackage shop;\nmessage Order {\n  string id = 1;\n  string note = 2;\n}\n'
)


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository of its own, untouched by the settings of this machine."""

    root: Path

    def git(self, *arguments: str) -> str:
        environment = {n: text for n, text in os.environ.items() if not n.startswith("GIT_")}
        done = subprocess.run(
            ["git", "-c", "user.name=n", "-c", "user.email=n@example.com", *arguments],
            cwd=self.root,
            env=environment | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, count: int = 1) -> str:
        for _ in range(count):
            self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        return self.git("rev-parse", "HEAD")[:9]

    def tag(self, *names: str) -> None:
        for name in names:
            self.git("tag", name)

    def version(self, **environ: str) -> str:
        return _tag_version.version_of(self.root, environ)

    def release(self, *arguments: str) -> int:
        return _release.main([*arguments, "--root", str(self.root)])


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    (made.root / "proto").mkdir(parents=True)
    (made.root / "proto/shop.proto").write_text(PROTO, encoding="utf-8")
    (made.root / "buf.yaml").write_text(BUF_YAML, encoding="utf-8")
    made.git("init", "--quiet")
    made.git("add", ".")
    made.commit()
    return made


def test_a_commit_with_a_tag_is_that_release(repository: Repository) -> None:
    repository.tag("v1.2.3")
    assert repository.version() == "1.2.3"


def test_a_commit_after_a_tag_is_on_its_way_to_the_next_release(repository: Repository) -> None:
    repository.tag("v0.1.0")
    commit = repository.commit(5)
    assert repository.version() == f"0.1.1.dev5+g{commit}"


def test_a_repository_without_tags_is_on_its_way_to_the_first_release(
    repository: Repository,
) -> None:
    commit = repository.commit(2)
    assert repository.version() == f"0.1.0.dev3+g{commit}"


def test_a_repository_without_commits_has_a_version_too(tmp_path: Path) -> None:
    empty = Repository(tmp_path)
    empty.git("init", "--quiet")
    assert empty.version() == "0.1.0.dev0"


@pytest.mark.parametrize("name", ["proto/shop.proto", "new.py"])
def test_a_changed_or_unknown_file_is_never_a_release(repository: Repository, name: str) -> None:
    repository.tag("v1.0.0")
    (repository.root / name).write_text("changed", encoding="utf-8")
    commit = repository.git("rev-parse", "HEAD")[:9]
    assert repository.version() == f"1.0.1.dev0+g{commit}.dirty"


@pytest.mark.parametrize(
    ("release", "following"),
    [
        ("0.1.0", "0.1.1"),
        ("1.9", "1.10"),
        ("2.0.0rc1", "2.0.0rc2"),
        ("2.0.0a3", "2.0.0a4"),
        ("1.0.post1", "1.0.post2"),
    ],
)
def test_what_follows_a_release_sorts_between_it_and_the_next(release: str, following: str) -> None:
    said = _tag_version.next_release(Version(release))
    assert said == following
    assert Version(release) < Version(f"{said}.dev1") < Version(said)


def test_the_greatest_version_wins_where_a_commit_has_several_tags(repository: Repository) -> None:
    repository.tag("v1.0.0rc1", "v1.0.0", "v0.9.0", "vNext", "latest", "1.5.0")
    assert repository.version() == "1.0.0"


def test_tags_of_other_branches_do_not_count(repository: Repository) -> None:
    start = repository.git("rev-parse", "HEAD")
    repository.tag("v1.0.0")
    repository.commit()
    repository.tag("v2.0.0")
    repository.git("checkout", "--quiet", start)
    assert repository.version() == "1.0.0"


def test_a_shallow_clone_without_tags_does_not_pretend_to_be_new(
    repository: Repository, tmp_path: Path
) -> None:
    repository.tag("v3.0.0")
    commit = repository.commit(3)
    clone = Repository(tmp_path / "clone")
    repository.git(
        "clone", "--quiet", "--depth=1", "--no-tags", repository.root.as_uri(), str(clone.root)
    )
    assert clone.version() == f"0.0.0+g{commit}"


def test_a_variable_gives_the_version_where_there_is_no_git(tmp_path: Path) -> None:
    copy = Repository(tmp_path)
    assert copy.version(SERVO_BUILD_VERSION="1.2.3") == "1.2.3"
    assert copy.version() == "0.0.0+unknown"


@pytest.mark.parametrize("text", ["1.2.x", "v1.2.3", "1.02", "next"])
def test_a_variable_that_holds_no_canonical_version_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(_tag_version.VersionError, match=text):
        Repository(tmp_path).version(SERVO_BUILD_VERSION=text)


def test_a_repository_that_git_cannot_read_is_an_error_and_no_version(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere\n", encoding="utf-8")
    with pytest.raises(_tag_version.VersionError, match="SERVO_BUILD_VERSION"):
        Repository(tmp_path).version()


def test_a_build_leaves_the_tree_untouched_and_writes_the_version_into_the_wheel(
    repository: Repository, tmp_path: Path
) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, repository.root)
    for name in ("src/servo/_version.py", "scripts/_tag_version.py", "scripts/_build_hook.py"):
        (repository.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, repository.root / name)
    ignored = shutil.ignore_patterns("__pycache__", ".servo")
    shutil.copytree(ROOT / "examples", repository.root / "examples", ignore=ignored)
    repository.git("add", ".")
    repository.commit()
    repository.tag("v4.5.6")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "build", "--no-isolation", "--wheel"),
            *("--outdir", str(tmp_path / "dist"), str(repository.root)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert repository.git("status", "--porcelain") == ""
    with zipfile.ZipFile(tmp_path / "dist/arco_servo-4.5.6-py3-none-any.whl") as wheel:
        assert b'__version__ = "4.5.6"' in wheel.read("servo/_version.py")


def test_a_tree_says_the_version_that_its_installation_has_on_record(tmp_path: Path) -> None:
    (tmp_path / "arco_servo-7.8.9.dev1+gabc.dist-info").mkdir()
    missing = str(tmp_path / "nowhere")
    assert _version._of_installation([missing, str(tmp_path)]) == "7.8.9.dev1+gabc"
    assert _version._of_installation([missing]) == "0.0.0+unknown"


def test_a_newer_release_of_a_clean_tree_is_tagged(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    # Making a tag needs a name, and must not depend on whether this machine signs tags.
    for setting in ("user.name=n", "user.email=n@example.com", "tag.gpgSign=false"):
        repository.git("config", *setting.split("="))
    repository.tag("v0.1.0")
    repository.commit()
    assert repository.release("0.1.1", "--check") == 0
    assert repository.git("tag") == "v0.1.0"
    assert repository.release("0.1.1") == 0
    assert repository.version() == "0.1.1"
    assert "git push origin v0.1.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tags", "version", "reason"),
    [
        (["v1.2.0"], "1.1.0", "1.1.0 is older than the newest release 1.2.0"),
        (["v1.2.0"], "1.2.0rc1", "older than the newest release 1.2.0"),
        (["v1.2.0"], "1.2.0", "v1.2.0 is released already, from another commit"),
        (["v1.2.0", "vNext"], "1.3.0", "tags ['vNext'] name no PEP 440 release"),
        (["v1.2.0", "v1.3.0-beta"], "1.3.0", "tags ['v1.3.0-beta'] name no PEP 440 release"),
        ([], "1.0.0-final", "'1.0.0-final' is not a PEP 440 version"),
        ([], "1.0.0.RC1", "write '1.0.0rc1'"),
        ([], "1.0.0.dev3", "names a development version"),
        ([], "1.0.0+local", "names a development version"),
    ],
)
def test_a_release_that_is_older_or_no_version_is_refused(
    repository: Repository,
    capsys: pytest.CaptureFixture[str],
    tags: list[str],
    version: str,
    reason: str,
) -> None:
    repository.tag(*tags)
    repository.commit()
    assert repository.release(version) == 1
    assert reason in capsys.readouterr().err
    assert sorted(repository.git("tag").split()) == sorted(tags)


def test_a_dirty_tree_is_not_released(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository.root / "new.py").touch()
    assert repository.release("0.1.0") == 1
    assert "the tree is dirty (1 files); commit or remove:\n?? new.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "version", "allowed"),
    [
        ("v0.1.0", "0.1.1", False),
        ("v0.1.0", "0.2.0", True),
        ("v1.1.0", "1.1.1", False),
        ("v1.1.0", "1.2.0", False),
        ("v1.1.0", "2.0.0rc1", True),
    ],
)
def test_an_incompatible_contract_needs_a_version_that_says_so(
    repository: Repository,
    capsys: pytest.CaptureFixture[str],
    before: str,
    version: str,
    allowed: bool,
) -> None:
    repository.tag(before)
    text = PROTO.replace("string note", "int64 note")
    (repository.root / "proto/shop.proto").write_text(text, encoding="utf-8")
    repository.git("commit", "--quiet", "--all", "--message", "x")
    assert repository.release(version, "--check") == (0 if allowed else 1)
    assert ("note" in capsys.readouterr().err) is not allowed


def test_a_compatible_contract_may_be_a_patch_release(repository: Repository) -> None:
    repository.tag("v1.1.0")
    text = PROTO.replace("}", "  string more = 3;\n}")
    (repository.root / "proto/shop.proto").write_text(text, encoding="utf-8")
    repository.git("commit", "--quiet", "--all", "--message", "x")
    assert repository.release("1.1.1", "--check") == 0


def test_a_commit_without_a_tag_passes_the_check_and_says_what_it_builds(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repository.release("--check") == 0
    assert "no tag on this commit; it builds 0.1.0.dev1+g" in capsys.readouterr().out


@pytest.mark.parametrize("tag", ["vNext", "v0.9.0"])
def test_a_commit_whose_own_tag_must_not_be_is_refused(repository: Repository, tag: str) -> None:
    repository.tag("v1.0.0")
    repository.commit()
    repository.tag(tag)
    assert repository.release("--check") == 1
