"""The like with Dagster and Prefect, each in an environment of its own, beside our numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from measure import (
    HERE,
    BenchmarkError,
    Finished,
    Measurement,
    Options,
    environment,
    progress,
    run,
)

_ENVIRONMENTS: Final = HERE / ".peers"
_SCRIPTS: Final = Path(__file__).resolve().parent
_TIMEOUT: Final = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Somebody else's tool.

    Attributes:
        name: Its name.
        requirements: What is installed.
    """

    name: str
    requirements: tuple[str, ...]

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return _ENVIRONMENTS / self.name / "bin" / "python"


DAGSTER: Final = Peer(name="dagster", requirements=("dagster>=1.13,<1.14",))
# Prefect 3.8 passes arguments that later versions of FastAPI do not have any more.
PREFECT: Final = Peer(name="prefect", requirements=("prefect>=3,<4", "fastapi<0.145"))


def measure(options: Options, ours: Sequence[Measurement]) -> Iterator[Measurement]:
    """Measure the peers.

    Args:
        options: How.
        ours: What was measured of Servo in the same run; a peer is put beside it.
    """
    for peer in (DAGSTER, PREFECT):
        install(peer)
    yield from _load(options, ours)
    yield from _tasks(options, ours)


def install(peer: Peer) -> None:
    """Make the environment of a peer, unless it is there.

    Raises:
        BenchmarkError: It cannot be installed.
    """
    if peer.python.exists():
        return
    uv = Path(sys.executable).with_name("uv")
    program = str(uv) if uv.exists() else shutil.which("uv")
    if program is None:
        raise BenchmarkError("uv is not installed; scripts/dev setup installs it")
    progress(f"installing {peer.name} into {peer.python.parent.parent}")
    folder = peer.python.parent.parent
    unfinished = folder.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    for command in (
        [program, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(unfinished)],
        [
            program, "pip", "install", "--quiet", "--compile-bytecode",
            "--python", str(unfinished / "bin" / "python"), *peer.requirements,
        ],
    ):  # fmt: skip
        try:
            subprocess.run(command, check=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as exc:
            raise BenchmarkError(f"{peer.name} could not be installed: {exc}") from exc
    unfinished.rename(folder)


def _load(options: Options, ours: Sequence[Measurement]) -> Iterator[Measurement]:
    count = 200 if options.quick else 10_000
    done = _run(options, DAGSTER, "dagster_load.py", count)
    report = _report(done)
    title = f"Dagster {report['version']}"
    yield _beside(
        _find(ours, "servo-gen manifest", "built again"),
        title,
        benchmark="manifest",
        what=f"{title}: load and serialise {count:,} assets",
        unit="s",
        value=report["seconds"],
    )
    yield _beside(
        _find(ours, "memory for"),
        title,
        benchmark="manifest",
        what=f"{title}: memory for {count:,} assets",
        unit="MB",
        value=done.peak_bytes / 1e6,
    )


def _tasks(options: Options, ours: Sequence[Measurement]) -> Iterator[Measurement]:
    count = 20 if options.quick else 1_000
    for peer, script, how in (
        (DAGSTER, "dagster_steps.py", "steps, in process, SQLite"),
        (PREFECT, "prefect_tasks.py", "tasks, local server, SQLite"),
    ):
        report = _report(_run(options, peer, script, count))
        title = f"{peer.name.title()} {report['version']}"
        yield _beside(
            _find(ours, "tasks, durable, from CreateRun"),
            title,
            benchmark="tasks",
            what=f"{title}: {count:,} empty {how}",
            unit="ms/task",
            value=report["seconds"] / count * 1e3,
        )


def _run(options: Options, peer: Peer, script: str, count: int) -> Finished:
    home = options.folder / f"{peer.name}-{script}"
    home.mkdir()
    env = environment(
        PYTHONPATH="",
        HOME=str(home),
        DAGSTER_HOME=str(home),
        DAGSTER_DISABLE_TELEMETRY="1",
        PREFECT_HOME=str(home),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        # Making its database the first time takes longer than it expects on a busy machine.
        PREFECT_API_DATABASE_TIMEOUT="120",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
        DO_NOT_TRACK="1",
    )
    progress(f"{peer.name}: {script} with {count:,}")
    done = run([peer.python, _SCRIPTS / script, str(count)], env=env, cwd=home, timeout=_TIMEOUT)
    progress(f"{peer.name}: {done.seconds:.1f} s")
    return done


def _report(done: Finished) -> dict[str, Any]:
    # Both tools may print something of their own; the report is the last line.
    report: dict[str, Any] = json.loads(done.output.splitlines()[-1])
    return report


def _find(ours: Sequence[Measurement], *words: str) -> Measurement | None:
    """Return the first of our measurements that has all the words in its name."""
    return next((one for one in ours if all(word in one.what for word in words)), None)


def _beside(
    ours: Measurement | None, peer: str, *, benchmark: str, what: str, unit: str, value: float
) -> Measurement:
    """Put our number beside that of a peer; alone, if ours was not measured in this run."""
    if ours is None:
        return Measurement(benchmark=benchmark, what=what, unit=unit, samples=(value,))
    return Measurement(
        benchmark=benchmark,
        what=f"Servo beside {what}",
        unit=unit,
        samples=ours.samples,
        beside=peer,
        beside_samples=(value,),
    )
