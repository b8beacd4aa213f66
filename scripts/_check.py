"""Every gate that a change must pass, in the order in which a failure is cheapest to learn.

Run it through ``scripts/dev check``; ``.ci/run`` is the same command. It stops at the first gate
that fails, unless ``--keep-going``; naming gates runs only those.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTHON = sys.executable
PYTEST = (PYTHON, "-m", "pytest", "-q", "--durations=5", "-p", "no:cacheprovider")


@dataclass(frozen=True, slots=True)
class Gate:
    """One command that must end with 0."""

    name: str
    command: tuple[str, ...]
    what: str


GATES = (
    Gate("generated", (PYTHON, "scripts/_regen.py", "--check"), "servo._gen follows from proto/"),
    Gate("lock", (PYTHON, "scripts/_lock.py", "--check"), "the lock follows from pyproject.toml"),
    Gate("proto-lint", ("buf", "lint"), "names and comments of the contract"),
    Gate("proto-format", ("buf", "format", "--diff", "--exit-code"), "layout of the contract"),
    Gate(
        "proto-breaking",
        ("buf", "breaking", "--against", "proto/baseline.binpb"),
        "nothing that older clients or servers rely on has changed",
    ),
    Gate(
        "contract-docs",
        (PYTHON, "scripts/_contract_docs.py", "--check"),
        "docs/contract/reference follows from proto/",
    ),
    Gate(
        "state-docs",
        (PYTHON, "scripts/_state_docs.py", "--check"),
        "docs/concepts/states.md follows from the transitions and proto/",
    ),
    Gate(
        "client-twin",
        (PYTHON, "scripts/_unasync.py", "--check"),
        "the synchronous client follows from the asyncio one",
    ),
    Gate("lint", ("ruff", "check"), "ruff's rules"),
    Gate("format", ("ruff", "format", "--check"), "ruff's layout"),
    Gate("types", ("mypy",), "mypy, strict"),
    Gate("layers", ("lint-imports",), "who may import whom"),
    Gate(
        "tests",
        (
            *PYTEST,
            "-n",
            # Some wait for other processes.
            str((os.cpu_count() or 1) + 1),
            "-m",
            "not uncovered",
            "--cov",
            "--cov-report=term:skip-covered",
        ),
        "tests of the code, and 90 % of it run by them",
    ),
    Gate(
        "system",
        (*PYTEST, "-n", "auto", "-m", "uncovered and not wheel and not matrix"),
        "commands, contract, documents and models, and that runs survive whatever dies",
    ),
    Gate(
        "proto-mutants",
        (PYTHON, "scripts/_prove_proto_break.py"),
        "no edit of the contract goes unnoticed",
    ),
    Gate(
        "distributions",
        (*PYTEST, "-n", "auto", "--dist", "loadfile", "-m", "wheel or matrix"),
        "they work outside this tree, with the oldest and newest dependencies, on every Python",
    ),
    Gate(
        "release",
        (PYTHON, "scripts/_release.py", "--check"),
        "a tag on this commit is one that may be released",
    ),
)


def run(gate: Gate) -> tuple[bool, float]:
    """Run one gate in the foreground; return whether it passed and the seconds it took."""
    print(f"\n=== {gate.name}: {gate.what}", flush=True)
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    start = time.monotonic()
    done = subprocess.run(
        gate.command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    seconds = time.monotonic() - start
    passed = done.returncode == 0
    verdict = "passed" if passed else f"FAILED (exit {done.returncode})"
    print(f"=== {gate.name}: {verdict} in {seconds:.1f} s", flush=True)
    return passed, seconds


def main(arguments: list[str] | None = None, *, gates: tuple[Gate, ...] = GATES) -> int:
    """Run ``scripts/dev check``: 0 if every gate that ran passed, else 1."""
    parser = argparse.ArgumentParser(prog="scripts/dev check", description=__doc__)
    parser.add_argument("gates", nargs="*", metavar="GATE", help=", ".join(g.name for g in gates))
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    options = parser.parse_args(arguments)
    if unknown := set(options.gates) - {gate.name for gate in gates}:
        parser.error(f"unknown gates {sorted(unknown)}; there are {[g.name for g in gates]}")
    chosen = [gate for gate in gates if not options.gates or gate.name in options.gates]
    results: dict[str, tuple[str, float]] = {}
    for gate in chosen:
        passed, seconds = run(gate)
        results[gate.name] = ("passed" if passed else "FAILED", seconds)
        if not passed and not options.keep_going:
            break
    print("\nGates")
    for gate in chosen:
        verdict, seconds = results.get(gate.name, ("not run", 0.0))
        print(f"  {gate.name:<16}{verdict:<8}{seconds:8.1f} s")
    print(f"  {'in all':<24}{sum(seconds for _, seconds in results.values()):8.1f} s")
    return 0 if all(verdict == "passed" for verdict, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
