"""Following a run and reading logs, through restarts of the control plane."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from servo.client import Client
from servo.errors import NotFoundError, UnavailableError
from servo.types.events import Event, EventPayload, RunStateChanged, TaskProgressed
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.records import Progress, Run
from servo.types.requests import GetRunResponse, ReadLogsResponse, WatchRunResponse
from servo.types.runs import RunState

NOW = datetime(2025, 1, 15, tzinfo=UTC)


def event(sequence: int, payload: EventPayload) -> Event:
    return Event(sequence=sequence, occurred_at=NOW, run_id="r", payload=payload)


RUNNING = event(4, RunStateChanged(state=RunState.RUNNING))
PROGRESS = event(0, TaskProgressed(index=0, attempt=1, progress=Progress(message="half")))
ENDED = event(7, RunStateChanged(state=RunState.SUCCEEDED))


def broken() -> UnavailableError:
    return UnavailableError("the control plane is being restarted")


def test_watching_ends_with_the_event_that_ends_the_run(plane: Any, client: Client) -> None:
    def answer(_: object) -> Iterator[WatchRunResponse]:
        yield WatchRunResponse(events=(RUNNING, PROGRESS))
        yield WatchRunResponse(events=(ENDED,))
        threading.Event().wait(5)

    plane.answers["WatchRun"] = answer
    began = time.monotonic()
    assert list(client.runs.watch("r", after_sequence=3)) == [RUNNING, PROGRESS, ENDED]
    assert time.monotonic() - began < 4
    assert plane.requests("WatchRun")[0].after_sequence == 3


def test_watching_goes_on_after_the_last_event_when_the_connection_breaks(
    plane: Any, client: Client
) -> None:
    def answer(request: Any) -> Iterator[WatchRunResponse]:
        if request.after_sequence == 0:
            yield WatchRunResponse(events=(RUNNING, PROGRESS))
            raise broken()
        yield WatchRunResponse(events=(RUNNING, ENDED))

    plane.answers["WatchRun"] = answer
    assert list(client.runs.watch("r")) == [RUNNING, PROGRESS, ENDED]
    assert [request.after_sequence for request in plane.requests("WatchRun")] == [0, 4]


def test_watching_outlasts_a_control_plane_that_is_away_for_a_moment(
    plane: Any, client: Client
) -> None:
    def answer(request: Any) -> Iterator[WatchRunResponse]:
        if request.after_sequence == 0:
            yield WatchRunResponse(events=(RUNNING,))
            threading.Event().wait(5)
        yield WatchRunResponse(events=(ENDED,))

    plane.answers["WatchRun"] = answer
    found = []
    for item in client.runs.watch("r"):
        found.append(item)
        if item is RUNNING or item == RUNNING:
            plane.stop()
            threading.Timer(0.3, plane.start).start()
    assert found == [RUNNING, ENDED]


def test_watching_gives_up_when_the_control_plane_stays_away(plane: Any) -> None:
    def answer(_: object) -> Iterator[WatchRunResponse]:
        yield WatchRunResponse(events=(RUNNING,))
        raise broken()

    plane.answers["WatchRun"] = answer
    with Client(plane.url, timeout=0.5) as client:
        found = client.runs.watch("r")
        assert next(found) == RUNNING
        plane.stop()
        with pytest.raises(UnavailableError):
            list(found)


def test_watching_a_run_that_has_ended_already_ends(plane: Any, client: Client) -> None:
    plane.answers["WatchRun"] = lambda _: iter(())
    plane.answers["GetRun"] = lambda _: GetRunResponse(
        run=Run(run_id="r", state=RunState.FAILED, last_sequence=7)
    )
    assert list(client.runs.watch("r", after_sequence=7)) == []


def test_a_stream_that_was_closed_early_is_opened_again(plane: Any, client: Client) -> None:
    plane.answers["WatchRun"] = lambda request: iter(
        [WatchRunResponse(events=(ENDED if request.after_sequence else RUNNING,))]
    )
    plane.answers["GetRun"] = lambda _: GetRunResponse(
        run=Run(run_id="r", state=RunState.RUNNING, last_sequence=4)
    )
    assert list(client.runs.watch("r")) == [RUNNING, ENDED]


def test_watching_an_unknown_run_is_refused(plane: Any, client: Client) -> None:
    def answer(_: object) -> Iterator[WatchRunResponse]:
        raise NotFoundError("no run 'r'")

    plane.answers["WatchRun"] = answer
    with pytest.raises(NotFoundError, match="no run 'r'"):
        list(client.runs.watch("r"))


def test_leaving_the_iteration_ends_the_call(plane: Any, client: Client) -> None:
    ended = threading.Event()

    def answer(_: object) -> Iterator[WatchRunResponse]:
        try:
            for sequence in range(1, 10_000):
                yield WatchRunResponse(
                    events=(event(sequence, RunStateChanged(state=RunState.RUNNING)),)
                )
                time.sleep(0.01)
        finally:
            ended.set()

    plane.answers["WatchRun"] = answer
    found = client.runs.watch("r")
    next(found)
    found.close()
    assert ended.wait(5)


def batch(number: int) -> LogBatch:
    line = LogLine(number=number, stream=LogStream.STDOUT, written_at=NOW, text=f"line {number}")
    return LogBatch(task_id="t", attempt=1, lines=(line,))


def test_logs_go_on_where_the_connection_broke(plane: Any, client: Client) -> None:
    def answer(request: Any) -> Iterator[ReadLogsResponse]:
        if request.after_cursor == 0:
            yield ReadLogsResponse(batches=(batch(1), batch(2)), cursor=2)
            raise broken()
        yield ReadLogsResponse(batches=(batch(3),), cursor=3)

    plane.answers["ReadLogs"] = answer
    plane.answers["GetRun"] = lambda _: GetRunResponse(
        run=Run(run_id="r", state=RunState.SUCCEEDED, last_sequence=7)
    )
    found = list(client.logs.read("r", "raw.events", follow=True))
    assert found == [batch(1), batch(2), batch(3)]
    assert [
        (request.task, request.follow, request.after_cursor)
        for request in plane.requests("ReadLogs")
    ] == [("raw.events", True, 0), ("raw.events", True, 2)]


def test_logs_of_a_run_that_goes_on_are_read_again_when_the_stream_was_closed(
    plane: Any, client: Client
) -> None:
    states = iter([RunState.RUNNING, RunState.RUNNING, RunState.SUCCEEDED])

    def answer(request: Any) -> Iterator[ReadLogsResponse]:
        if request.after_cursor < 2:
            cursor = request.after_cursor + 1
            yield ReadLogsResponse(batches=(batch(cursor),), cursor=cursor)

    plane.answers["ReadLogs"] = answer
    plane.answers["GetRun"] = lambda _: GetRunResponse(
        run=Run(run_id="r", state=next(states), last_sequence=7)
    )
    assert list(client.logs.read("r", follow=True)) == [batch(1), batch(2)]
    assert [request.after_cursor for request in plane.requests("ReadLogs")] == [0, 1, 2]
