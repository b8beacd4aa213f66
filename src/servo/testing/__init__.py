"""For the tests of those who write assets: run one without a control plane or a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servo._lazy import attach

if TYPE_CHECKING:
    from servo.testing.contexts import RecordingReporter, make_context
    from servo.testing.materializing import Materialized, materialize

__all__ = ["Materialized", "RecordingReporter", "make_context", "materialize"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "servo.testing.contexts": "RecordingReporter make_context",
        "servo.testing.materializing": "Materialized materialize",
    },
)
