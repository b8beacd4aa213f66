"""The process that runs user code: one attempt after another, until it is told to stop.

``python -m servo.worker.runner`` is started by the worker and by nobody else. It imports each
user module once. Its standard output and error are pipes that the worker reads; messages travel
over a socket of their own.

The process leads a process group, and its parent is its guardian (`servo.worker.guardian`), forked
before anything else is loaded: however the worker dies, and whatever user code does meanwhile,
nothing is left behind.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from servo.worker import guardian

if TYPE_CHECKING:
    from servo.types.sessions import CancelTask, ServerMessage, TaskDispatch
    from servo.worker.execute import Environment
    from servo.worker.outbox import Outbox
    from servo.worker.reporting import OutboxReporter

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run attempts until the worker closes the channel."""
    parser = argparse.ArgumentParser(prog="python -m servo.worker.runner")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--import-root", action="append", default=[])
    given = parser.parse_args(arguments)
    for descriptor in (given.channel, given.lifeline):
        # What user code starts must not hold the worker's channels open.
        os.set_inheritable(descriptor, False)
    guardian.split(given.lifeline, given.channel)
    os.chdir(given.project)
    sys.path[:0] = [root for root in given.import_root if root not in sys.path]
    _Runner(socket.socket(fileno=given.channel), given.project, given.data_root).run()


class _Runner:
    """Listens to the worker in a thread and runs attempts in the main one."""

    def __init__(self, channel: socket.socket, project: Path, data_root: Path) -> None:
        # Imported late: the guardian is to stay without them.
        from servo.io.storage import DataRoot
        from servo.worker.execute import Environment
        from servo.worker.outbox import Outbox
        from servo.worker.output import install_output
        from servo.worker.reporting import install_logging

        self._channel = channel
        self._project = project
        self._dispatches: queue.SimpleQueue[TaskDispatch | None] = queue.SimpleQueue()
        self._current: OutboxReporter | None = None
        self._outbox: Outbox = Outbox(channel)
        self._environment: Environment = Environment(data_root=DataRoot(data_root))
        self._flush_native = _native_flush()
        self._output = install_output()
        install_logging(self._outbox)

    def run(self) -> None:
        from servo.types.sessions import WorkerHello

        threading.Thread(target=self._listen, name="servo-inbox", daemon=True).start()
        self._outbox.hello(WorkerHello(worker_id="", process_id=os.getpid()))
        while (dispatch := self._dispatches.get()) is not None:
            self._execute(dispatch)

    def _execute(self, dispatch: TaskDispatch) -> None:
        from servo.worker.execute import execute

        reporter = self._current
        if reporter is None:
            raise RuntimeError("an attempt without a reporter")
        finished = execute(dispatch, self._environment, reporter)
        self._current = None
        self._tidy()
        self._outbox.finish(finished)

    def _tidy(self) -> None:
        from servo.worker.output import install_output

        # Everything that was printed must be in the pipes before the result is sent.
        try:
            for stream, buffer in self._output:
                stream.flush()
                buffer.flush_now()
        except (OSError, ValueError):
            # User code closed or detached it; the descriptor is still there.
            self._output = install_output()
        sys.stdout, sys.stderr = (stream for stream, _ in self._output)
        self._flush_native()
        os.chdir(self._project)

    # -- the worker's messages ------------------------------------------------------------

    def _listen(self) -> None:
        from servo import _wire
        from servo.types.sessions import OpenSessionResponse
        from servo.worker.frames import FrameParser

        parser = FrameParser()
        try:
            while data := self._channel.recv(1 << 16):
                for frame in parser.feed(data):
                    for message in _wire.decode(OpenSessionResponse, frame).messages:
                        self._take(message)
        except OSError:
            # The worker is gone, which the code below handles like an orderly close.
            pass
        if self._current is not None:
            os.killpg(0, signal.SIGKILL)
        self._dispatches.put(None)

    def _take(self, message: ServerMessage) -> None:
        from servo.types.sessions import CancelTask, ServerWelcome, TaskDispatch
        from servo.worker.reporting import OutboxReporter

        if isinstance(message, TaskDispatch):
            # Before the main thread sees it: a cancellation may follow at once.
            self._outbox.begin(message.lease)
            self._current = OutboxReporter(self._outbox, message.lease)
            self._dispatches.put(message)
        elif isinstance(message, CancelTask):
            self._cancel(message)
        elif isinstance(message, ServerWelcome):
            from dataclasses import replace

            self._environment = replace(
                self._environment,
                store_id=message.store_id,
                tenant_id=message.tenant_id,
                workspace_id=message.workspace_id,
            )

    def _cancel(self, message: CancelTask) -> None:
        reporter = self._current
        if reporter is not None and reporter.lease == message.lease:
            reporter.cancel()


def _native_flush() -> Callable[[], object]:
    # Extensions written in C have a buffer of their own for standard output.
    try:
        import ctypes

        flush = ctypes.CDLL(None).fflush
        flush.argtypes = [ctypes.c_void_p]
    except (ImportError, OSError, AttributeError):
        return lambda: None
    return lambda: flush(None)


if __name__ == "__main__":
    main()
