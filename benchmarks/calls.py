"""What the client adds to a unary call, beside grpcio used bare, and over HTTP."""

from __future__ import annotations

import json
import os
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

NAME: Final = "calls"
SUMMARY: Final = "unary calls by the client beside bare grpcio, and over HTTP"

_KEY: Final = "benchmark-key-of-32-characters--"
_CALLS: Final = 400
_QUICK_CALLS: Final = 20
_ROUNDS_FOR_ONE: Final = 4
"""A round takes a moment only, so that there may be more of them."""


def measure(options: Options) -> Iterator[Measurement]:
    """Measure calls of one control plane, by both clients."""
    driver = str(HERE / "drive_calls.py")
    env = environment(SERVO_API_KEY=_KEY)
    with subprocess.Popen(
        [PYTHON, driver, "serve", str(options.folder)],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=env,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            urls = server.stdout.readline().split()
            if len(urls) != 2:
                raise BenchmarkError("the control plane did not start")
            calls = _QUICK_CALLS if options.quick else _CALLS
            rounds = options.repeat * _ROUNDS_FOR_ONE
            done = subprocess.run(
                [PYTHON, driver, "drive", *urls, str(calls), str(rounds)],
                capture_output=True, text=True, env=env, timeout=600, check=False,
            )  # fmt: skip
        finally:
            server.kill()
    if done.returncode:
        raise BenchmarkError(f"the calls failed:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, list[float]] = json.loads(done.stdout)
    for name, samples in found.items():
        progress(f"{name}: {sorted(samples)[len(samples) // 2]:.0f} us")
    for what, ours, floor, limit in (
        ("Client, gRPC, every interceptor", "sync", "sync-bare", 1.15),
        ("AsyncClient, gRPC, every interceptor", "async", "async-bare", 1.15),
        ("Client, HTTP/JSON, every interceptor", "http", "sync-bare", None),
    ):
        yield Measurement(
            benchmark=NAME,
            what=f"a unary call: {what}",
            unit="us",
            samples=tuple(found[ours]),
            beside=f"grpcio bare{', asyncio' if ours == 'async' else ''}",
            beside_samples=tuple(found[floor]),
            limit=limit,
            judged=Judged.RATIO,
            note=f"{calls} calls of GetServerInfo a round, one after another; {os.cpu_count()} "
            "cores, client and server on one machine",
        )
    yield Measurement(
        benchmark=NAME,
        what="a unary call: the client's own share, nothing sent",
        unit="us",
        samples=tuple(found["share"]),
        note="the same chain with a transport that answers at once: encoding, eight interceptors, "
        "decoding",
    )
