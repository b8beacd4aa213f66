"""The version of a source tree: what its git tags say. No file of the tree holds it.

The build asks here (``[tool.hatch.version]`` in pyproject.toml), and so does ``scripts/dev
release``. Why, and what a version between two releases looks like: docs/releasing.md.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "v"
# What the tree is on its way to while nothing has been released.
FIRST_RELEASE = "0.1.0"
# Below every release, and no index takes a version with a local part.
UNKNOWN = "0.0.0+unknown"
VARIABLE = "SERVO_BUILD_VERSION"


class VersionError(Exception):
    """The version of a tree cannot be told, or is none."""


# Not a dataclass: the build back-end executes this file without registering it as a module, and a
# dataclass would look its module up.
class Position(NamedTuple):
    """Where a checkout stands among the tags.

    Attributes:
        release: Newest release whose tag the commit contains.
        commits: Commits since its tag, or since the beginning.
        commit: Hash of the commit; empty before the first.
        dirty: Whether a file differs from the commit, or is not known to git.
        shallow: Whether history was cut off, so that tags may be missing.
    """

    release: Version | None
    commits: int
    commit: str
    dirty: bool
    shallow: bool


def git(root: Path, *arguments: str) -> str:
    """Ask git about the repository at `root`.

    Raises:
        VersionError: git is missing, or refuses.
    """
    # A hook or a rebase leaves GIT_DIR and the like behind, which name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise VersionError(
            f"cannot run git in {str(root)!r}: {error}; install git, or give the version: "
            f"{VARIABLE}=1.2.3"
        ) from error
    if done.returncode != 0:
        raise VersionError(
            f"git {arguments[0]} in {str(root)!r} failed: {done.stderr.strip()}; "
            f"repair the repository, or give the version: {VARIABLE}=1.2.3"
        )
    return done.stdout.strip()


def parse(text: str) -> Version:
    """Read a version that could be released or built.

    Raises:
        VersionError: It is not a canonical PEP 440 version.
    """
    try:
        version = Version(text)
    except InvalidVersion as error:
        raise VersionError(f"{text!r} is not a PEP 440 version; write one like '1.2.3'") from error
    if str(version) != text:
        raise VersionError(f"version {text!r} is not in canonical form; write {str(version)!r}")
    return version


def releases(tags: list[str]) -> dict[Version, str]:
    """The release tags among `tags`, by version, oldest first; other tags are left out."""
    found = {}
    for tag in tags:
        try:
            version = parse(tag.removeprefix(PREFIX))
        except VersionError:
            continue
        if tag.startswith(PREFIX) and not version.is_devrelease and version.local is None:
            found[version] = tag
    return dict(sorted(found.items()))


def position(root: Path) -> Position:
    """Find out where the checkout at `root` stands."""
    dirty = bool(git(root, "status", "--porcelain"))
    if not git(root, "rev-list", "--max-count=1", "--all"):
        return Position(release=None, commits=0, commit="", dirty=dirty, shallow=False)
    tags = releases(git(root, "tag", "--merged", "HEAD", "--list", f"{PREFIX}*").splitlines())
    release, tag = next(reversed(tags.items()), (None, ""))
    return Position(
        release=release,
        commits=int(git(root, "rev-list", "--count", f"{tag}..HEAD" if tag else "HEAD")),
        commit=git(root, "rev-parse", "HEAD"),
        dirty=dirty,
        shallow=git(root, "rev-parse", "--is-shallow-repository") == "true",
    )


def next_release(release: Version) -> str:
    """The least release that may follow: what a tree after `release` is on its way to."""
    if release.pre is not None:
        phase, number = release.pre
        return f"{release.base_version}{phase}{number + 1}"
    if release.post is not None:
        return f"{release.base_version}.post{release.post + 1}"
    *head, last = release.release
    return ".".join(str(number) for number in (*head, last + 1))


def version_at(where: Position) -> str:
    """The version of a tree at that position: a release, or a development version after it."""
    if where.release is not None and where.commits == 0 and not where.dirty:
        return str(where.release)
    if where.release is None and where.shallow:
        return f"0.0.0+g{where.commit[:9]}"
    base = FIRST_RELEASE if where.release is None else next_release(where.release)
    local = [f"g{where.commit[:9]}"] if where.commit else []
    local += ["dirty"] if where.dirty else []
    text = f"{base}.dev{where.commits}" + (f"+{'.'.join(local)}" if local else "")
    return str(parse(text))


def version_of(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> str:
    """The version of the sources at `root`.

    A source distribution has its version in ``PKG-INFO``, and the build back-end does not ask
    here; everything else is told by git. A copy without git, such as what a Dockerfile copies, is
    told by the variable ``SERVO_BUILD_VERSION``, which always wins.

    Raises:
        VersionError: The variable holds no version, or git cannot be asked.
    """
    given = (os.environ if environ is None else environ).get(VARIABLE, "")
    if given:
        return str(parse(given))
    if not (root / ".git").exists():
        return UNKNOWN
    return version_at(position(root))


if __name__ == "__main__":
    print(version_of())
