from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from servo.manifest import extract_git_context
from servo.manifest.git import code_version_of, without_credentials
from servo.manifest.project import Project


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    _git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "file").write_text("one\n")
    _commit(tmp_path, "The first line\n\nand more")
    return tmp_path


def _git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A Person", "-c", "user.email=a@example.com")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _commit(directory: Path, message: str) -> None:
    _git(directory, "add", ".")
    _git(directory, "commit", "--quiet", "--no-gpg-sign", "-m", message)


def test_a_commit_is_described(repository: Path) -> None:
    found = extract_git_context(repository)
    assert found is not None
    assert found.commit_sha == _git(repository, "rev-parse", "HEAD")
    assert found.commit_message == "The first line"
    assert found.author == "A Person <a@example.com>"
    assert (found.branch, found.dirty, found.repository) == ("main", False, "")


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    _git(repository, "checkout", "--quiet", "--detach")
    found = extract_git_context(repository)
    assert found is not None
    assert found.branch == ""


@pytest.mark.parametrize("name", ["file", "new"])
def test_an_edited_or_new_file_makes_it_dirty(repository: Path, name: str) -> None:
    (repository / name).write_text("two\n")
    found = extract_git_context(repository)
    assert found is not None
    assert found.dirty


def test_changes_outside_of_the_project_do_not_count(repository: Path) -> None:
    (repository / "project").mkdir()
    (repository / "file").write_text("two\n")
    found = extract_git_context(repository / "project")
    assert found is not None
    assert not found.dirty


def test_the_remote_is_shown_without_credentials(repository: Path) -> None:
    _git(repository, "remote", "add", "origin", "https://me:secret@example.com/a.git")
    found = extract_git_context(repository)
    assert found is not None
    assert found.repository == "https://example.com/a.git"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://token@example.com/a.git", "https://example.com/a.git"),
        ("https://a:b@c@example.com/a.git", "https://example.com/a.git"),
        ("https://example.com/a.git?token=secret#x", "https://example.com/a.git"),
        ("ssh://git@example.com:22/a.git", "ssh://example.com:22/a.git"),
        ("git@example.com:a/b.git", "git@example.com:a/b.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
    ],
)
def test_credentials_are_taken_off_a_url(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_without_a_repository_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert extract_git_context(tmp_path) is None


def test_without_a_commit_there_is_nothing_to_say(tmp_path: Path) -> None:
    _git(tmp_path, "init", "--quiet")
    assert extract_git_context(tmp_path) is None


def test_without_git_there_is_nothing_to_say(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert extract_git_context(repository) is None


def test_a_directory_that_vanished_is_nothing_to_fail_over(tmp_path: Path) -> None:
    assert extract_git_context(tmp_path / "gone") is None


def test_the_version_of_the_code_is_the_commit(repository: Path) -> None:
    commit = _git(repository, "rev-parse", "HEAD")
    assert code_version_of(repository) == commit
    for path in (".servo/state.json", ".servo/data/x", "assets/__pycache__/raw.pyc"):
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text("{}")
    assert code_version_of(repository) == commit, "what Servo and Python write is no code"


@pytest.mark.parametrize("name", ["file", "new"])
def test_changed_code_has_a_version_that_says_so(repository: Path, name: str) -> None:
    (repository / name).write_text("two\n")
    assert code_version_of(repository) == _git(repository, "rev-parse", "HEAD") + "-dirty"


def test_code_without_a_commit_has_no_version(tmp_path: Path) -> None:
    assert code_version_of(tmp_path) == ""
    _git(tmp_path, "init", "--quiet")
    assert code_version_of(tmp_path) == ""


def test_the_settings_name_another_version_of_the_code(repository: Path) -> None:
    assert Project.at(repository, environ={}).code_version_id == code_version_of(repository)
    given = Project.at(repository, environ={"SERVO_CODE_VERSION_ID": "image-7"})
    assert given.code_version_id == "image-7"
