"""A place where modules of the project may run: nothing that they do there ends or confuses us."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

__all__ = ["ExitCalled", "contained"]


class ExitCalled(BaseException):
    """A module has called ``os._exit``.

    Attributes:
        status: What it gave.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Send what is written to standard output to standard error, and keep ``os._exit`` from ending.

    Descriptor 1 counts as well: a program that a module starts, or a library in C, writes there.
    """
    with _descriptor_one_elsewhere(), contextlib.redirect_stdout(sys.stderr), _no_sudden_end():
        yield


@contextlib.contextmanager
def _descriptor_one_elsewhere() -> Iterator[None]:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    try:
        saved = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed: nothing can go astray, or nowhere else
        yield
        return
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


@contextlib.contextmanager
def _no_sudden_end() -> Iterator[None]:
    real, process, thread = os._exit, os.getpid(), threading.get_ident()
    is_importing = True

    def exit_(status: int) -> NoReturn:
        # A forked child of the module ends like that, and later calls mean it.
        if is_importing and (os.getpid(), threading.get_ident()) == (process, thread):
            raise ExitCalled(status)
        real(status)

    os._exit = exit_
    try:
        yield
    finally:
        is_importing = False
        os._exit = real
