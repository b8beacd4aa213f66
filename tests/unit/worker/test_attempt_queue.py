"""Who gets which attempt, and when a slot that waits is woken."""

from __future__ import annotations

import asyncio
from typing import Any

from scripted_plane import dispatch_of
from servo.worker.attempt import Attempt
from servo.worker.attempt_queue import AttemptQueue
from servo.worker.log_buffer import LogBuffer


def attempts(count: int) -> list[Attempt]:
    logs = LogBuffer(lambda message: None, lambda: None)
    return [Attempt(dispatch_of("code", "f"), logs) for _ in range(count)]


def test_attempts_come_in_order_and_those_for_a_slot_first() -> None:
    async def body() -> None:
        queue = AttemptQueue()
        a, b, c = attempts(3)
        queue.put(a)
        queue.put(b)
        queue.put_for(1, c)
        assert queue
        assert [await queue.get(1), await queue.get(1), await queue.get(0)] == [c, a, b]
        assert not queue

    asyncio.run(body())


def test_an_attempt_for_a_slot_wakes_that_slot_alone() -> None:
    async def body() -> None:
        queue = AttemptQueue()
        (a,) = attempts(1)
        getting = [asyncio.create_task(queue.get(slot)) for slot in range(3)]
        await asyncio.sleep(0)
        queue.put_for(1, a)
        assert await getting[1] is a
        assert not getting[0].done()
        assert not getting[2].done()
        queue.wake_all()
        assert [await getting[0], await getting[2]] == [None, None]

    asyncio.run(body())


def test_the_slot_that_waits_longest_is_woken_first_and_none_is_lost() -> None:
    async def body() -> None:
        queue = AttemptQueue()
        a, b = attempts(2)
        getting = [asyncio.create_task(queue.get(slot)) for slot in range(3)]
        await asyncio.sleep(0)
        queue.put(a)
        queue.put(b)
        assert [await getting[0], await getting[1]] == [a, b]
        assert not getting[2].done()
        # One that is woken may find that another slot was faster.
        queue.put(a)
        assert await queue.get(0) is a
        assert await getting[2] is None

    asyncio.run(body())


def test_a_slot_that_stops_waiting_is_forgotten() -> None:
    async def body() -> Any:
        queue = AttemptQueue()
        (a,) = attempts(1)
        getting = asyncio.create_task(queue.get(0))
        await asyncio.sleep(0)
        getting.cancel()
        await asyncio.gather(getting, return_exceptions=True)
        queue.put(a)
        return await queue.get(1) is a

    assert asyncio.run(body())


def test_a_slot_woken_for_any_attempt_that_takes_its_own_wakes_another_slot() -> None:
    async def body() -> None:
        queue = AttemptQueue()
        shared, own = attempts(2)
        getting = [asyncio.create_task(queue.get(slot)) for slot in range(2)]
        await asyncio.sleep(0)
        queue.put(shared)
        queue.put_for(0, own)
        assert await asyncio.wait_for(getting[0], 5) is own
        assert await asyncio.wait_for(getting[1], 5) is shared

    asyncio.run(body())
