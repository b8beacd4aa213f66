"""How long ``import servo`` and ``servo --help`` take, and what they load."""

from __future__ import annotations

import compileall
import os
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from measure import PYTHON, ROOT, Finished, Judged, Measurement, Options, alternate, progress, run

NAME: Final = "imports"
SUMMARY: Final = "import servo, servo --help"

_EVERY_NAME: Final = "import servo\nfor name in servo.__all__: getattr(servo, name)"
_FORBIDDEN: Final = (
    "google.protobuf", "grpc", "pydantic", "httpx", "pyarrow",
    "sqlite3", "psycopg", "asyncpg", "duckdb", "pandas", "polars",
)  # fmt: skip
_ROUNDS_FOR_ONE: Final = 4
"""A round takes a moment only, so that there may be more of them."""


def measure(options: Options) -> Iterator[Measurement]:
    """Measure imports."""
    compile_ahead()
    rounds = options.repeat * _ROUNDS_FOR_ONE
    bare = _python("pass")
    for what, code, limit in (
        ("import servo", "import servo", 60),
        # The package loads each name when it is first used; a module of assets uses some of them.
        ("every name of servo", _EVERY_NAME, None),
    ):
        ours = _python(code)
        pairs = list(alternate(rounds, ours, bare))
        yield Measurement(
            benchmark=NAME,
            what=what,
            unit="ms",
            samples=_milliseconds([pair[0] for pair in pairs]),
            beside="python -c pass",
            beside_samples=_milliseconds([pair[1] for pair in pairs]),
            limit=limit,
            judged=Judged.DIFFERENCE,
        )
        report = f"{code}\nimport sys\nprint(*sys.modules)"
        loaded = run([PYTHON, "-c", report]).output.decode().split()
        yield Measurement(
            benchmark=NAME,
            what=f"{what}: modules in sys.modules",
            unit="modules",
            samples=(len(loaded),),
            limit=150,
        )
        heavy = sorted(set(_FORBIDDEN) & set(loaded))
        yield Measurement(
            benchmark=NAME,
            what=f"{what}: heavy modules among them",
            unit="modules",
            samples=(len(heavy),),
            limit=0,
            note=", ".join(heavy),
        )
        progress(f"{what}: {rounds} rounds")
    yield from _help(rounds)


def _help(rounds: int) -> Iterator[Measurement]:
    beside = Path(PYTHON).with_name("servo")
    command: list[str | Path] = [beside] if beside.exists() else [PYTHON, "-m", "servo.cli.main"]
    ours = _process([*command, "--help"])
    ours()
    done = [pair[0] for pair in alternate(rounds, ours)]
    yield Measurement(
        benchmark=NAME,
        what="servo --help",
        unit="ms",
        samples=_milliseconds(done),
        limit=250,
        note="" if beside.exists() else "as python -m servo.cli.main: the script is not installed",
    )
    progress(f"servo --help: {rounds} rounds")


def compile_ahead() -> None:
    """Compile to byte code whatever is imported, as installing does.

    Without it the first import of every process would measure the compiler.
    """
    compileall.compile_dir(ROOT / "src" / "servo", quiet=1, workers=1)
    for package in ("click", "rich", "grpc", "google", "ulid", "aiosql", "yoyo"):
        folder = Path(sysconfig.get_path("purelib")) / package
        if folder.exists() and os.access(folder, os.W_OK):
            compileall.compile_dir(folder, quiet=2, workers=1)


def _python(code: str) -> Callable[[], Finished]:
    return _process([PYTHON, "-c", code])


def _process(command: list[str | Path]) -> Callable[[], Finished]:
    return lambda: run(command, timeout=60)


def _milliseconds(done: list[Finished]) -> tuple[float, ...]:
    return tuple(one.seconds * 1e3 for one in done)
