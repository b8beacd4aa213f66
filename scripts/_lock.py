"""Resolve ``requirements.lock``, or tell that it no longer follows from ``pyproject.toml``.

Run it through ``scripts/dev lock``. The lock is universal (one file for every platform and every
Python from our floor on), carries hashes, and names no index: where packages come from is the
business of the machine that installs them.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = "requirements.lock"
HEADER = """\
# Every package of a development environment, for every platform, by hash.
# Made by `scripts/dev lock`; installed by `scripts/dev setup`. Do not edit.
"""
COMPILE = (
    "pip",
    "compile",
    "pyproject.toml",
    "--universal",
    "--generate-hashes",
    "--all-extras",
    "--group=dev",
    "--python-version=3.11",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-header",
    "--quiet",
)
# A machine may offer files of its own beside its index; none of them may reach the lock.
LOCAL_SOURCES = ("UV_FIND_LINKS", "UV_NO_INDEX", "PIP_FIND_LINKS")
PINNED = re.compile(r"^[a-z0-9][a-z0-9.-]*(\[[a-z0-9,-]+\])?==[^ ]+( ; .+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
NOTE = re.compile(r"^( *#.*)?$")


class LockError(Exception):
    """The lock could not be resolved, or holds something that a lock must not hold."""


def foreign_lines(text: str) -> list[str]:
    """Every line that is neither ``name==version``, nor a hash, nor a comment without a URL."""
    said = []
    for number, line in enumerate(text.splitlines(), start=1):
        known = PINNED.match(line) or HASH.match(line) or NOTE.match(line)
        if not known or "://" in line or "file:" in line:
            said.append(f"{LOCK}:{number}: {line.strip()!r}")
    return said


def resolve(root: Path, target: Path, *, upgrade: list[str]) -> None:
    """Resolve into `target`, keeping every version (and hash) there that is still allowed.

    Raises:
        LockError: uv failed, or a source other than the index got into the result.
    """
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise LockError("uv is not installed in this environment; run scripts/dev setup")
    environment = {name: value for name, value in os.environ.items() if name not in LOCAL_SOURCES}
    done = subprocess.run(
        [uv, *COMPILE, *upgrade, "--output-file", str(target)],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LockError(f"uv could not resolve the dependencies:\n{done.stderr.strip()}")
    text = HEADER + target.read_text(encoding="utf-8")
    if foreign := foreign_lines(text):
        raise LockError("a lock names packages and hashes only, not:\n" + "\n".join(foreign))
    target.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run ``scripts/dev lock``: 0 done or current, 1 stale, 2 could not run."""
    parser = argparse.ArgumentParser(prog="scripts/dev lock", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    parser.add_argument("--upgrade", action="store_true", help="take the newest of everything")
    parser.add_argument("--upgrade-package", metavar="NAME", action="append", default=[])
    options = parser.parse_args(arguments)
    lock: Path = options.root / LOCK
    upgrade = ["--upgrade"] if options.upgrade else []
    upgrade += [f"--upgrade-package={name}" for name in options.upgrade_package]
    before = lock.read_text(encoding="utf-8") if lock.exists() else ""
    try:
        with tempfile.TemporaryDirectory(prefix="servo-lock-") as folder:
            target = Path(folder) / LOCK
            target.write_text(before, encoding="utf-8")
            resolve(options.root, target, upgrade=upgrade)
            after = target.read_text(encoding="utf-8")
    except LockError as error:
        print(f"lock: {error}", file=sys.stderr)
        return 2
    if options.check:
        if foreign := foreign_lines(before):
            print("lock: not a package, a hash or a comment:", *foreign, sep="\n", file=sys.stderr)
            return 1
        if before != after:
            sys.stderr.writelines(
                difflib.unified_diff(
                    before.splitlines(keepends=True),
                    after.splitlines(keepends=True),
                    f"{LOCK} (committed)",
                    f"{LOCK} (resolved from pyproject.toml)",
                    n=1,
                )
            )
            print("lock: stale; run scripts/dev lock and commit the result", file=sys.stderr)
            return 1
        return 0
    if before != after:
        lock.write_text(after, encoding="utf-8")
    print(f"{LOCK}: {'changed' if before != after else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
