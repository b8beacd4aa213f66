"""What the command line does with its own process: standard streams, and how it ends."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final, NoReturn, TextIO

import click

EXIT_BROKEN_PIPE: Final = 141

_THREADS_SECONDS: Final = 1.0
_HANDLERS_SECONDS: Final = 5.0


def open_standard_streams() -> None:
    """Let a standard stream that is closed count as none, instead of failing with each use.

    Otherwise the next file that is opened would take its descriptor, and get what is printed.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != descriptor:
                os.dup2(nothing, descriptor)
                os.close(nothing)
            os.set_inheritable(descriptor, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # likewise


def keep_stdout() -> None:
    """Put standard output out of reach of everybody who writes to its descriptor.

    User modules may start programs that print, or print from C. They find standard error there.
    """
    try:
        descriptor = sys.stdout.fileno()
        elsewhere = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return  # closed, or no files at all: then nobody can write to them either
    sys.stdout.flush()
    real = os.dup(descriptor)
    os.dup2(elsewhere, descriptor)
    sys.stdout = os.fdopen(real, "w", encoding="utf-8")


class StdoutError(OSError):
    """Standard output cannot be written; what else fails with an `OSError` is something else."""


class _Stream(io.TextIOWrapper):
    replaced: io.TextIOWrapper
    """What it stands for; it would close the file as soon as nothing held it."""


class _Stdout(_Stream):
    """Standard output that says so when it is what fails."""

    def write(self, text: str, /) -> int:
        with told_apart():
            return super().write(text)

    def flush(self) -> None:
        with told_apart():
            super().flush()


class _Stderr(_Stream):
    """Standard error whose failure nobody can be told of; the exit code still says the rest."""

    def write(self, text: str, /) -> int:
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


@contextlib.contextmanager
def told_apart() -> Iterator[None]:
    """Raise what writing to standard output raises as a `StdoutError`."""
    try:
        yield
    except BrokenPipeError:  # the reader has gone, which is no trouble
        raise
    except OSError as exc:
        raise StdoutError(exc.errno, exc.strerror) from exc


def watch_streams() -> None:
    """Have what cannot be written to standard output raise a `StdoutError`, and nothing else."""
    sys.stdout = _replaced(sys.stdout, _Stdout)
    sys.stderr = _replaced(sys.stderr, _Stderr)


def _replaced(stream: TextIO, kind: type[_Stream]) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    made = kind(
        stream.buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    made.replaced = stream
    return made


def silence(stream: TextIO) -> None:
    """Let what is left for a stream go nowhere: Python would complain of it while it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class PipedGroup(click.Group):
    """A group of commands whose reader may leave before they are done: `servo logs ... | head`."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            silence(sys.stdout)
            return EXIT_BROKEN_PIPE
        return result


def leave(code: int) -> NoReturn:
    """End the process with a code, whatever the project's modules have left running.

    Threads and exit handlers get a moment to end by themselves; a thread that runs for ever does
    not keep a command from ending.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            silence(stream)
    if "servo.manifest.discovery" in sys.modules:
        threads_are_done = threading.Event()
        # Registered last, so it is called first: Python has waited for all threads by then.
        atexit.register(threads_are_done.set)
        threading.Thread(target=_give_up, args=(code, threads_are_done), daemon=True).start()
    sys.exit(code)


def leave_at_once(code: int) -> NoReturn:
    """End the process without taking every object apart, a tenth of the time of a large build."""
    if any(not one.daemon for one in threading.enumerate() if one is not threading.main_thread()):
        leave(code)  # a pool, say, whose processes would be left behind
    threading.Thread(target=_give_up, args=(code, None), daemon=True).start()
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(code)


def _give_up(code: int, threads_are_done: threading.Event | None) -> None:
    if threads_are_done is None or threads_are_done.wait(_THREADS_SECONDS):
        time.sleep(_HANDLERS_SECONDS)
    else:
        # Exit handlers come after threads, so none has been called yet.
        handlers = threading.Thread(target=atexit._run_exitfuncs, daemon=True)
        with contextlib.suppress(RuntimeError):  # it is too late for a thread
            handlers.start()
            handlers.join(_HANDLERS_SECONDS)
    os._exit(code)
