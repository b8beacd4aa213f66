from __future__ import annotations

import asyncio
import contextvars
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from servo.worker.coroutines import wait_for


class Cancellation:
    """Keeps the callback that cancels."""

    def __init__(self) -> None:
        self.stop: Callable[[], None] | None = None
        self.known = threading.Event()

    def subscribe(self, callback: Callable[[], None] | None) -> None:
        self.stop = callback
        if callback is not None:
            self.known.set()


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


def waited() -> int:
    return wait_for(answer(), Cancellation().subscribe)


def test_the_result_of_a_coroutine_is_returned() -> None:
    assert waited() == 42


def test_what_a_coroutine_raises_is_raised() -> None:
    async def fails() -> None:
        raise KeyError("k")

    with pytest.raises(KeyError):
        wait_for(fails(), Cancellation().subscribe)


def test_a_thread_has_the_event_loop_afterwards_that_it_had_before() -> None:
    # In a process of its own: pytest's plugins have touched the loop of this one.
    code = (
        "import asyncio, warnings\n"
        "from servo.worker.coroutines import wait_for\n"
        "warnings.simplefilter('ignore')\n"
        "def current():\n"
        "    try:\n"
        "        loop = asyncio.get_event_loop()\n"
        "    except RuntimeError as exc:\n"
        "        return str(exc)\n"
        "    loop.run_until_complete(asyncio.sleep(0))\n"
        "    return 'a loop'\n"
        "async def nothing(): pass\n"
        "if {first}: wait_for(nothing(), lambda callback: None)\n"
        "print(current())"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code.format(first=first)],
            capture_output=True, text=True, check=True,
        ).stdout
        for first in (False, True)
    ]  # fmt: skip
    assert found[0] == found[1]


def test_it_works_where_an_event_loop_is_running_with_the_callers_context() -> None:
    variable = contextvars.ContextVar("variable", default="none")

    async def reads() -> str:
        await asyncio.sleep(0)
        return variable.get()

    async def notebook() -> str:
        variable.set("the caller's")
        return wait_for(reads(), Cancellation().subscribe)

    assert asyncio.run(notebook()) == "the caller's"


@pytest.mark.parametrize("nested", [False, True], ids=["own thread", "running loop"])
def test_a_coroutine_is_cancelled_from_another_thread(nested: bool) -> None:
    cancellation = Cancellation()

    async def sleeps() -> None:
        await asyncio.sleep(600)

    def wait() -> None:
        wait_for(sleeps(), cancellation.subscribe)

    async def notebook() -> None:
        wait()

    def cancel() -> None:
        cancellation.known.wait(30)
        assert cancellation.stop is not None
        cancellation.stop()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(notebook()) if nested else wait()
    thread.join()
    assert cancellation.stop is None


def test_an_interrupt_lets_a_coroutine_in_a_helper_thread_clean_up() -> None:
    cleaned: list[str] = []
    cancellation = Cancellation()

    async def sleeps() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            cleaned.append(threading.current_thread().name)

    async def notebook() -> None:
        wait_for(sleeps(), cancellation.subscribe)

    def interrupt() -> None:
        cancellation.known.wait(30)
        time.sleep(0.05)
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGUSR1)

    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupted)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(notebook())
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert cleaned == ["servo-coroutine"]
