"""The longest silence that an honest caller sees while another tenant, or a stranger, attacks."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from measure import (
    HERE,
    PYTHON,
    BenchmarkError,
    Measurement,
    Options,
    environment,
    progress,
    resident_bytes,
)

NAME: Final = "hostile"
SUMMARY: Final = "the longest silence that an honest caller sees under each attack"

_KEY: Final = "benchmark-key-of-32-characters--"
_LIMIT_MS: Final = 250.0
_SECONDS: Final = 6.0
_QUICK_SECONDS: Final = 1.0
_FEW_FILES: Final = 256
_START_SECONDS: Final = 60.0

ATTACKS: Final = {
    "globs": "globs of many brackets, and as many comparisons as one request may ask for",
    "json": "JSON of very many values, up to 16 MB",
    "protobuf": "messages of very many parts, up to 1 MB",
    "chunks": "chunks of 200,000 assets, and as many as one request may have",
    "silent": "1,001 connections to each port that say nothing",
    "halves": "half heads, half bodies, and bytes that drip",
    "descriptors": f"as many connections as there are, with {_FEW_FILES} open files",
    "unfinished": "gRPC messages that never end, without a key",
}


class _Plane:
    """A control plane in a process of its own, with deployments of both tenants."""

    def __init__(self, folder: Path, *, open_files: int | None = None) -> None:
        folder.mkdir()
        server_file = folder / "server.json"
        command = [
            PYTHON, "-m", "servo.controlplane", "--database", str(folder / "servo.db"),
            "--server-file", str(server_file), "--rate-limit", "0",
        ]  # fmt: skip
        if open_files is not None:
            command = ["sh", "-c", f'ulimit -n {open_files}; exec "$@"', "sh", *command]
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment(SERVO_API_KEY=_KEY),
            )  # fmt: skip
        ends = time.monotonic() + _START_SECONDS
        while not (server_file.exists() and server_file.read_text()):
            if self.process.poll() is not None or time.monotonic() > ends:
                raise BenchmarkError(f"the control plane did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        urls = json.loads(server_file.read_text())
        self.urls = (urls["grpcUrl"], urls["httpUrl"])
        _drive("prepare", *self.urls)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def measure(options: Options) -> Iterator[Measurement]:
    """Attack a control plane in each way, while honest callers of another tenant go on."""
    seconds = _QUICK_SECONDS if options.quick else _SECONDS
    silences: dict[str, list[float]] = {name: [] for name in ("nothing", *ATTACKS)}
    notes: dict[str, str] = {}
    for number in range(options.repeat):
        for name, samples in silences.items():
            few = _FEW_FILES if name == "descriptors" else None
            # One that was not attacked before: what an attack leaves behind is its own.
            plane = _Plane(options.folder / f"{name}-{number}", open_files=few)
            with contextlib.closing(plane):
                found = _attacked(plane, name, seconds)
                memory = resident_bytes(plane.process.pid)
                samples.append(max(found.values()))
                notes[name] = ", ".join(f"{what} {ms:.0f} ms" for what, ms in found.items())
                if memory is not None:
                    notes[name] += f"; memory {memory[1] / 1e6:.0f} MB at most"
                notes[name] += f"; log {plane.log.stat().st_size / 1e3:.0f} kB"
            progress(f"{name}: {samples[-1]:.0f} ms ({notes[name]})")
    for name, what in ATTACKS.items():
        yield Measurement(
            benchmark=NAME,
            what=f"longest silence: {what}",
            unit="ms",
            samples=tuple(silences[name]),
            beside="no attack",
            beside_samples=tuple(silences["nothing"]),
            limit=_LIMIT_MS,
            note=notes[name],
        )


def _attacked(plane: _Plane, name: str, seconds: float) -> dict[str, float]:
    """Return the longest silence of each honest caller, ms."""
    honest = subprocess.Popen(
        [PYTHON, str(HERE / "drive_hostile.py"), "honest", *plane.urls],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment(SERVO_API_KEY=_KEY),
    )  # fmt: skip
    assert honest.stdin is not None
    assert honest.stdout is not None
    try:
        if honest.stdout.readline() != "ready\n":
            raise BenchmarkError("the honest callers could not call")
        honest.stdin.write("\n")
        honest.stdin.flush()
        _drive(name, *plane.urls, str(seconds))
        # What was waited for when the attack ended is part of it.
        time.sleep(0.5)
        out, _ = honest.communicate("\n", timeout=120)
    finally:
        honest.kill()
        honest.wait()
    if honest.returncode:
        raise BenchmarkError(f"an honest caller was refused during {name!r}")
    found: dict[str, float] = json.loads(out)
    return found


def _drive(*arguments: str) -> None:
    done = subprocess.run(
        [PYTHON, str(HERE / "drive_hostile.py"), *arguments],
        capture_output=True, text=True, env=environment(SERVO_API_KEY=_KEY), timeout=300,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"{arguments[0]!r} failed:\n{done.stderr.strip()[-2000:]}")
