# Generated from src/servo/client/_aio/_logs.py by scripts/_unasync.py; edit that instead.
"""What attempts wrote."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime

from msgspec.structs import replace

from servo._wire import methods
from servo.client._sync._calls import NO_TASKS, REOPEN_PAUSE, Calls, resumed
from servo.client._sync._glue import closing, sleep
from servo.client._sync._stream import Stream
from servo.errors import InvalidArgumentError
from servo.types.logs import LogBatch
from servo.types.requests import GetRunRequest, ReadLogsRequest, ReadLogsResponse


class Logs:
    """The logs of runs. Use it as ``client.logs``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def read(
        self,
        run_id: str,
        task: str = "",
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        attempt: int | None = None,
    ) -> Stream[LogBatch]:
        """Read the log of a run, through restarts of the control plane.

        Args:
            run_id: The id.
            task: Only tasks of this asset key, ``key[dimension=value,...]`` or task id.
            follow: Whether to wait for further lines until the run has ended.
            tail: Only so many of the last lines, and with ``follow`` what comes after them.
            since: Only lines that were written then or later, by the clocks of the workers; aware.
            attempt: Only lines of attempts with this number, counted from 1.

        Returns:
            Each batch once, in the order in which they arrived.

        Raises:
            InvalidArgumentError: ``tail`` or ``attempt`` is out of range.
            NotFoundError: There is no such run or task.
            UnavailableError: The control plane could not be reached for longer than the client's
                timeout.
        """
        try:
            request = ReadLogsRequest(
                run_id=run_id, task=task, follow=follow, tail=tail, since=since, attempt=attempt
            )
        except ValueError as exc:
            raise InvalidArgumentError(str(exc)) from exc
        return Stream(self._read(request))

    def _read(self, asked: ReadLogsRequest) -> Generator[LogBatch, None, None]:
        cursor, follow, run_id = 0, asked.follow, asked.run_id
        is_last = False

        def open_stream() -> Generator[ReadLogsResponse, None, None]:
            nonlocal is_last
            # Whoever is in between may end a stream well before the run has ended. Asked before
            # the stream is opened, the answer means that nothing can come after its end.
            is_last = not follow or self._has_ended(run_id)
            request = replace(asked, after_cursor=cursor)
            stream = self._calls.stream(methods.READ_LOGS, request, sends_once=True)
            with closing(stream) as responses:
                yield from responses

        while not is_last:
            with closing(resumed(open_stream, patience=self._calls.patience)) as responses:
                for response in responses:
                    cursor = max(cursor, response.cursor)
                    yield from response.batches
            if not is_last:
                sleep(REOPEN_PAUSE)

    def _has_ended(self, run_id: str) -> bool:
        request = GetRunRequest(run_id=run_id, page_size=NO_TASKS)
        answer = self._calls.unary(methods.GET_RUN, request, sends_once=True)
        return answer.run.state.is_terminal
