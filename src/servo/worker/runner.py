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
import contextvars
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from servo.worker import guardian

if TYPE_CHECKING:
    from servo.asset import Asset
    from servo.types.assets import AssetDefinition
    from servo.types.sessions import (
        CancelTask,
        Lease,
        ServerMessage,
        TaskDispatch,
        WorkerMessage,
    )
    from servo.worker.code_guard import CodeGuard
    from servo.worker.execute import Environment
    from servo.worker.outbox import Outbox
    from servo.worker.reporting import OutboxReporter

__all__ = ["main"]


_TRIES: Final = 3
"""How often handlers of late signals may interrupt before the process is given up."""


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
        from servo.worker.process_state import ENTRIES, ProcessState
        from servo.worker.reporting import LoggingSetup

        self._channel = channel
        self._cancels = cancels
        self._current: OutboxReporter | None = None
        self._cancelled: Lease | None = None
        self._outbox: Outbox = Outbox(channel)
        self._guard: CodeGuard = CodeGuard(import_roots)
        self._environment: Environment = Environment(
            data_root=DataRoot(data_root),
            find=self._find,
            project=project,
            user_code=self._user_code,
        )
        self._flush_native = _native_flush()
        self._output = install_output()
        self._logging = LoggingSetup(self._outbox)
        self._process = os.getpid()
        # What modules set up when they are imported; each attempt begins with a copy of it.
        self._context = contextvars.copy_context()
        self._is_leaving = False
        self._state = ProcessState(ENTRIES)

    def run(self) -> None:
        """Run attempts until the worker closes the channel."""
        from servo import _wire
        from servo.types.sessions import OpenSessionResponse, WorkerHello
        from servo.worker.frames import FrameParser

        threading.Thread(target=self._listen, name="servo-cancels", daemon=True).start()
        self._outbox.hello(WorkerHello(worker_id="", process_id=os.getpid()))
        self._state.remember()
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
        finished = self._context.copy().run(execute, dispatch, self._environment, reporter)
        self._current = None
        self._flush()
        self._outbox.finish(finished, first=self._departure())

    def _departure(self) -> list[WorkerMessage]:
        """Return what goes before a result: that it is not the attempt's, or the last one."""
        from servo.types.sessions import Heartbeat, WorkerDraining

        said: list[WorkerMessage] = []
        refused = self._guard.refused
        if refused is not None:
            # It was not begun here, so this holds no lease.
            said.append(Heartbeat())
        if self._is_leaving or (refused is not None and refused.fresh_helps):
            said.append(WorkerDraining())
        return said

    def _find(self, definition: AssetDefinition) -> Asset[..., Any]:
        before = dict(self._context.items())
        try:
            asset = self._context.run(self._guard.find, definition)
        except BaseException:
            # A module that was imported in part may be imported again, and sets up the same again.
            if self._current is not None and self._put_back(self._current):
                # What it had imported before it failed may have needed that.
                self._is_leaving = True
            raise
        self._adopt_imports()
        # What its module has set, the attempt that imports it sees as the later ones do.
        for variable, value in self._context.items():
            if variable not in before or before[variable] is not value:
                variable.set(value)
        return asset

    def _adopt_imports(self) -> None:
        """Keep what modules have set up when they were imported."""
        if self._state.has_imported:
            self._logging.settle()
            self._state.remember()

    @contextlib.contextmanager
    def _user_code(self) -> Iterator[None]:
        import decimal

        self._adopt_imports()
        # Each attempt shows its warnings, also those that an earlier one has shown.
        with warnings.catch_warnings():
            pass
        # The context object of the thread is shared by all copies of a context, until it is copied.
        decimal.setcontext(decimal.getcontext().copy())
        reporter = self._current
        try:
            yield
        finally:
            # A child that user code forked comes here as well.
            if os.getpid() == self._process and reporter is not None:
                self._put_back(reporter)

    def _put_back(self, reporter: OutboxReporter) -> bool:
        """Put back what user code has left changed in this process, or have it replaced.

        Returns:
            Whether anything had changed that is worth a line in the log.
        """
        left = self._state.leftovers()
        for _ in range(_TRIES):
            try:
                # Before standard output is put back: this was printed to what it led to.
                self._flush()
                self._state.put_back(left)
                break
            except BaseException as exc:  # raised by a handler of user code, for a late signal
                reporter.note("WARNING", f"a signal handler interrupted Servo: {exc!r}")
        else:
            self._is_leaving = True
        if left.restored:
            reporter.note("INFO", f"put back what was left changed: {', '.join(left.restored)}")
        if left.lasting:
            self._is_leaving = True
            reporter.note(
                "WARNING",
                f"left behind, and cannot be put back: {', '.join(left.lasting)}; "
                "this process ends here, and later attempts get a new one",
            )
        return bool(left.restored or left.lasting)

    def _flush(self) -> None:
        # Everything that was printed must be in the pipes before the result is sent.
        (out, out_buffer), (err, err_buffer) = self._output
        if getattr(sys, "stdout", None) is not out or getattr(sys, "stderr", None) is not err:
            for name in ("stdout", "stderr"):
                # An object of user code, which may raise anything, or none.
                with contextlib.suppress(BaseException):
                    getattr(sys, name).flush()
            sys.stdout, sys.stderr = out, err
        try:
            out.flush()
            out_buffer.flush_now()
            err.flush()
            err_buffer.flush_now()
        except (OSError, ValueError):
            # User code closed or detached it; the descriptor is still there.
            from servo.worker.output import install_output

            self._output = install_output()
        self._flush_native()

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
