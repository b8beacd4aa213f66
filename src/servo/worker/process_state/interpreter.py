"""Settings of the interpreter: import path, hooks, limits, collector, replaced functions."""

from __future__ import annotations

import builtins
import datetime
import gc
import operator
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from servo.worker.process_state.state import Entry, list_names, loaded

__all__ = ["ENTRIES"]


def _set_path(saved: tuple[str, ...], found: tuple[str, ...]) -> None:
    sys.path[:] = saved
    added = [Path(entry).resolve() for entry in found if entry not in saved]
    if not added:
        return
    for module in list(sys.modules.values()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if isinstance(origin, str) and any(map(Path(origin).resolve().is_relative_to, added)):
            # The next attempt may have another module of that name.
            raise RuntimeError(f"a module was imported from {origin}")


def _changed_path(saved: tuple[str, ...], found: tuple[str, ...]) -> str:
    return list_names([str(entry) for entry in set(saved) ^ set(found)])


def _tracing() -> tuple[Any, ...]:
    return sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()


def _set_tracing(saved: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    threading.settrace(saved[2])
    threading.setprofile(saved[3])
    sys.setprofile(saved[1])
    sys.settrace(saved[0])


def _hooks() -> tuple[Any, ...]:
    return (
        sys.excepthook, sys.unraisablehook, sys.displayhook, sys.breakpointhook,
        threading.excepthook, sys.get_asyncgen_hooks(),
    )  # fmt: skip


def _set_hooks(saved: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    sys.excepthook, sys.unraisablehook, sys.displayhook, sys.breakpointhook = saved[:4]
    threading.excepthook = saved[4]
    sys.set_asyncgen_hooks(*saved[5])


def _stack_size() -> int:
    # To ask for it is to set it to the default.
    size = threading.stack_size()
    if size:
        threading.stack_size(size)
    return size


def _limits_of_python() -> tuple[Any, ...]:
    return (
        sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits(),
        # `getattr` of a module formats an error message first when the attribute is missing.
        _stack_size(), vars(sys).get("tracebacklimit"), sys.dont_write_bytecode,
    )  # fmt: skip


def _set_limits_of_python(saved: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    sys.setrecursionlimit(saved[0])
    sys.setswitchinterval(saved[1])
    sys.set_int_max_str_digits(saved[2])
    threading.stack_size(saved[3])
    if saved[4] is not None:
        sys.tracebacklimit = saved[4]
    elif hasattr(sys, "tracebacklimit"):
        del sys.tracebacklimit
    sys.dont_write_bytecode = saved[5]


def _collector() -> tuple[Any, ...]:
    return gc.isenabled(), gc.get_threshold(), gc.get_debug(), tuple(gc.callbacks)


def _set_collector(saved: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    gc.callbacks[:] = saved[3]
    gc.set_debug(saved[2])
    gc.set_threshold(*saved[1])
    if saved[0]:
        gc.enable()
    else:
        gc.disable()


def _traces_memory() -> bool:
    found = loaded("tracemalloc")
    return found is not None and bool(found.is_tracing())


def _set_traces_memory(saved: bool, found: bool) -> None:
    import tracemalloc

    if saved:
        tracemalloc.start()
    else:
        tracemalloc.stop()


_REPLACEABLE_NAMES: Final = (
    "builtins.__import__", "builtins.input", "builtins.open", "builtins.print",
    "datetime.datetime", "os.environ", "os.fork", "socket.create_connection", "socket.getaddrinfo",
    "socket.socket", "subprocess.Popen", "threading.Thread", "time.sleep", "time.time",
)  # fmt: skip
"""What libraries and tests replace most often, for a whole process."""


def _replaceable() -> list[int]:
    # What replaces one may be equal to it. It was made while that was there, so it is another one.
    return [
        id(builtins.__import__), id(builtins.input), id(builtins.open), id(builtins.print),
        id(datetime.datetime), id(os.environ), id(os.fork), id(socket.create_connection),
        id(socket.getaddrinfo), id(socket.socket), id(subprocess.Popen), id(threading.Thread),
        id(time.sleep), id(time.time),
    ]  # fmt: skip


def _replaced(saved: list[int], found: list[int]) -> list[str]:
    both = zip(_REPLACEABLE_NAMES, saved, found, strict=True)
    return [name for name, before, now in both if before != now]


ENTRIES: Final = (
    Entry(
        name="import path",
        read=lambda: tuple(sys.path),
        restore=_set_path,
        describe=_changed_path,
    ),
    Entry(name="tracing", read=_tracing, restore=_set_tracing),
    Entry(name="interpreter hooks", read=_hooks, restore=_set_hooks),
    Entry(name="interpreter limits", read=_limits_of_python, restore=_set_limits_of_python),
    Entry(name="garbage collector", read=_collector, restore=_set_collector),
    Entry(name="memory tracing", read=_traces_memory, restore=_set_traces_memory),
    Entry(
        name="replaced functions",
        read=_replaceable,
        # What replaced them may keep more than is seen here.
        restore=None,
        same=lambda saved, found: (
            all(map(operator.is_, saved, found)) or not _replaced(saved, found)
        ),
        describe=lambda saved, found: list_names(_replaced(saved, found)),
    ),
)
