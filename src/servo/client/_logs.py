"""What attempts wrote."""

from __future__ import annotations

from collections.abc import Iterator

from servo._wire import methods
from servo.client._calls import Calls, resumed
from servo.types.logs import LogBatch
from servo.types.requests import ReadLogsRequest, ReadLogsResponse


class Logs:
    """The logs of runs. Use it as ``client.logs``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def read(self, run_id: str, task: str = "", *, follow: bool = False) -> Iterator[LogBatch]:
        """Read the log of a run, through restarts of the control plane.

        Args:
            run_id: The id.
            task: Only tasks of this asset key, ``key[dimension=value,...]`` or task id.
            follow: Whether to wait for further lines until the run has ended.

        Yields:
            Each batch once, in the order in which they arrived.

        Raises:
            NotFoundError: There is no such run or task.
            UnavailableError: The control plane could not be reached for longer than the client's
                timeout.
        """
        cursor = 0

        def open_stream() -> Iterator[ReadLogsResponse]:
            request = ReadLogsRequest(run_id=run_id, task=task, follow=follow, after_cursor=cursor)
            return self._calls.stream(methods.READ_LOGS, request)

        for response in resumed(open_stream, patience=self._calls.timeout):
            cursor = max(cursor, response.cursor)
            yield from response.batches
