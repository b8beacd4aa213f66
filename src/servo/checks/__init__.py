"""Running checks: a definition and a table give a result.

A data problem is a result, never an exception: what a failure does is the business of whoever
runs the attempt. pyarrow and DuckDB are loaded when a check runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servo._lazy import attach

if TYPE_CHECKING:
    from servo.checks.inputs import run_on_inputs
    from servo.checks.running import needs, run

__all__ = ["needs", "run", "run_on_inputs"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "servo.checks.inputs": "run_on_inputs",
        "servo.checks.running": "needs run",
    },
)
