"""The process that runs user code: one attempt after another, until it is told to stop.

``python -m servo.worker.runner`` is started by the worker and by nobody else. It imports each
user module once. Its standard output and error are pipes that the worker reads; messages travel
over a socket of their own. The thread that runs attempts reads it as well, between two of them:
handing each to another thread would take longer than a short attempt. What must be heard while one
runs comes through a pipe, to a thread that sleeps until then.

The process leads a process group, and its parent is its guardian (`servo.worker.guardian`), forked
before anything else is loaded: however the worker dies, and whatever user code does meanwhile,
nothing is left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from servo.worker import guardian

if TYPE_CHECKING:
    from servo.types.sessions import CancelTask, Lease, ServerMessage, TaskDispatch
    from servo.worker.code_guard import CodeGuard
    from servo.worker.execute import Environment
    from servo.worker.outbox import Outbox
    from servo.worker.reporting import OutboxReporter

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run attempts until the worker closes the channel."""
    parser = argparse.ArgumentParser(prog="python -m servo.worker.runner")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--cancels", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--import-root", action="append", default=[])
    given = parser.parse_args(arguments)
    for descriptor in (given.channel, given.cancels, given.lifeline):
        # What user code starts must not hold the worker's channels open.
        os.set_inheritable(descriptor, False)
    guardian.split(given.lifeline, (given.channel, given.cancels))
    os.chdir(given.project)
    channel = socket.socket(fileno=given.channel)
    roots = [Path(root) for root in given.import_root]
    runner = _Runner(channel, given.cancels, given.project, given.data_root, roots)
    from servo.manifest._import_path import import_first  # late, as in `_Runner`

    # After what Servo needs, so that no module of the project takes the place of it.
    import_first(roots)
    sys.path[:0] = [root for root in given.import_root if root not in sys.path]
    runner.run()


class _Runner:
    """Runs one attempt after another.

    Args:
        channel: The socket on which attempts arrive and results leave.
        cancels: The pipe on which cancellations arrive.
        project: The project's root.
        data_root: Where data lies.
        import_roots: Directories from which the project's modules are imported.
    """

    def __init__(
        self,
        channel: socket.socket,
        cancels: int,
        project: Path,
        data_root: Path,
        import_roots: Sequence[Path],
    ) -> None:
        # Imported late: the guardian is to stay without them.
        from servo.io.storage import DataRoot
        from servo.worker.code_guard import CodeGuard
        from servo.worker.execute import Environment
        from servo.worker.outbox import Outbox
        from servo.worker.output import install_output
        from servo.worker.reporting import install_logging

        self._channel = channel
        self._cancels = cancels
        self._project = project
        self._current: OutboxReporter | None = None
        self._cancelled: Lease | None = None
        self._outbox: Outbox = Outbox(channel)
        self._guard: CodeGuard = CodeGuard(import_roots)
        self._environment: Environment = Environment(
            data_root=DataRoot(data_root), find=self._guard.find, project=project
        )
        self._flush_native = _native_flush()
        self._output = install_output()
        install_logging(self._outbox)

    def run(self) -> None:
        """Run attempts until the worker closes the channel."""
        from servo import _wire
        from servo.types.sessions import OpenSessionResponse, WorkerHello
        from servo.worker.frames import FrameParser

        threading.Thread(target=self._listen, name="servo-cancels", daemon=True).start()
        self._outbox.hello(WorkerHello(worker_id="", process_id=os.getpid()))
        parser = FrameParser()
        while data := self._received():
            for frame in parser.feed(data):
                for message in _wire.decode(OpenSessionResponse, frame).messages:
                    self._take(message)

    def _received(self) -> bytes:
        # A worker that is gone is as good as one that has closed the channel.
        with contextlib.suppress(OSError):
            return self._channel.recv(1 << 16)
        return b""

    def _take(self, message: ServerMessage) -> None:
        from servo.types.sessions import ServerWelcome, TaskDispatch

        if isinstance(message, TaskDispatch):
            self._execute(message)
        elif isinstance(message, ServerWelcome):
            from dataclasses import replace

            self._environment = replace(
                self._environment,
                store_id=message.store_id,
                tenant_id=message.tenant_id,
                workspace_id=message.workspace_id,
            )

    def _execute(self, dispatch: TaskDispatch) -> None:
        from servo.worker.execute import execute
        from servo.worker.reporting import OutboxReporter

        self._outbox.begin(dispatch.lease)
        self._current = reporter = OutboxReporter(self._outbox, dispatch.lease)
        if self._cancelled == dispatch.lease:
            # Its cancellation was here before it was.
            reporter.cancel()
        finished = execute(dispatch, self._environment, reporter)
        self._current = None
        self._tidy()
        if self._guard.refused is not None:
            self._refuse(fresh_helps=self._guard.refused.fresh_helps)
        self._outbox.finish(finished)

    def _refuse(self, *, fresh_helps: bool) -> None:
        """Say that the result that follows is not the attempt's: it was not begun here."""
        from servo.types.sessions import Heartbeat, WorkerDraining

        # It holds no lease.
        self._outbox.hello(Heartbeat())
        if fresh_helps:
            self._outbox.hello(WorkerDraining())

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

    # -- while an attempt runs ------------------------------------------------------------

    def _listen(self) -> None:
        from servo import _wire
        from servo.types.sessions import CancelTask
        from servo.worker.frames import FrameParser

        parser = FrameParser()
        while data := os.read(self._cancels, 1 << 16):
            for frame in parser.feed(data):
                self._cancel(_wire.decode(CancelTask, frame))
        # The worker is gone.
        if self._current is not None:
            os.killpg(0, signal.SIGKILL)

    def _cancel(self, message: CancelTask) -> None:
        # In this order: whoever begins an attempt looks after it has said which.
        self._cancelled = message.lease
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
