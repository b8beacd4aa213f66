"""Waiting for the coroutine of an ``async`` asset in synchronous code."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from typing import Final, TypeVar

__all__ = ["wait_for"]

T = TypeVar("T")

_START_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2

Subscribe = Callable[[Callable[[], None] | None], None]
"""Registers a callback for the cancellation of the attempt; ``None`` removes it."""


def wait_for(awaitable: Awaitable[T], when_cancelled: Subscribe) -> T:
    """Run an awaitable to its end in an event loop of its own.

    The event loop of the calling thread is neither used nor changed. Where one is running already
    (a notebook, an ``async`` test), a helper thread does it, in a copy of the caller's context.

    Args:
        awaitable: What to wait for.
        when_cancelled: Called with a callback that cancels the awaitable from any thread, and with
            ``None`` when it is over.

    Raises:
        BaseException: What the awaitable raises; `asyncio.CancelledError` when it was cancelled.
    """
    import asyncio

    is_running = True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        is_running = False
    # Not while that is handled: it would be the context of whatever the coroutine raises.
    run = _run_in_thread if is_running else _run
    return run(awaitable, when_cancelled)


def _run(awaitable: Awaitable[T], when_cancelled: Subscribe) -> T:
    import asyncio

    async def outer() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def stop() -> None:
            # One that comes too late finds the loop closed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)

        when_cancelled(stop)
        try:
            return await awaitable
        finally:
            when_cancelled(None)

    # With a factory, the loop does not become the current one of the thread. `asyncio.run` leaves a
    # thread whose `get_event_loop` raises from then on.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(outer())


def _run_in_thread(awaitable: Awaitable[T], when_cancelled: Subscribe) -> T:
    found: Future[T] = Future()
    interrupted = threading.Event()
    stops: list[Callable[[], None]] = []

    def subscribe(callback: Callable[[], None] | None) -> None:
        stops[:] = [] if callback is None else [callback]
        when_cancelled(callback)
        if callback is not None and interrupted.is_set():
            callback()

    def work() -> None:
        try:
            found.set_result(_run(awaitable, subscribe))
        except BaseException as exc:  # it is raised in the thread that waits
            found.set_exception(exc)

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(work,), name="servo-coroutine", daemon=True
    )

    try:
        thread.start()
        # With a pause now and then: a signal that the system gives to another thread is seen by
        # this one when it next runs, not while it waits for a lock.
        while not wait([found], _LOOK_SECONDS).done:
            pass
        return found.result()
    except BaseException:
        # The thread that waits was interrupted: the coroutine cleans up before that is passed on.
        interrupted.set()
        for stop in [*stops]:
            stop()
        # Ctrl-C may come while the thread starts, when it cannot be joined yet; without a number
        # after that time, it never started.
        wait([found], _START_SECONDS)
        if thread.ident is not None:
            wait([found])
        raise
    finally:
        with contextlib.suppress(RuntimeError):
            thread.join()
