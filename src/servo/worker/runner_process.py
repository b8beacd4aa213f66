"""The worker's end of one runner: its process, its pipes and its channel.

Everything the runner wrote before its result was sent is in the kernel's pipes when the result
arrives. So reading as many bytes as the pipes hold at that moment gives an attempt all of its
output, without a marker in the stream and without waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servo import _wire, errors
from servo._posix import fcntl, termios
from servo.config.settings import without_credentials
from servo.types.logs import LogBatch, LogStream
from servo.types.sessions import (
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptSpent,
    CancelTask,
    Heartbeat,
    Lease,
    OpenSessionRequest,
    OpenSessionResponse,
    ServerMessage,
    ServerWelcome,
    WorkerDraining,
    WorkerHello,
    WorkerMessage,
)
from servo.worker.attempt import Attempt
from servo.worker.frames import FrameParser, pack

__all__ = ["RunnerCommand", "RunnerProcess"]

_CHUNK: Final = 64 * 1024
_PIPE_BYTES: Final = 1024 * 1024
_STOP_SECONDS: Final = 5.0
_TAIL_BYTES: Final = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerCommand:
    """How runners are started.

    Attributes:
        project: The project's root; their working directory.
        data_root: Where data lies.
        import_roots: Directories from which user modules are imported.
        python: The interpreter.
    """

    project: Path
    data_root: Path
    import_roots: tuple[Path, ...] = ()
    python: str = sys.executable

    def arguments(self, channel: int, cancels: int, lifeline: int) -> list[str]:
        """Return the command line."""
        roots = [part for root in self.import_roots for part in ("--import-root", str(root))]
        return [
            # The working directory is no place for modules until Servo has loaded its own.
            self.python, "-P", "-m", "servo.worker.runner",
            "--channel", str(channel), "--cancels", str(cancels), "--lifeline", str(lifeline),
            "--project", str(self.project), "--data-root", str(self.data_root),
            *roots,
        ]  # fmt: skip


class RunnerProcess:
    """One process that runs user code.

    Args:
        report: Takes what an attempt says while it runs (progress, metrics).

    Attributes:
        attempt: The attempt that it is working on.
        ready: Resolved when it takes attempts, or with ``False`` when it died before that.
        tail: The last that it printed outside of attempts.
        welcome: What it was told of the session last.
        generation: How often changed code was to be loaded when it was started.
        refuses: Whether it has refused its attempt, before any user code: its code is not what
            was deployed.
        is_outdated: Whether it said that it takes no further attempt: a process that is started
            now would have other code, or the last attempt left something behind.
        runs: The runs that it has worked for, the latest last.
    """

    _process: asyncio.subprocess.Process
    _channel: socket.socket
    _cancels: int
    _lifeline: int
    _out: int
    _err: int

    def __init__(self, report: Callable[[WorkerMessage], None]) -> None:
        loop = asyncio.get_running_loop()
        self.attempt: Attempt | None = None
        self.ready: asyncio.Future[bool] = loop.create_future()
        self.tail = b""
        self.welcome: ServerWelcome | None = None
        self.generation = 0
        self.refuses = False
        self.is_outdated = False
        self.runs: dict[str, None] = {}
        self._loop = loop
        self._report = report
        self._parser = FrameParser()
        self._unsent = bytearray()
        self._is_waiting = False
        self._readers: dict[int, Callable[[], bool]] = {}
        self._waiter: asyncio.Task[None] | None = None
        self._group: int | None = None

    @classmethod
    async def start(
        cls, command: RunnerCommand, report: Callable[[WorkerMessage], None]
    ) -> RunnerProcess:
        """Start a runner; it is usable once `ready` is resolved."""
        self = cls(report)
        with contextlib.ExitStack() as theirs:
            self._channel, remote = socket.socketpair()
            theirs.callback(remote.close)
            cancels, self._cancels = os.pipe()
            theirs.callback(os.close, cancels)
            lifeline, self._lifeline = os.pipe()
            theirs.callback(os.close, lifeline)
            self._out, out = _output_pipe()
            theirs.callback(os.close, out)
            self._err, err = _output_pipe()
            theirs.callback(os.close, err)
            self._channel.setblocking(False)
            os.set_blocking(self._cancels, False)
            self._process = await asyncio.create_subprocess_exec(
                *command.arguments(remote.fileno(), cancels, lifeline),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=(remote.fileno(), cancels, lifeline),
                start_new_session=True,
                env=without_credentials(os.environ),
            )
        self._watch()
        self._waiter = asyncio.create_task(self._wait())
        return self

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    @property
    def return_code(self) -> int | None:
        """How the process ended; a negative number is a signal."""
        return self._process.returncode

    def send(self, *messages: ServerMessage) -> None:
        """Send messages; what the channel does not take at once follows later."""
        was_empty = not self._unsent
        self._unsent += pack(_wire.encode(OpenSessionResponse(messages=messages)))
        if was_empty:
            self._write()

    def cancel(self, lease: Lease) -> None:
        """Tell an attempt that it is to stop; one that has not arrived yet stops when it has."""
        # Without the reason, which may be long: one lease never fills the pipe. A process that has
        # ended needs to be told nothing.
        with contextlib.suppress(OSError):
            os.write(self._cancels, pack(_wire.encode(CancelTask(lease=lease))))

    def terminate(self) -> None:
        """Send SIGTERM to the process and everything that it started in its group."""
        self._signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and everything that comes from it, by force."""
        # Its guardian does it. One that cannot write to it has one that has ended.
        with contextlib.suppress(OSError):
            os.write(self._lifeline, b"\0")

    async def end(self) -> None:
        """End the process and everything that comes from it; return when it is gone."""
        self.kill()
        if self._waiter is not None:
            await asyncio.shield(self._waiter)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, number)

    async def stop(self) -> None:
        """End the process: let it end by itself if it is idle, otherwise by force."""
        # One that has not come up yet does not listen, and has nothing to lose.
        if self.attempt is None and self.is_alive and self.ready.done():
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_WR)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        self.kill()
        if self._waiter is not None:
            await self._waiter
        for descriptor in self._readers:
            self._loop.remove_reader(descriptor)
        self._loop.remove_writer(self._channel.fileno())
        self._readers.clear()
        self._channel.close()
        for descriptor in (self._cancels, self._lifeline, self._out, self._err):
            os.close(descriptor)
        self._cancels = self._lifeline = -1

    def drain(self) -> None:
        """Read what the process has printed until now."""
        for descriptor, stream in ((self._out, LogStream.STDOUT), (self._err, LogStream.STDERR)):
            left = _readable(descriptor)
            while left > 0 and (data := _read(descriptor, min(left, _CHUNK))):
                self._printed(stream, data)
                left -= len(data)

    # -- what arrives ---------------------------------------------------------------------

    def _watch(self) -> None:
        self._readers = {
            self._channel.fileno(): self._read_channel,
            self._out: lambda: self._read_output(self._out, LogStream.STDOUT),
            self._err: lambda: self._read_output(self._err, LogStream.STDERR),
        }
        for descriptor, reader in self._readers.items():
            self._loop.add_reader(descriptor, self._on_readable, descriptor, reader)

    def _on_readable(self, descriptor: int, reader: Callable[[], bool]) -> None:
        if not reader():
            # At its end a descriptor stays readable for ever.
            self._loop.remove_reader(descriptor)

    def _read_channel(self) -> bool:
        try:
            data = self._channel.recv(_CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        try:
            for frame in self._parser.feed(data):
                for message in _wire.decode(OpenSessionRequest, frame).messages:
                    self._take(message)
        except (ValueError, errors.InvalidArgumentError) as exc:
            # User code wrote into a descriptor that is not its own; nothing can be trusted now.
            if self.attempt is not None:
                self.attempt.note("ERROR", f"the channel to its process is damaged: {exc}")
            self.kill()
            return False
        return bool(data)

    def _read_output(self, descriptor: int, stream: LogStream) -> bool:
        data = _read(descriptor, _CHUNK)
        if data:
            self._printed(stream, data)
        return data != b""

    def _printed(self, stream: LogStream, data: bytes) -> None:
        if self.attempt is None:
            self.tail = (self.tail + data)[-_TAIL_BYTES:]
        else:
            self.attempt.printed(stream, data)

    def _take(self, message: WorkerMessage) -> None:
        if isinstance(message, WorkerHello):
            if not self.ready.done():
                self._group = message.process_id
                self.ready.set_result(True)
        elif self.attempt is None:
            # Said after its attempt was over; nobody is interested any more.
            return
        elif isinstance(message, AttemptFinished):
            self.drain()
            self.attempt.settle(message)
        elif isinstance(message, Heartbeat):
            self.refuses = True
        elif isinstance(message, WorkerDraining):
            self.is_outdated = True
        elif isinstance(message, LogBatch):
            self.attempt.take_log(message)
        elif isinstance(message, AttemptSpent | AttemptProgressed | AttemptMetric):
            self._report_of(self.attempt, message)

    def _report_of(
        self, attempt: Attempt, message: AttemptSpent | AttemptProgressed | AttemptMetric
    ) -> None:
        if message.lease != attempt.lease:
            # From a thread that an earlier attempt left behind.
            return
        if isinstance(message, AttemptSpent):
            attempt.spent = message.spent
        self._report(message)

    def _write(self) -> None:
        try:
            sent = self._channel.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            # The process is going; its end is noticed elsewhere.
            self._unsent.clear()
            sent = 0
        del self._unsent[:sent]
        if bool(self._unsent) != self._is_waiting:
            self._is_waiting = not self._is_waiting
            if self._is_waiting:
                self._loop.add_writer(self._channel.fileno(), self._write)
            else:
                self._loop.remove_writer(self._channel.fileno())

    async def _wait(self) -> None:
        await self._process.wait()
        # Its guardian left nothing, unless that was killed itself.
        self._signal_group(signal.SIGKILL)
        while _readable(self._channel.fileno()) and self._read_channel():
            pass
        self.drain()
        if not self.ready.done():
            self.ready.set_result(False)
        if self.attempt is not None:
            self.attempt.settle(None)


def _output_pipe() -> tuple[int, int]:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    # A larger pipe lets a burst of output pass without the task waiting for the worker.
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return ours, theirs


def _read(descriptor: int, size: int) -> bytes | None:
    """Return what is there, ``b""`` at the end, ``None`` when there is nothing now."""
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return None


def _readable(descriptor: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))
    return int(count)
