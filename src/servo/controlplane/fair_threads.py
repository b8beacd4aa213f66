"""A few threads that tenants share fairly, for work that takes longer than the event loop may stop.

Python code in a thread gives the interpreter back every few milliseconds, so the loop goes on; but
threads are few, and what one tenant does with them others wait for. Each tenant therefore has a
part of them at most, those that wait are served in turn, and what waits is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from servo import errors

_P = ParamSpec("_P")
_T = TypeVar("_T")

_RETRY_AFTER = 1.0


class FairThreads:
    """Threads for the work of tenants.

    Args:
        name: What the threads are called.
        threads: How many there are.
        per_tenant: How many of them one tenant has at most.
        waiting: How much work of one tenant may wait for a thread.
    """

    def __init__(self, name: str, *, threads: int, per_tenant: int, waiting: int) -> None:
        self._name = name
        self._free = threads
        self._threads = threads
        self._per_tenant = per_tenant
        self._most_waiting = waiting
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._pool: ThreadPoolExecutor | None = None
        self._is_closed = False

    async def run(
        self, tenant_id: str, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Do work of a tenant in a thread.

        A caller that gives up while it waits frees its place at once; one that gives up while the
        work is done keeps the thread until the work has ended.

        Args:
            tenant_id: Whose work it is.
            work: What to do.
            args: Given to it.
            kwargs: Given to it.

        Raises:
            servo.errors.RateLimitedError: Too much of the tenant's work waits already.
            servo.errors.UnavailableError: The threads were closed.
        """
        await self._turn(tenant_id)
        loop = asyncio.get_running_loop()
        if self._is_closed:
            self._end(tenant_id)
            raise errors.UnavailableError("the control plane stops", code="STOPPING")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, self._name)

        def free(done: Future[_T]) -> None:
            del done
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._end, tenant_id)

        future = self._pool.submit(work, *args, **kwargs)
        future.add_done_callback(free)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Start nothing any more; what is being done ends by itself."""
        self._is_closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, tenant_id: str) -> None:
        """Wait for a thread."""
        queue = self._waiting.get(tenant_id)
        if queue is None and self._free and self._running[tenant_id] < self._per_tenant:
            self._begin(tenant_id)
            return
        if queue is None:
            queue = self._waiting[tenant_id] = deque()
        if len(queue) >= self._most_waiting:
            raise errors.RateLimitedError(
                f"{len(queue)} requests of tenant {tenant_id!r} wait for a thread already; call "
                f"again in {_RETRY_AFTER:g} s",
                code="TENANT_BUSY",
                retry_after=_RETRY_AFTER,
            )
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end(tenant_id)
            else:
                self._leave(tenant_id, turn)
            raise

    def _leave(self, tenant_id: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(tenant_id)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[tenant_id]

    def _begin(self, tenant_id: str) -> None:
        self._free -= 1
        self._running[tenant_id] += 1

    def _end(self, tenant_id: str) -> None:
        self._free += 1
        self._running[tenant_id] -= 1
        if not self._running[tenant_id]:
            del self._running[tenant_id]
        while self._free and self._serve_next():
            pass

    def _serve_next(self) -> bool:
        """Give a thread to the tenant that has waited longest since its last turn."""
        for tenant_id, queue in list(self._waiting.items()):
            # Those that gave up are still here until their own code runs.
            while queue and queue[0].cancelled():
                queue.popleft()
            if queue and self._running[tenant_id] >= self._per_tenant:
                continue
            turn = queue.popleft() if queue else None
            if queue:
                self._waiting.move_to_end(tenant_id)
            else:
                del self._waiting[tenant_id]
            if turn is not None:
                self._begin(tenant_id)
                turn.set_result(None)
                return True
        return False
