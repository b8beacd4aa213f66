"""How many calls a control plane answers in a second, beside a server that only echoes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Final

from measure import (
    HERE,
    PYTHON,
    BenchmarkError,
    Judged,
    Measurement,
    Options,
    environment,
    progress,
)

NAME: Final = "serve"
SUMMARY: Final = "calls per second of the control plane beside a bare grpc.aio echo"

_KEY: Final = "benchmark-key-of-32-characters--"
_CALLS: Final = 6_400
_QUICK_CALLS: Final = 64
_LIMIT: Final = 1 / 0.6
"""At least 60 % of the echo's calls per second: so much more time for each call."""


class _Server:
    """A process that serves, and tells its processor time."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [PYTHON, str(HERE / "drive_serve.py"), *arguments],
            stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
            env=environment(SERVO_API_KEY=_KEY),
        )  # fmt: skip
        self.said = self._line().split()
        if not self.said:
            raise BenchmarkError(f"the server {arguments[0]!r} did not start")

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def measure(options: Options) -> Iterator[Measurement]:
    """Call both servers in turn, with many calls in flight."""
    calls = _QUICK_CALLS if options.quick else _CALLS
    plane = _Server("plane", str(options.folder))
    echo = _Server("echo")
    try:
        grpc_url, http_url, run_id = plane.said
        ways = {
            "echo": (echo, "info", echo.said[0]),
            "info": (plane, "info", grpc_url),
            "run": (plane, "run", grpc_url),
            "http": (plane, "http", http_url),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        used: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.repeat):
            for name, (server, way, url) in ways.items():
                before = server.cpu_seconds()
                took[name].append(_drive(way, url, calls, run_id) / calls * 1e6)
                used[name].append((server.cpu_seconds() - before) / calls * 1e6)
    finally:
        plane.close()
        echo.close()
    for name, samples in took.items():
        progress(f"{name}: {1e6 / sorted(samples)[len(samples) // 2]:.0f} calls/s")
    for what, name, limit in (
        ("GetServerInfo, gRPC", "info", _LIMIT),
        ("GetRun with a read of the store, gRPC", "run", None),
        ("GetServerInfo, HTTP/JSON", "http", None),
    ):
        yield Measurement(
            benchmark=NAME,
            what=f"a call in flight with others: {what}",
            unit="us",
            samples=tuple(took[name]),
            beside="grpc.aio echo",
            beside_samples=tuple(took["echo"]),
            limit=limit,
            judged=Judged.RATIO,
            note=f"{calls} calls, 32 in flight, one process that calls; "
            f"{1e6 * len(took[name]) / sum(took[name]):.0f} calls/s, the echo "
            f"{1e6 * len(took['echo']) / sum(took['echo']):.0f}",
        )
        yield Measurement(
            benchmark=NAME,
            what=f"the server's processor time: {what}",
            unit="us",
            samples=tuple(used[name]),
            beside="grpc.aio echo",
            beside_samples=tuple(used["echo"]),
            note="of the same calls",
        )


def _drive(way: str, url: str, calls: int, run_id: str) -> float:
    done = subprocess.run(
        [PYTHON, str(HERE / "drive_serve.py"), "drive", way, url, str(calls), run_id],
        capture_output=True, text=True, env=environment(SERVO_API_KEY=_KEY), timeout=600,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"the calls failed:\n{done.stderr.strip()[-2000:]}")
    return float(done.stdout)
