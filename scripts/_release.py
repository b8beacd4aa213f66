"""Check that a commit may be released, and tag it: ``scripts/dev release VERSION``.

A release is a tag, ``v`` and the version; nothing in the tree changes. ``--check`` only checks, and
without a version it checks the tag that the commit carries already, if any. Nothing is pushed or
uploaded here. The steps around it: docs/releasing.md.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from packaging.version import Version

from _tag_version import PREFIX, ROOT, VersionError, git, parse, releases, version_of

CONTRACT = ("buf.yaml", "proto")


class ReleaseError(Exception):
    """The commit must not be released as that version; each argument is a reason."""


def proposed(text: str) -> Version:
    """Read the version of a release.

    Raises:
        ReleaseError: It is no version, or one that is never tagged.
    """
    try:
        version = parse(text.removeprefix(PREFIX))
    except VersionError as error:
        raise ReleaseError(str(error)) from error
    if version.is_devrelease or version.local is not None:
        raise ReleaseError(f"{text!r} names a development version; those are built, never tagged")
    return version


def is_incompatible_step(old: Version, new: Version) -> bool:
    """Whether going from `old` to `new` announces incompatible changes (SemVer)."""
    significant = 2 if old.major == 0 and new.major == 0 else 1
    return new.release[:significant] > old.release[:significant]


def contract_of(root: Path, tag: str, folder: Path) -> None:
    """Write the contract as it was at `tag` into `folder`."""
    done = subprocess.run(
        ["git", "archive", "--format=tar", tag, *CONTRACT],
        cwd=root,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise VersionError(f"git archive {tag} failed: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def breaking_changes(root: Path, tag: str) -> list[str]:
    """What `buf breaking` says of the contract at `root`, compared with that at `tag`.

    Raises:
        VersionError: buf is missing or cannot compare.
    """
    buf = shutil.which("buf", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if buf is None:
        raise VersionError("buf is not installed in this environment; run scripts/dev setup")
    with tempfile.TemporaryDirectory(prefix="servo-release-") as folder:
        contract_of(root, tag, Path(folder))
        done = subprocess.run(
            [buf, "breaking", "--against", folder],
            cwd=root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    # 100 is "there are breaking changes"; anything else is a failure of the tool.
    if done.returncode not in (0, 100):
        raise VersionError(f"buf breaking against {tag} failed: {done.stderr.strip()}")
    return done.stdout.splitlines()


def reasons_against(root: Path, version: Version) -> list[str]:
    """Every reason why the checkout at `root` must not be released as `version`."""
    said = []
    tags = git(root, "tag", "--list", f"{PREFIX}*").splitlines()
    known = releases(tags)
    here = git(root, "tag", "--points-at", "HEAD").splitlines()
    if odd := sorted(set(tags) - set(known.values())):
        said.append(
            f"tags {odd} name no PEP 440 release, so the newest cannot be told; delete them"
        )
    if version in known and known[version] not in here:
        said.append(f"{known[version]} is released already, from another commit")
    earlier = {each: tag for each, tag in known.items() if each != version}
    newest, tag = next(reversed(earlier.items()), (None, ""))
    if newest is not None and version < newest:
        said.append(
            f"{version} is older than the newest release {newest}; releases only go forward"
        )
    if changed := git(root, "status", "--porcelain"):
        count = len(changed.splitlines())
        said.append(f"the tree is dirty ({count} files); commit or remove:\n{changed}")
    if newest is not None and not is_incompatible_step(newest, version):
        broken = breaking_changes(root, tag)
        if broken:
            lines = "\n".join(f"    {line}" for line in broken)
            said.append(
                f"the contract is incompatible with {newest}, and {version} does not announce it; "
                f"raise the {'minor' if newest.major == 0 else 'major'} version:\n{lines}"
            )
    return said


def tag_of_head(root: Path) -> str | None:
    """The version in the release tag that the commit carries; ``None`` if it carries none.

    A tag that looks like a release and is none counts: it is checked, and refused.
    """
    tags = git(root, "tag", "--points-at", "HEAD", "--list", f"{PREFIX}*").splitlines()
    if not tags:
        return None
    return next(reversed(releases(tags).values()), tags[0])


def main(arguments: list[str] | None = None) -> int:
    """Run ``scripts/dev release``: 0 released or allowed, 1 refused, 2 could not run."""
    parser = argparse.ArgumentParser(prog="scripts/dev release", description=__doc__)
    parser.add_argument("version", nargs="?", help="such as 1.2.0 or 1.2.0rc1")
    parser.add_argument("--check", action="store_true", help="make no tag")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    root: Path = options.root
    try:
        text = options.version or tag_of_head(root)
        if text is None:
            if not options.check:
                parser.error("name the version to release, or --check")
            print(f"release: no tag on this commit; it builds {version_of(root, {})}")
            return 0
        version = proposed(text)
        if said := reasons_against(root, version):
            raise ReleaseError(*said)
        if not options.check:
            git(root, "tag", "--annotate", f"{PREFIX}{version}", "--message", f"Servo {version}")
    except ReleaseError as error:
        print(
            "release: refused",
            *(f"  - {reason}" for reason in error.args),
            sep="\n",
            file=sys.stderr,
        )
        return 1
    except VersionError as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    if options.check:
        print(f"release: {version} may be released from this commit")
    else:
        print(f"release: tagged {PREFIX}{version}; push it: git push origin {PREFIX}{version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
