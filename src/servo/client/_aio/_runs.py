"""Runs: starting, reading, stopping and following them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Final

from servo._wire import methods
from servo.client._aio._calls import NO_TASKS, REOPEN_PAUSE, Calls, pages, resumed
from servo.client._aio._glue import aclosing, sleep
from servo.client._aio._stream import AsyncStream
from servo.types.events import Event, RunStateChanged
from servo.types.records import Run, Task
from servo.types.requests import (
    CancelRunRequest,
    CreateRunRequest,
    CreateRunResponse,
    GetRunRequest,
    ListRunsRequest,
    PartitionSelection,
    WatchRunRequest,
    WatchRunResponse,
)
from servo.types.runs import RunState

_PLANNING_SECONDS: Final = 300.0
"""How long a control plane may take to plan a large run."""


class AsyncRuns:
    """The runs of a workspace. Use it as ``client.runs``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        selection: Iterable[str],
        *,
        partitions: PartitionSelection | None = None,
        upstream: bool = False,
        downstream: bool = False,
        run_key: str = "",
        deployment_id: str = "",
        config: Mapping[str, str] | None = None,
    ) -> CreateRunResponse:
        """Start a run.

        Args:
            selection: Asset keys or globs.
            partitions: Which partitions; only assets without partitions when left out.
            upstream: Whether to run everything that the selection reads as well.
            downstream: Whether to run everything that reads the selection as well.
            run_key: An idempotency key: the same key and request give the same run.
            deployment_id: The deployment to run; the current one when left out.
            config: What the functions see as ``ctx.config``.

        Raises:
            InvalidArgumentError: The selection or the partitions make no sense, or an upstream
                partition is missing; the message lists them.
            ConflictError: The run key was used for another request.
        """
        request = CreateRunRequest(
            selection=tuple(selection),
            partitions=partitions,
            upstream=upstream,
            downstream=downstream,
            run_key=run_key,
            deployment_id=deployment_id,
            config=config or {},
        )
        return await self._calls.unary(methods.CREATE_RUN, request, at_least=_PLANNING_SECONDS)

    async def get(self, run_id: str, *, tasks: bool = True) -> Run:
        """Read one run.

        Args:
            run_id: The id.
            tasks: Whether to read its tasks as well, all of them.

        Raises:
            NotFoundError: There is no such run.
        """
        size = 0 if tasks else NO_TASKS
        found: list[Task] = []
        async for page in pages(
            lambda token: self._calls.unary(
                methods.GET_RUN, GetRunRequest(run_id=run_id, page_size=size, page_token=token)
            ),
            lambda page: page.next_page_token if tasks else "",
        ):
            found += page.run.tasks
        return replace(page.run, tasks=tuple(found))

    async def list(
        self, *, states: Iterable[RunState] = (), page_size: int = 0
    ) -> AsyncIterator[Run]:
        """Read runs without their tasks, newest first, page by page.

        Args:
            states: Only runs in these states; all when left out.
            page_size: Runs in a page; zero for the server's choice.
        """
        wanted = tuple(states)
        async for page in pages(
            lambda token: self._calls.unary(
                methods.LIST_RUNS,
                ListRunsRequest(page_size=page_size, page_token=token, states=wanted),
            ),
            lambda page: page.next_page_token,
        ):
            for run in page.runs:
                yield run

    async def cancel(self, run_id: str, reason: str = "") -> Run:
        """Stop a run; one that has ended is left as it is.

        Args:
            run_id: The id.
            reason: Why, for people.

        Raises:
            NotFoundError: There is no such run.
        """
        request = CancelRunRequest(run_id=run_id, reason=reason)
        return (await self._calls.unary(methods.CANCEL_RUN, request)).run

    def watch(self, run_id: str, after_sequence: int = 0) -> AsyncStream[Event]:
        """Follow a run until it has ended, through restarts of the control plane.

        Args:
            run_id: The id.
            after_sequence: Only what happened after this event; zero for everything.

        Returns:
            Each event of the history once, in order, and in between the progress of tasks, which
            has the sequence 0.

        Raises:
            NotFoundError: There is no such run.
            UnavailableError: The control plane could not be reached for longer than the client's
                timeout.
        """
        return AsyncStream(self._watch(run_id, after_sequence))

    async def _watch(self, run_id: str, sequence: int) -> AsyncGenerator[Event, None]:

        has_ended = False

        async def open_stream() -> AsyncGenerator[WatchRunResponse, None]:
            nonlocal has_ended
            began_at = sequence
            request = WatchRunRequest(run_id=run_id, after_sequence=sequence)
            stream = self._calls.stream(methods.WATCH_RUN, request, sends_once=True)
            async with aclosing(stream) as responses:
                async for response in responses:
                    yield response
            # The end may lie before `after_sequence`; otherwise the server closed the stream,
            # most likely because it stops, and then it does not answer this either.
            look = GetRunRequest(run_id=run_id, page_size=NO_TASKS)
            run = (await self._calls.unary(methods.GET_RUN, look, sends_once=True)).run
            has_ended = run.state.is_terminal and (
                run.last_sequence <= sequence or sequence == began_at
            )

        while not has_ended:
            async with aclosing(resumed(open_stream, patience=self._calls.patience)) as responses:
                async for response in responses:
                    for event in response.events:
                        if 0 < event.sequence <= sequence:
                            continue
                        sequence = event.sequence or sequence
                        yield event
                        if _ends(event, run_id):
                            return
            if not has_ended:
                await sleep(REOPEN_PAUSE)


def _ends(event: Event, run_id: str) -> bool:
    payload = event.payload
    return (
        isinstance(payload, RunStateChanged)
        and payload.state.is_terminal
        and event.run_id == run_id
    )
