"""Which single edits of the code the tests notice: a seeded sample, with the tests of each line.

The tests run once under coverage, which records for every line the tests that execute it, also in
the processes that they start. Then each edit of the sample is made in a copy of the tree, and the
tests of its line run there until one fails. An edit that none of them notices has survived. Those
that change nothing that can be observed are listed in ``equivalent.toml`` with the reason.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from measure import HERE, PYTHON, ROOT, BenchmarkError, Measurement, Options, progress
from mutations import Edit, compiles, edits_of

NAME: Final = "mutants"
SUMMARY: Final = "single edits of the code that no test notices"

_SEED: Final = 12
_EDITS: Final = 200
_QUICK_EDITS: Final = 2
_COPIES: Final = 2
_ASYNC: Final = "servo/client/_aio/"
_SYNC: Final = "servo/client/_sync/"
_LEFT_OUT: Final = ("servo/_gen/", "servo/cli/template/", _SYNC)
"""Generated code, and what `servo init` copies."""
_CHOSEN: Final = "not wheel and not matrix"
_MOST_FAILED: Final = 10
"""Under coverage everything takes twice the time, which some tests of whole commands may not
stand."""
_NAME_PROCESSES: Final = """

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    import base64, json

    name = "COVERAGE_PROCESS_CONFIG"
    if name in os.environ:
        config = json.loads(base64.b64decode(os.environ[name]))
        config["context"] = item.nodeid
        os.environ[name] = base64.b64encode(json.dumps(config).encode()).decode()
"""
"""What makes the processes that a test starts record under its name: they find the configuration of
coverage in a variable."""
_MOST_TESTS: Final = 60
_MOST_SECONDS: Final = 90.0
"""Of tests for one edit, by the time that they took without it."""
_TIMEOUT: Final = 300
_TEST_TIMEOUT: Final = 60
_EQUIVALENT: Final = HERE / "equivalent.toml"
_FAILED: Final = frozenset({1, 2, 3, 4})
"""Exit codes of pytest: a test failed, or the code cannot even be imported any more."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """An edit of a file, and the tests that execute its line.

    Attributes:
        path: The file below ``src``.
        edit: The edit.
        before: The line.
        after: The line after the edit.
        tests: Node ids, the most specific first.
    """

    path: str
    edit: Edit
    before: str
    after: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path}:{self.edit.line}: {self.before}  ->  {self.after}"


def measure(options: Options) -> Iterator[Measurement]:
    """Make the edits, and count those that survive."""
    copies = [_copy(options.folder / f"tree-{number}") for number in range(_COPIES)]
    tests = _Tests(copies[0], options.folder)
    tests.run(["tests/unit/types"] if options.quick else [])
    mutants = _sample(tests, copies[0], _QUICK_EDITS if options.quick else _EDITS)
    equivalent = _equivalent()
    idle: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        idle.put(copy)
    survivors: list[Mutant] = []
    excused = 0
    with ThreadPoolExecutor(_COPIES) as pool:
        outcomes = pool.map(lambda mutant: _survives(mutant, idle), mutants)
        for number, (mutant, survives) in enumerate(zip(mutants, outcomes, strict=True), 1):
            if survives and (mutant.path, mutant.before, mutant.after) in equivalent:
                excused += 1
            elif survives:
                survivors.append(mutant)
                why = "" if mutant.tests else " (no test executes it)"
                progress(f"survived{why}: {mutant}")
            if number % 20 == 0:
                progress(f"{number} of {len(mutants)} edits, {len(survivors)} survived")
    counted = len(mutants) - excused
    yield Measurement(
        benchmark=NAME,
        what=f"edits that no test noticed, of {counted} that change something",
        unit="%",
        samples=(100 * len(survivors) / counted,),
        limit=5,
        note=f"seed {_SEED}; {excused} more are equivalent (equivalent.toml)",
    )


def _copy(target: Path) -> Path:
    """Copy the files of the tree that are committed or would be, as they are now."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def _environment(tree: Path, **more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SERVO_", "COVERAGE_", "COV_", "PYTEST_"))
    }
    # The same examples of Hypothesis each time, and the code of the copy in every process.
    return kept | {"CI": "true", "PYTHONPATH": str(tree / "src")} | more


class _Tests:
    """Which tests execute which lines, and how long each of them takes.

    Args:
        tree: A copy of the tree.
        folder: Where the records go.
    """

    def __init__(self, tree: Path, folder: Path) -> None:
        self._tree = tree
        self._data = folder / "coverage"
        self._report = folder / "tests.xml"
        self._seconds: dict[str, float] = {}
        self._lines: dict[str, dict[int, set[str]]] = {}
        self._breadth: dict[str, int] = {}

    def run(self, chosen: Sequence[str]) -> None:
        """Run tests, by default all that run in the tree.

        Raises:
            BenchmarkError: More than a few fail without an edit.
        """
        with (self._tree / "tests" / "conftest.py").open("a", encoding="utf-8") as conftest:
            conftest.write(_NAME_PROCESSES)
        progress("every test once, to see which lines it executes")
        done = subprocess.run(
            [
                *(PYTHON, "-m", "pytest", "-q", "-n", str((os.cpu_count() or 1) + 1)),
                *("-p", "no:cacheprovider", "-m", _CHOSEN, "-o", "junit_family=xunit1"),
                *(f"--junitxml={self._report}", "--cov", "--cov-context=test", "--cov-report="),
                f"--timeout={_TIMEOUT}",
                *chosen,
            ],
            cwd=self._tree, env=_environment(self._tree, COVERAGE_FILE=str(self._data)),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        failed = []
        for case in ET.parse(self._report).iter("testcase"):
            name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
            if case.find("failure") is None and case.find("error") is None:
                self._seconds[name] = float(case.get("time", "0"))
            else:
                # It notices nothing, because it fails anyway.
                failed.append(name)
                progress(f"fails without any edit, and is left out: {name}")
        if len(failed) > _MOST_FAILED or (done.returncode and not failed):
            raise BenchmarkError(f"the tests fail without any edit:\n{done.stdout[-2000:]}")
        self._read()

    def _read(self) -> None:
        from coverage import CoverageData

        data = CoverageData(str(self._data))
        data.read()
        for file in data.measured_files():
            name = str(Path(file).resolve()).rpartition("/src/")[2]
            # Processes that do not inherit the environment execute the file of the other tree.
            lines = self._lines.setdefault(name, {})
            for line, contexts in data.contexts_by_lineno(file).items():
                lines.setdefault(line, set()).update(map(_test_of, contexts))
        for lines in self._lines.values():
            for tests in lines.values():
                tests.intersection_update(self._seconds)
                for test in tests:
                    self._breadth[test] = self._breadth.get(test, 0) + 1

    def of(self, path: str, line: int) -> tuple[str, ...]:
        """Return the tests that execute a line, those first that execute little else."""
        known = self._lines.get(path, {}).get(line, set())
        chosen: list[str] = []
        seconds = 0.0
        for test in sorted(known, key=lambda one: (self._breadth[one], one)):
            seconds += self._seconds[test]
            if len(chosen) >= _MOST_TESTS or (chosen and seconds > _MOST_SECONDS):
                break
            chosen.append(test)
        return tuple(chosen)


def _test_of(context: str) -> str:
    """Return the node id of a context: ``tests/x.py::test_y|call`` or ``… (call)``."""
    return context.partition("|")[0].rpartition(" (")[0] or context.partition("|")[0]


def _sample(tests: _Tests, tree: Path, count: int) -> list[Mutant]:
    source = tree / "src"
    places: list[tuple[str, str, Edit]] = []
    for path in sorted(source.rglob("*.py")):
        name = path.relative_to(source).as_posix()
        if not name.startswith(_LEFT_OUT):
            text = path.read_text(encoding="utf-8")
            places += [(name, text, edit) for edit in edits_of(text)]
    progress(f"{len(places):,} edits are possible; {count} of them are made")
    random.Random(_SEED).shuffle(places)
    valid = (one for one in places if compiles(one[2].applied(one[1])))
    chosen = islice(valid, count)
    return [_mutant(tests, *one) for one in sorted(chosen, key=lambda one: (one[0], one[2].start))]


def _mutant(tests: _Tests, path: str, text: str, edit: Edit) -> Mutant:
    edited = edit.applied(text)
    index = edit.line - 1
    return Mutant(
        path=path,
        edit=edit,
        before=text.splitlines()[index].strip(),
        after=edited.splitlines()[index].strip(),
        tests=_tests_of(tests, path, edit.line) or _home(path),
    )


def _tests_of(tests: _Tests, path: str, line: int) -> tuple[str, ...]:
    found = tests.of(path, line)
    if path.startswith(_ASYNC):
        # The synchronous client is made from it, below one line that says so.
        found += tests.of(path.replace(_ASYNC, _SYNC), line + 1)
    return found


def _home(path: str) -> tuple[str, ...]:
    """Return the file of tests for a module, for lines that run under no test's name."""
    part = Path(path).relative_to("servo")
    home = Path("tests/unit", part.parent, f"test_{part.stem.lstrip('_')}.py")
    return (home.as_posix(),) if (ROOT / home).exists() else ()


def _survives(mutant: Mutant, idle: SimpleQueue[Path]) -> bool:
    if not mutant.tests:
        return True
    tree = idle.get()
    target = tree / "src" / mutant.path
    text = target.read_text(encoding="utf-8")
    try:
        target.write_text(mutant.edit.applied(text), encoding="utf-8")
        _make_synchronous(tree, mutant.path)
        return _passes(tree, mutant.tests)
    finally:
        target.write_text(text, encoding="utf-8")
        _make_synchronous(tree, mutant.path)
        idle.put(tree)


def _make_synchronous(tree: Path, path: str) -> None:
    if path.startswith(_ASYNC):
        subprocess.run([PYTHON, "scripts/_unasync.py"], cwd=tree, check=False, capture_output=True)


def _passes(tree: Path, tests: Sequence[str]) -> bool:
    process = subprocess.Popen(
        [
            *(PYTHON, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:cov"),
            *(f"--timeout={_TEST_TIMEOUT}", *tests),
        ],
        cwd=tree, env=_environment(tree), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        return process.wait(_TIMEOUT) not in _FAILED
    except subprocess.TimeoutExpired:
        return False  # it hangs, and nobody would wait that long
    finally:
        # What the tests have started, if an edit kept them from ending it.
        subprocess.run(["pkill", "-9", "-s", str(process.pid)], check=False)
        process.wait()


def _equivalent() -> frozenset[tuple[str, str, str]]:
    if not _EQUIVALENT.exists():
        return frozenset()
    with _EQUIVALENT.open("rb") as file:
        listed = tomllib.load(file).get("edit", [])
    return frozenset((one["path"], one["before"], one["after"]) for one in listed)


if __name__ == "__main__":
    sys.exit("run it with scripts/dev bench mutants")
