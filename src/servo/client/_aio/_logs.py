"""What attempts wrote."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from servo._wire import methods
from servo.client._aio._calls import NO_TASKS, REOPEN_PAUSE, Calls, resumed
from servo.client._aio._glue import aclosing, sleep
from servo.client._aio._stream import AsyncStream
from servo.types.logs import LogBatch
from servo.types.requests import GetRunRequest, ReadLogsRequest, ReadLogsResponse


class AsyncLogs:
    """The logs of runs. Use it as ``client.logs``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def read(self, run_id: str, task: str = "", *, follow: bool = False) -> AsyncStream[LogBatch]:
        """Read the log of a run, through restarts of the control plane.

        Args:
            run_id: The id.
            task: Only tasks of this asset key, ``key[dimension=value,...]`` or task id.
            follow: Whether to wait for further lines until the run has ended.

        Returns:
            Each batch once, in the order in which they arrived.

        Raises:
            NotFoundError: There is no such run or task.
            UnavailableError: The control plane could not be reached for longer than the client's
                timeout.
        """
        return AsyncStream(self._read(run_id, task, follow))

    async def _read(self, run_id: str, task: str, follow: bool) -> AsyncGenerator[LogBatch, None]:
        cursor = 0
        is_last = False

        async def open_stream() -> AsyncGenerator[ReadLogsResponse, None]:
            nonlocal is_last
            # Whoever is in between may end a stream well before the run has ended. Asked before
            # the stream is opened, the answer means that nothing can come after its end.
            is_last = not follow or await self._has_ended(run_id)
            request = ReadLogsRequest(run_id=run_id, task=task, follow=follow, after_cursor=cursor)
            stream = self._calls.stream(methods.READ_LOGS, request, sends_once=True)
            async with aclosing(stream) as responses:
                async for response in responses:
                    yield response

        while not is_last:
            async with aclosing(resumed(open_stream, patience=self._calls.patience)) as responses:
                async for response in responses:
                    cursor = max(cursor, response.cursor)
                    for batch in response.batches:
                        yield batch
            if not is_last:
                await sleep(REOPEN_PAUSE)

    async def _has_ended(self, run_id: str) -> bool:
        request = GetRunRequest(run_id=run_id, page_size=NO_TASKS)
        answer = await self._calls.unary(methods.GET_RUN, request, sends_once=True)
        return answer.run.state.is_terminal
