"""The worker: takes attempts from a control plane and runs user code in processes of its own.

``python -m servo.worker`` is the command; `Worker` is the same for embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servo._lazy import attach

if TYPE_CHECKING:
    from servo.worker.worker import Worker, WorkerConfig

__all__ = ["Worker", "WorkerConfig"]

__getattr__, __dir__ = attach(__name__, {"servo.worker.worker": "Worker WorkerConfig"})
