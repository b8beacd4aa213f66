"""Break the contract in every way that matters, and see the build go red each time.

Run it through ``scripts/prove_proto_break.sh``. For every mutant it edits the protos in a
throw-away copy of the tree, generates the code again, so that nothing is red merely because
generated files are old, and runs the gates that need no service. The table says which of them
noticed. A mutant that none notices, or that the gates made for it do not, fails the script.

The same gates have to be green before the first edit; otherwise red would prove nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import _check
import _regen
from _mutants import MUTANTS, Mutant, MutantError

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("proto", "src", "scripts", "tests", "buf.yaml", "buf.gen.yaml", "pyproject.toml")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "node_modules", "js")
BUF = ("proto-lint", "proto-breaking")
TESTS = (
    "tests/contract/test_totality.py",
    "tests/contract/test_roster.py",
    "tests/contract/test_canonical_json.py",
    "tests/contract/test_corpus.py",
    "tests/contract/test_golden_wire.py",
    "tests/unit/manifest/test_golden.py",
)
# Random messages say nothing about a mutant that one filled message does not, and whether the
# corpus's own script works is no question of the protos.
SKIPPED = ("any_message", "reading", "passes_the_check", "change_is_named", "puts_right")
FAILED_TEST = re.compile(
    r"^(?:FAILED|ERROR) tests/\S*?(test_\w+)\.py(?:::(.*?))?(?: - (.*))?$", re.M
)
GATE_SECONDS = 300
# Settings of the test session or coverage run that may have started this one.
NOT_INHERITED = ("COVERAGE_", "COV_CORE_", "PYTEST_", "PYTHONPATH")


# Python 3.11 cannot parse in two threads at once: "AST constructor recursion depth mismatch",
# https://github.com/python/cpython/issues/106905
GENERATING = threading.Lock()


class ProofError(Exception):
    """Nothing can be proved: the tree is red already, or the copy cannot be generated."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A gate that is red, and the first thing it said."""

    gate: str
    said: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant.

    Attributes:
        mutant: Its name.
        findings: The gates that noticed it.
        missing: Gates that should have, and did not.
        seconds: How long it took.
    """

    mutant: str
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]
    seconds: float

    @property
    def outcome(self) -> str:
        """``killed``, ``SURVIVED``, or ``MISSED`` where a gate that is made for it was green."""
        if not self.findings:
            return "SURVIVED"
        return "MISSED" if self.missing else "killed"


def copy_tree(root: Path, target: Path) -> None:
    """Copy what generation and the gates read."""
    target.mkdir(parents=True)
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=LEFT_OUT)
        else:
            shutil.copy2(source, target / name)


def run_gate(tree: Path, command: Sequence[str]) -> tuple[int, str]:
    """Run a gate in a copy of the tree; return its exit code and everything it said."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)
    }
    path = f"{_check.BIN}{os.pathsep}{environment.get('PATH', '')}"
    # With CI set, Hypothesis looks at the same examples each time.
    environment |= {"PATH": path, "CI": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(
        command,
        cwd=tree,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=GATE_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout


def first_line(text: str) -> str:
    """Return what a gate said first, short enough for a table."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:160] if lines else "nothing"


def findings(tree: Path) -> tuple[Finding, ...]:
    """Run the gates in a tree and return those that are red."""
    found = []
    commands = {gate.name: gate.command for gate in _check.GATES}
    for name in BUF:
        code, said = run_gate(tree, commands[name])
        if code:
            found.append(Finding(name, first_line(said)))
    # The wire is where messages become types; the rest of the package never sees a message.
    code, said = run_gate(tree, (sys.executable, "-m", "mypy", "src/servo/_wire"))
    if code:
        found.append(Finding("types", first_line(said)))
    options = (
        "-q",
        "-rfE",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-k",
        f"not ({' or '.join(SKIPPED)})",
    )
    code, said = run_gate(tree, (sys.executable, "-m", "pytest", *options, *TESTS))
    if code:
        modules: dict[str, str] = {}
        for module, test, why in FAILED_TEST.findall(said):
            modules.setdefault(module, f"{test or 'cannot be imported'}: {why}"[:160])
        found += [Finding(module, why) for module, why in modules.items()]
        if not modules:
            found.append(Finding("tests", f"exit {code}: {said.strip()[-160:]}"))
    return tuple(found)


def put_back(root: Path, tree: Path) -> None:
    """Give a copy the protos and the generated code of the tree it was copied from."""
    for name in (_regen.PROTO, _regen.GENERATED):
        shutil.rmtree(tree / name)
        shutil.copytree(root / name, tree / name, ignore=LEFT_OUT, copy_function=shutil.copyfile)


def generate_again(tree: Path) -> None:
    """Do what a person does after an edit of the protos: regenerate, so that nothing is stale."""
    with tempfile.TemporaryDirectory(prefix="servo-mutant-") as folder, GENERATING:
        _regen.generate(tree, Path(folder))
        _regen.install(Path(folder), tree / _regen.GENERATED)
    if stale := _regen.hash_drift(tree):
        raise ProofError(f"generated code is stale after generating it: {stale[0]}")


def judge(root: Path, tree: Path, mutant: Mutant) -> Verdict:
    """Make one edit in a copy, see which gates notice it, and take it back."""
    start = time.monotonic()
    mutant.apply(tree)
    try:
        generate_again(tree)
        found = findings(tree)
    finally:
        put_back(root, tree)
    missing = tuple([gate for gate in mutant.noticed_by if gate not in {one.gate for one in found}])
    return Verdict(mutant.name, found, missing, round(time.monotonic() - start, 1))


def prove(
    root: Path,
    mutants: Sequence[Mutant],
    *,
    jobs: int,
    report: Callable[[Verdict], object] = lambda _: None,
) -> list[Verdict]:
    """Judge every mutant, `jobs` at a time.

    Raises:
        ProofError: The unchanged tree does not pass its gates.
        MutantError: A mutant does not apply.
        RegenError: The generators refuse a mutant.
    """
    for mutant in mutants:
        mutant.edited(root)
    with tempfile.TemporaryDirectory(prefix="servo-proof-") as folder:
        first = Path(folder) / "0"
        copy_tree(root, first)
        if red := findings(first):
            lines = "\n".join(f"  {one.gate}: {one.said}" for one in red)
            raise ProofError(f"these gates are red before anything was changed:\n{lines}")
        trees: queue.Queue[Path] = queue.Queue()
        trees.put(first)
        for number in range(1, jobs):
            # The copy of a copy has mypy's cache, which a check of the whole wire fills.
            trees.put(shutil.copytree(first, Path(folder) / str(number)))

        def judge_next(mutant: Mutant) -> Verdict:
            tree = trees.get()
            try:
                verdict = judge(root, tree, mutant)
            finally:
                trees.put(tree)
            report(verdict)
            return verdict

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(judge_next, mutants))


def show(verdict: Verdict) -> None:
    """Print a row of the table."""
    gates = ", ".join(one.gate for one in verdict.findings) or "nothing"
    if verdict.missing:
        gates += f"; not by {', '.join(verdict.missing)}"
    print(
        f"{verdict.outcome:<9} {verdict.mutant:<40} {verdict.seconds:>5} s  by {gates}", flush=True
    )


def main(arguments: list[str] | None = None, *, mutants: tuple[Mutant, ...] = MUTANTS) -> int:
    """Run the script: 0 every mutant was noticed, 1 one was not, 2 nothing could be proved."""
    parser = argparse.ArgumentParser(prog="scripts/prove_proto_break.sh", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="MUTANT", help="only these; default all")
    parser.add_argument("--json", action="store_true", help="print what each gate said, as JSON")
    parser.add_argument(
        "--jobs", type=int, default=min(4, os.cpu_count() or 1), help="mutants at a time"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - {mutant.name for mutant in mutants}:
        parser.error(f"no mutant is called {sorted(unknown)}; see scripts/_mutants.py")
    chosen = [mutant for mutant in mutants if not options.names or mutant.name in options.names]
    try:
        verdicts = prove(
            options.root,
            chosen,
            jobs=max(1, min(options.jobs, len(chosen))),
            report=(lambda _: None) if options.json else show,
        )
    except (ProofError, MutantError, _regen.RegenError, subprocess.TimeoutExpired) as error:
        print(f"prove_proto_break: {error}", file=sys.stderr)
        return 2
    unnoticed = [verdict for verdict in verdicts if verdict.outcome != "killed"]
    if options.json:
        rows = [{"outcome": verdict.outcome} | asdict(verdict) for verdict in verdicts]
        print(json.dumps(rows, indent=2))
    else:
        print(f"{len(verdicts) - len(unnoticed)} of {len(verdicts)} edits were noticed")
    for verdict in unnoticed:
        print(
            f"prove_proto_break: {verdict.mutant!r} {verdict.outcome}: "
            f"{', '.join(verdict.missing) or 'some gate'} should have been red",
            file=sys.stderr,
        )
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
