"""The state of the source tree, as far as git can tell; never a reason to fail."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from servo.types.manifests import GitContext

__all__ = ["GitContext", "code_version_of", "extract_git_context", "without_credentials"]

_TIMEOUT_SECONDS: Final = 5.0
_CREDENTIALS = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/]*@", re.IGNORECASE)
# Without what Servo and Python write themselves: the code does not change by that.
_CODE: Final = (".", ":(exclude,glob)**/.servo/**", ":(exclude,glob)**/__pycache__/**")
_SECRET_QUERY = re.compile(r"[?#].*$", re.DOTALL)


def extract_git_context(root: str | Path | None = None) -> GitContext | None:
    """Describe the work tree that ``root`` lies in.

    Args:
        root: A directory; by default the current one.

    Returns:
        What git says, or ``None`` when there is no git, no repository, no commit, or no answer
        within a few seconds.
    """
    directory = Path(root) if root is not None else Path.cwd()
    # One command for commit, author and message; the separator cannot occur in any of them.
    commit = _git(directory, "log", "-1", "--no-show-signature", "--format=%H%x00%an <%ae>%x00%s")
    if commit is None or commit.count("\0") != 2:
        return None
    sha, author, message = commit.split("\0")
    status = _git(directory, "status", "--porcelain", "--untracked-files=normal", "--", ".")
    return GitContext(
        repository=without_credentials(_git(directory, "remote", "get-url", "origin") or ""),
        branch=_git(directory, "symbolic-ref", "--quiet", "--short", "HEAD") or "",
        commit_sha=sha,
        commit_message=message,
        author=author,
        dirty=bool(status),
    )


def code_version_of(root: str | Path) -> str:
    """Name the version of the code in the work tree that ``root`` lies in.

    Returns:
        The commit, with ``-dirty`` after it where files below ``root`` differ from it; what Servo
        and Python write there does not count. Empty when git cannot tell.
    """
    commit = _git(Path(root), "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if not commit:
        return ""
    changed = _git(Path(root), "status", "--porcelain", "--untracked-files=all", "--", *_CODE)
    return commit if changed == "" else f"{commit}-dirty"


def without_credentials(url: str) -> str:
    """Return a remote's URL without user, password, token and query."""
    if "://" not in url:
        return url  # host:path, as ssh writes it, holds no secret; nor does a directory
    return _SECRET_QUERY.sub("", _CREDENTIALS.sub(r"\1", url))


def _git(directory: Path, *arguments: str) -> str | None:
    # The variables that hooks set would make git look at another repository; prompts would hang.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ.update(GIT_TERMINAL_PROMPT="0", GIT_OPTIONAL_LOCKS="0", LC_ALL="C.UTF-8")
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            env=environ,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode != 0:
        return None
    return done.stdout.decode(errors="replace").rstrip("\n")
