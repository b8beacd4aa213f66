"""The part of ``requirements.lock`` that a release needs: same versions, same hashes, less of it.

The repository has one lock, and it holds the development tools. A release image must not hold them,
and must still install by hash. This prints what the project (with some extras) or named packages
need, following the notes in the lock of who needs what. Nothing is resolved, nothing
is asked of an index, and only the standard library is used: the Dockerfile runs it first of all.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "arco-servo"
NAME = re.compile(r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*")
EXTRAS = re.compile(r"\[([^\]]*)\]")
NOTE = re.compile(r"^ +#(?: via)? +(\S+)", re.MULTILINE)


class SubsetError(Exception):
    """The lock does not hold what is asked of it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the lock with its hashes; a package has several where markers tell them apart."""

    name: str
    text: str
    needed_by: frozenset[str]


def entries(lock: str) -> list[Entry]:
    """Read a lock as uv writes it."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)[1:]
    return [Entry(_name(block), block, frozenset(NOTE.findall(block))) for block in blocks]


def _name(requirement: str) -> str:
    found = NAME.match(requirement)
    if found is None:
        raise SubsetError(f"{requirement!r} names no package")
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def requirements(project: dict[str, list[str]], extras: Iterable[str]) -> set[str]:
    """Names of what the project requires directly, with some of its extras.

    Args:
        project: Extra to requirements; the empty name is the project without extras.
        extras: Which extras; one extra may name others of the project.

    Raises:
        SubsetError: The project has no such extra.
    """
    names: set[str] = set()
    waiting, seen = ["", *extras], set[str]()
    while waiting:
        extra = waiting.pop()
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in project:
            raise SubsetError(
                f"there is no extra {extra!r}; there are {sorted(set(project) - {''})}"
            )
        for text in project[extra]:
            if _name(text) != PROJECT:
                names.add(_name(text))
            elif found := EXTRAS.search(text):
                waiting += [each.strip() for each in found.group(1).split(",")]
    return names


def closure(locked: list[Entry], roots: set[str]) -> list[Entry]:
    """Everything in the lock that `roots` need, in the order of the lock.

    Raises:
        SubsetError: A root is not in the lock.
    """
    if missing := roots - {entry.name for entry in locked}:
        raise SubsetError(f"{sorted(missing)} are not in the lock; run scripts/dev lock")
    wanted = set(roots)
    while more := {e.name for e in locked if e.needed_by & wanted} - wanted:
        wanted |= more
    return [entry for entry in locked if entry.name in wanted]


def main(arguments: list[str] | None = None) -> int:
    """Print a part of the lock: 0 done, 2 it does not hold what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--extras", metavar="A,B", help="the project with these extras; may be empty")
    what.add_argument("--packages", metavar="A,B", help="packages, such as the build back-end")
    options = parser.parse_args(arguments)
    table = tomllib.loads((options.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    project = {"": table["dependencies"], **table["optional-dependencies"]}
    try:
        if options.packages is not None:
            roots = {_name(each) for each in options.packages.split(",")}
        else:
            roots = requirements(project, filter(None, options.extras.split(",")))
        lock = (options.root / "requirements.lock").read_text(encoding="utf-8")
        sys.stdout.writelines(entry.text for entry in closure(entries(lock), roots))
    except SubsetError as error:
        print(f"lock: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
