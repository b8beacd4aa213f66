"""Profiles the processes that run user code; on the path only when a profile was asked for."""

from __future__ import annotations

import atexit
import cProfile
import os
import sys
from pathlib import Path

if "servo.worker.runner" in sys.orig_argv:
    _profile = cProfile.Profile()

    def _write() -> None:
        _profile.disable()
        folder = Path(os.environ["BENCHMARK_PROFILES"])
        _profile.dump_stats(folder / f"runner-{os.getpid()}.prof")

    atexit.register(_write)
    _profile.enable()
