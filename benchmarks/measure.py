"""What every benchmark shares: measurements, how they are judged, and processes that are timed."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
HERE: Final = Path(__file__).resolve().parent
PYTHON: Final = sys.executable


class BenchmarkError(Exception):
    """A benchmark could not be carried out; what it measured would mean nothing."""


class Judged(StrEnum):
    """What of a measurement a limit is for."""

    MEDIAN = "median"
    RATIO = "ratio"
    DIFFERENCE = "difference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One line of the table.

    Attributes:
        benchmark: The benchmark that it belongs to.
        what: What was measured.
        unit: The unit of every sample.
        samples: What was measured, in the order of the runs.
        beside: What it is compared with: a floor, a peer, or a smaller case.
        beside_samples: The same for that; one for each of ``samples`` when runs alternated.
        limit: What must not be exceeded.
        judged: What the limit is for.
        note: What one should know of how it came about.
    """

    benchmark: str
    what: str
    unit: str
    samples: tuple[float, ...]
    beside: str = ""
    beside_samples: tuple[float, ...] = ()
    limit: float | None = None
    judged: Judged = Judged.MEDIAN
    note: str = ""

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def beside_median(self) -> float | None:
        """The median of what it is compared with."""
        return statistics.median(self.beside_samples) if self.beside_samples else None

    @property
    def ratio(self) -> float | None:
        """How many times as much as what it is compared with."""
        return self._compared(lambda ours, theirs: ours / theirs)

    @property
    def difference(self) -> float | None:
        """How much more than what it is compared with."""
        return self._compared(lambda ours, theirs: ours - theirs)

    @property
    def is_within_limit(self) -> bool | None:
        """Whether the limit is kept; unknown where there is none."""
        value = {
            Judged.MEDIAN: self.median,
            Judged.RATIO: self.ratio,
            Judged.DIFFERENCE: self.difference,
        }[self.judged]
        return None if self.limit is None or value is None else value <= self.limit

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self) | {
            "median": self.median,
            "beside_median": self.beside_median,
            "ratio": self.ratio,
            "difference": self.difference,
            "ok": self.is_within_limit,
        }

    def _compared(self, compare: Callable[[float, float], float]) -> float | None:
        ours, theirs = self.samples, self.beside_samples
        if not theirs:
            return None
        if len(ours) == len(theirs):
            # Runs alternated: whatever slowed the machine down slowed down both of a pair.
            return statistics.median(map(compare, ours, theirs))
        return compare(statistics.median(ours), statistics.median(theirs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the benchmarks are carried out.

    Attributes:
        folder: Where files are made: on a disk, because durable commits are part of it.
        repeat: How often each thing is measured.
        quick: Whether small sizes do; then no limit is judged.
        profile: Where profiles go.
        kills: How often `chaos` kills the control plane.
        rows: How many tasks `rows` fills each database with.
    """

    folder: Path
    repeat: int = 5
    quick: bool = False
    profile: Path | None = None
    kills: int = 5_000
    rows: int = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A process that has ended.

    Attributes:
        seconds: From its start to its end.
        cpu_seconds: Time of the processor, that of its own children included.
        peak_bytes: The most memory that it had, or one of its children.
        output: What it wrote to standard output.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: bytes


def progress(text: str) -> None:
    """Tell people what is going on."""
    print(f"  {text}", file=sys.stderr, flush=True)


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a measured process.

    Byte code is read and written as usual, whoever started us. Settings of Servo and of a
    continuous integration are left out, so that the same thing is measured everywhere.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CI", "PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME", "PYTHONDEVMODE")
        and not name.startswith(("SERVO_", "COVERAGE_", "COV_"))
    }
    return kept | {"PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": "random"} | more


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 600,
) -> Finished:
    """Run a process to its end.

    The kernel counts what a process was before ``exec`` as its memory too, so the process that
    calls this must be smaller than what it measures; it is why it imports so little.

    Args:
        command: The program and its arguments.
        env: Its environment; `environment` by default.
        cwd: Its working directory.
        timeout: Seconds after which it is killed.

    Raises:
        BenchmarkError: It failed, or took too long.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment() if env is None else env,
            cwd=cwd,
        )
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            err.seek(0)
            tail = err.read().decode(errors="replace").strip()[-2000:]
            raise BenchmarkError(
                f"{' '.join(map(str, command))} ended with {process.returncode} after "
                f"{seconds:.1f} s:\n{tail}"
            )
        out.seek(0)
        output = out.read()
    # macOS counts bytes, everybody else kilobytes.
    scale = 1 if sys.platform == "darwin" else 1024
    return Finished(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * scale,
        output=output,
    )


def alternate(
    repeat: int, *cases: Callable[[], Finished], label: str = ""
) -> Iterator[tuple[Finished, ...]]:
    """Run cases in turn, so that both of a pair see the same machine.

    Args:
        repeat: How many rounds.
        cases: What to run in each round.
        label: What is measured, for the progress; none for no progress.
    """
    for number in range(1, repeat + 1):
        done = tuple(case() for case in cases)
        if label:
            times = " beside ".join(f"{one.seconds:.3f} s" for one in done)
            progress(f"{label}: {times} ({number} of {repeat})")
        yield done


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so many of a hundred do not exceed."""
    return sorted(values)[max(math.ceil(len(values) * share / 100), 1) - 1]


def slope(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line through points that fits best."""
    return statistics.linear_regression(*zip(*pairs, strict=True)).slope


def resident_bytes(pid: int) -> tuple[int, int] | None:
    """Return the memory of a process now and at most, where the system tells."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    found = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    now, most = (int(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


def processor_seconds(*pids: int) -> float | None:
    """Return the processor time of processes and their living children, where the system tells."""
    if not Path("/proc/self/stat").exists():
        return None
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since
        # The name, in parentheses, may hold anything; the fields that count come after it.
        fields = text.rpartition(")")[2].split()
        parent, own = int(fields[1]), int(fields[11]) + int(fields[12])
        if parent in pids or int(path.parent.name) in pids:
            ticks += own
    return ticks / os.sysconf("SC_CLK_TCK")
