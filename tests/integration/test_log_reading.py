"""Reading a part of a log: the last lines, those since a moment, those of one attempt."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from plane_kit import Caller, asset, plane, sync
from servo import _wire, errors
from servo.client import Client
from servo.controlplane.serve import ControlPlane
from servo.controlplane.store.batch import Batch
from servo.testing import local_plane
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.records import Run
from servo.types.requests import ReadLogsRequest

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SEEDS = range(40)


def line(number: int, stream: LogStream, text: str, minute: int | None) -> LogLine:
    written = None if minute is None else NOON + timedelta(minutes=minute)
    return LogLine(number=number, stream=stream, text=text, written_at=written)


def random_log(dice: random.Random, run: Run) -> list[LogBatch]:
    """Batches of several tasks, attempts and streams, some of which a worker sent twice."""
    numbers: dict[tuple[str, int, LogStream], int] = {}
    batches: list[LogBatch] = []
    for _ in range(dice.randrange(12)):
        if batches and dice.random() < 0.2:
            # What was sent after the last receipt is sent again, in its order.
            batches += batches[-dice.randrange(1, 4) :]
            continue
        task, attempt = dice.choice(run.tasks).task_id, dice.randrange(1, 3)
        lines = []
        for _ in range(dice.randrange(5)):
            stream = dice.choice(list(LogStream))
            number = numbers[task, attempt, stream] = numbers.get((task, attempt, stream), 0) + 1
            minute = dice.choice([None, *range(20)])
            lines.append(line(number, stream, f"{task} {attempt} {stream} {number}", minute))
        batches.append(LogBatch(task_id=task, attempt=attempt, lines=tuple(lines)))
    return batches


def expected(
    batches: list[LogBatch],
    task: str,
    tail: int | None,
    since: datetime | None,
    attempt: int | None,
) -> list[str]:
    found: dict[str, None] = {}
    latest: list[str] = []
    for batch in batches:
        if (task and batch.task_id != task) or (attempt and batch.attempt != attempt):
            continue
        for one in batch.lines:
            if since is None or one.written_at is None or one.written_at >= since:
                found.setdefault(one.text)
                latest.append(one.text)
    if tail is None:
        return list(found)
    # Of a line that came twice the later copy says how far back it lies.
    last = set(list(dict.fromkeys(reversed(latest)))[:tail])
    return [text for text in found if text in last]


async def read(caller: Caller, run_id: str, **wanted: Any) -> list[str]:
    request = ReadLogsRequest(run_id=run_id, **wanted)
    return [
        one.text
        async for response in caller.stream(_wire.methods.READ_LOGS, request)
        for batch in response.batches
        for one in batch.lines
    ]


async def started(served: ControlPlane, caller: Caller) -> Run:
    created = await caller.create_run("*")
    return await caller.get_run(created.run.run_id)


@sync
async def test_parts_of_a_log_are_what_was_asked_for(tmp_path: Path) -> None:
    async with plane(tmp_path) as (served, caller):
        await caller.deploy([asset("raw.a"), asset("raw.b")])
        for seed in SEEDS:
            dice = random.Random(seed)
            run = await started(served, caller)
            batches = random_log(dice, run)
            if batches:
                await served.store.write(Batch(logs=[(run.run_id, one) for one in batches]))
            task = dice.choice(["", run.tasks[0].task_id])
            tail = dice.choice([None, 0, 1, 2, 3, 5, 100])
            since = dice.choice([None, NOON + timedelta(minutes=10)])
            attempt = dice.choice([None, 1, 2])
            found = await read(
                caller, run.run_id, task=task, tail=tail, since=since, attempt=attempt
            )
            wanted = expected(batches, task, tail, since, attempt)
            assert sorted(found) == sorted(wanted), (seed, task, tail, since, attempt)


@sync
async def test_the_last_lines_are_found_from_the_end_of_a_long_log(tmp_path: Path) -> None:
    async with plane(tmp_path) as (served, caller):
        await caller.deploy([asset("raw.a")])
        run = await started(served, caller)
        task = run.tasks[0].task_id
        lines = [line(n, LogStream.STDOUT, f"line {n}", None) for n in range(1, 1001)]
        batches = [
            LogBatch(task_id=task, attempt=1, lines=tuple(lines[place : place + 3]))
            for place in range(0, 1000, 3)
        ]
        await served.store.write(Batch(logs=[(run.run_id, one) for one in batches]))
        for tail in (1, 2, 5, 500, 1000, 2000):
            found = await read(caller, run.run_id, tail=tail)
            assert found == [one.text for one in lines[-tail:]]
        # Whoever goes on from a cursor has the last lines already.
        request = ReadLogsRequest(run_id=run.run_id, tail=4)
        responses = [one async for one in caller.stream(_wire.methods.READ_LOGS, request)]
        again = await read(caller, run.run_id, tail=4, after_cursor=responses[-2].cursor)
        assert again == [one.text for one in responses[-1].batches[0].lines]


@pytest.mark.parametrize(("wanted", "said"), [({"tail": -1}, "tail"), ({"attempt": 0}, "attempts")])
def test_a_part_that_cannot_be_is_refused_by_the_client(wanted: dict[str, int], said: str) -> None:
    with (
        Client("http://127.0.0.1:9", api_key="k" * 32) as client,
        pytest.raises(errors.InvalidArgumentError, match=said),
    ):
        client.logs.read("01ARZ3NDEKTSV4RRFFQ69G5FAV", **wanted)  # type: ignore[arg-type]


def test_the_last_lines_of_no_run_are_not_found() -> None:
    with local_plane() as served, served.client() as client:
        found = client.logs.read("01ARZ3NDEKTSV4RRFFQ69G5FAV", tail=1)
        with pytest.raises(errors.NotFoundError):
            list(found)
