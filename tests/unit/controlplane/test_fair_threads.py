"""Threads that tenants share: bounded, in turn, and free again however work ends."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plane_kit import sync
from servo import errors
from servo.controlplane.converting import SMALL_BYTES, Converter
from servo.controlplane.fair_threads import FairThreads


class _Gate:
    """Work that goes on until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)

    def work(self) -> int:
        self.begun.release()
        assert self.go.wait(30)
        return threading.get_ident()


def _threads(**options: int) -> FairThreads:
    given_options = {"threads": 3, "per_tenant": 2, "waiting": 2} | options
    return FairThreads("test", **given_options)


@sync
async def test_what_one_tenant_does_leaves_a_thread_to_others(_: Path) -> None:
    threads, gate = _threads(), _Gate()
    evil = [asyncio.create_task(threads.run("evil", gate.work)) for _ in range(4)]
    await asyncio.to_thread(lambda: [gate.begun.acquire() for _ in range(2)])
    assert await asyncio.wait_for(threads.run("acme", lambda: "done"), 30) == "done"
    gate.go.set()
    await asyncio.gather(*evil)
    threads.close()


@sync
async def test_so_much_may_wait_and_more_is_refused_with_a_hint_when_to_call_again(_: Path) -> None:
    threads, gate = _threads(threads=1, per_tenant=1), _Gate()
    evil = [asyncio.create_task(threads.run("evil", gate.work)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(errors.RateLimitedError, match="2 requests of tenant 'evil'") as caught:
        await threads.run("evil", lambda: None)
    assert caught.value.retry_after
    gate.go.set()
    await asyncio.gather(*evil)
    threads.close()


@sync
async def test_a_caller_that_gives_up_while_it_waits_frees_its_place_at_once(_: Path) -> None:
    threads, gate = _threads(threads=1, per_tenant=1, waiting=1), _Gate()
    running = asyncio.create_task(threads.run("a", gate.work))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(threads.run("a", lambda: "never"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    last = asyncio.create_task(threads.run("a", lambda: "last"))
    gate.go.set()
    assert await last == "last"
    assert waiting.cancelled()
    await running
    threads.close()


@sync
async def test_a_caller_that_gives_up_while_its_work_is_done_keeps_the_thread_until_then(
    _: Path,
) -> None:
    threads, gate = _threads(threads=1, per_tenant=1), _Gate()
    running = asyncio.create_task(threads.run("a", gate.work))
    await asyncio.to_thread(gate.begun.acquire)
    running.cancel()
    await asyncio.wait([running])
    following = asyncio.create_task(threads.run("b", lambda: "following"))
    await asyncio.sleep(0.05)
    assert not following.done()
    gate.go.set()
    assert await following == "following"
    threads.close()


@sync
async def test_a_place_that_is_given_to_a_caller_that_just_gave_up_goes_to_the_next(
    _: Path,
) -> None:
    threads, gate = _threads(threads=1, per_tenant=1), _Gate()
    running = asyncio.create_task(threads.run("a", gate.work))
    await asyncio.to_thread(gate.begun.acquire)
    waiting = [asyncio.create_task(threads.run("b", lambda: "b")) for _ in range(2)]
    await asyncio.sleep(0)
    gate.go.set()
    await running
    waiting[0].cancel()
    assert await waiting[1] == "b"
    assert await threads.run("c", lambda: "c") == "c"
    threads.close()


@sync
async def test_an_error_of_the_work_reaches_its_caller_and_frees_the_thread(_: Path) -> None:
    threads = _threads(threads=1, per_tenant=1)

    def fail() -> None:
        raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await threads.run("a", fail)
    threads.close()


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_whoever_comes_and_goes_the_bounds_hold_and_everything_is_done(
    arrivals: list[tuple[str, bool]], count: int, per_tenant: int
) -> None:
    lock = threading.Lock()
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    def work(tenant: str) -> str:
        with lock:
            running[tenant] += 1
            most[tenant] = max(most[tenant], running[tenant])
            most["all"] = max(most["all"], sum(running.values()))
        with lock:
            running[tenant] -= 1
        return tenant

    async def everybody() -> None:
        threads = FairThreads("test", threads=count, per_tenant=per_tenant, waiting=100)
        tasks = []
        for tenant, gives_up in arrivals:
            task = asyncio.create_task(threads.run(tenant, work, tenant))
            await asyncio.sleep(0)
            if gives_up:
                task.cancel()
            tasks.append((task, tenant, gives_up))
        await asyncio.wait_for(
            asyncio.gather(*(t for t, _, _ in tasks), return_exceptions=True), 30
        )
        for task, tenant, gives_up in tasks:
            assert gives_up or task.result() == tenant
        # Every thread is free again.
        assert await asyncio.wait_for(
            asyncio.gather(*(threads.run(str(n), work, str(n)) for n in range(count))), 30
        )
        threads.close()

    asyncio.run(everybody())
    assert most["all"] <= count
    assert all(most[tenant] <= per_tenant for tenant in "abcd")


@sync
async def test_after_the_end_work_is_refused_as_it_is_while_a_control_plane_stops(_: Path) -> None:
    for used in (False, True):
        threads = _threads()
        if used:
            await threads.run("a", int)
        threads.close()
        with pytest.raises(errors.UnavailableError, match="stops"):
            await threads.run("a", int)


@sync
async def test_what_is_small_is_converted_in_the_loop_and_what_is_large_in_a_thread(
    _: Path,
) -> None:
    converter = Converter()

    def where(_: object) -> bytes:
        return str(threading.get_ident()).encode()

    here = where(None)
    assert await converter.decode("a", where, bytes(SMALL_BYTES)) == here
    assert await converter.decode("a", where, bytes(SMALL_BYTES + 1)) != here
    assert await converter.encode("a", where, ("x",) * 300) == here
    assert await converter.encode("a", where, ("x",) * 301) != here
    assert await converter.encode("a", where, dict.fromkeys(range(151), "y")) != here


@sync
async def test_whoever_waits_at_the_end_is_told_when_what_goes_on_has_ended(_: Path) -> None:
    threads, gate = _threads(threads=1, per_tenant=1), _Gate()
    first, *others = [asyncio.create_task(threads.run("a", gate.work)) for _ in range(3)]
    await asyncio.to_thread(gate.begun.acquire)
    threads.close()
    gate.go.set()
    await first
    for other in others:
        with pytest.raises(errors.UnavailableError, match="stops"):
            await asyncio.wait_for(other, 30)
