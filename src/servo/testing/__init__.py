"""For the tests of users: an asset without a control plane, or a control plane for a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servo._lazy import attach

if TYPE_CHECKING:
    from servo.testing.contexts import RecordingReporter, make_context
    from servo.testing.materializing import Materialized, materialize
    from servo.testing.planes import LocalPlane, local_plane

__all__ = [
    "LocalPlane",
    "Materialized",
    "RecordingReporter",
    "local_plane",
    "make_context",
    "materialize",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "servo.testing.contexts": "RecordingReporter make_context",
        "servo.testing.materializing": "Materialized materialize",
        "servo.testing.planes": "LocalPlane local_plane",
    },
)
