"""What a task costs at least: the protocol of the control plane and its worker, and nothing else.

``python benchmarks/drive_sketch.py FOLDER CHAINS LENGTH`` executes chains of tasks and prints one
line of JSON: how many seconds that took, from the first task given out to the last event that the
one who watches has seen. The parts are processes as in use: a control plane with a durable
commit to SQLite for what comes in while the one before is under way, a worker with two processes
that do nothing, and one who watches. The messages are those of the contract; but nothing is
checked, planned, retried, limited, explained or read again after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc.aio

from servo._gen.arco.v1 import event_pb2, run_pb2, run_service_pb2, worker_pb2

SESSION: Final = "/sketch/Session"
WATCH: Final = "/sketch/Watch"
SLOTS: Final = 2
AHEAD: Final = 32
"""Attempts that the worker holds besides those that run."""
ID: Final = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
TABLES: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE events (sequence INTEGER PRIMARY KEY, record BLOB);
CREATE TABLE tasks (task INTEGER PRIMARY KEY, token INTEGER, record BLOB);
CREATE TABLE materializations (sequence INTEGER PRIMARY KEY, record BLOB);
"""


# -- the control plane ----------------------------------------------------------------------------


class Plane(grpc.GenericRpcHandler):
    """Gives out the tasks of chains, one after the other in each."""

    def __init__(self, folder: Path, chains: int, length: int) -> None:
        self.db = sqlite3.connect(folder / "sketch.db", check_same_thread=False)
        self.db.executescript(TABLES)
        self.length, self.left = length, chains * length
        self.ready = [chain * length for chain in range(chains)]
        self.tokens: dict[int, int] = {}
        self.sequence = self.credit = 0
        self.events: list[event_pb2.Event] = []
        self.rows: list[run_pb2.Task] = []
        self.made: list[tuple[int, run_pb2.Materialization]] = []
        self.answers: list[worker_pb2.ServerMessage] = []
        self.pending = asyncio.Event()
        self.outgoing: asyncio.Queue[worker_pb2.OpenSessionResponse] = asyncio.Queue()
        self.news: asyncio.Queue[run_service_pb2.WatchRunResponse] = asyncio.Queue()

    def record(self, task: int, state: int) -> int:
        """Record that a task has changed its state."""
        self.sequence += 1
        event = event_pb2.Event(sequence=self.sequence, run_id=ID)
        event.occurred_at.GetCurrentTime()
        event.task_state_changed.index = task
        event.task_state_changed.state = state
        event.task_state_changed.attempt = 1
        self.events.append(event)
        row = run_pb2.Task(task_id=f"{task:026}", index=task, state=state, attempt=1)
        row.asset_key.namespace, row.asset_key.name = "raw", f"chain_{task:05}"
        self.rows.append(row)
        return self.sequence

    def give_out(self) -> None:
        """Give out what is ready."""
        while self.credit and self.ready:
            self.credit -= 1
            task = self.ready.pop()
            token = self.tokens[task] = self.record(task, run_pb2.TASK_STATE_DISPATCHED)
            message = worker_pb2.ServerMessage()
            dispatch = message.dispatch
            dispatch.lease.task_id, dispatch.lease.token = f"{task:026}", token
            dispatch.run_id = dispatch.deployment_id = ID
            dispatch.asset.key.namespace, dispatch.asset.key.name = "raw", f"chain_{task:05}"
            dispatch.asset.id = ID
            self.answers.append(message)

    def take(self, request: worker_pb2.OpenSessionRequest) -> None:
        """Act on what the worker says."""
        for message in request.messages:
            kind = message.WhichOneof("kind")
            if kind == "credit":
                self.credit += message.credit.attempts
                continue
            said = getattr(message, kind)
            task = int(said.lease.task_id)
            if self.tokens.get(task) != said.lease.token:
                continue
            if kind == "started":
                self.record(task, run_pb2.TASK_STATE_RUNNING)
                continue
            del self.tokens[task]
            sequence = self.record(task, run_pb2.TASK_STATE_SUCCEEDED)
            self.made.append((sequence, said.succeeded.materialization))
            answer = worker_pb2.ServerMessage()
            answer.receipt.lease.CopyFrom(said.lease)
            self.answers.append(answer)
            if (task + 1) % self.length:
                self.record(task + 1, run_pb2.TASK_STATE_READY)
                self.ready.append(task + 1)
        self.give_out()
        self.pending.set()

    def write(self, events: Any, rows: Any, made: Any) -> None:
        """Commit, durably."""
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(
            "INSERT INTO events VALUES (?, ?)",
            [(event.sequence, event.SerializeToString()) for event in events],
        )
        latest = {row.index: row for row in rows}
        self.db.executemany(
            "INSERT OR REPLACE INTO tasks VALUES (?, 0, ?)",
            [(index, row.SerializeToString()) for index, row in latest.items()],
        )
        self.db.executemany(
            "INSERT INTO materializations VALUES (?, ?)",
            [(sequence, record.SerializeToString()) for sequence, record in made],
        )
        self.db.execute("COMMIT")

    async def commit(self) -> None:
        """Write what there is, again and again; nothing is said before it is on disk."""
        while True:
            await self.pending.wait()
            self.pending.clear()
            work = self.events, self.rows, self.made
            answers, self.answers = self.answers, []
            self.events, self.rows, self.made = [], [], []
            await asyncio.to_thread(self.write, *work)
            self.outgoing.put_nowait(worker_pb2.OpenSessionResponse(messages=answers))
            self.news.put_nowait(run_service_pb2.WatchRunResponse(events=work[0]))

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Answer the two calls."""
        if details.method == SESSION:
            return grpc.stream_stream_rpc_method_handler(
                self.session,
                worker_pb2.OpenSessionRequest.FromString,
                worker_pb2.OpenSessionResponse.SerializeToString,
            )
        return grpc.unary_stream_rpc_method_handler(
            self.watch, None, run_service_pb2.WatchRunResponse.SerializeToString
        )

    async def session(self, requests: AsyncIterator[Any], context: Any) -> None:
        async def read() -> None:
            async for request in requests:
                self.take(request)

        reading = asyncio.create_task(read())
        try:
            while True:
                await context.write(await self.outgoing.get())
        finally:
            reading.cancel()

    async def watch(self, request: bytes, context: Any) -> None:
        while self.left:
            response = await self.news.get()
            await context.write(response)
            self.left -= sum(
                event.task_state_changed.state == run_pb2.TASK_STATE_SUCCEEDED
                for event in response.events
            )


async def serve(folder: Path, chains: int, length: int) -> None:
    plane = Plane(folder, chains, length)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((plane,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await plane.commit()


# -- the worker -----------------------------------------------------------------------------------


async def work(port: str) -> None:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    outgoing: list[worker_pb2.WorkerMessage] = []
    wake = asyncio.Event()
    started = asyncio.Barrier(SLOTS)

    def say() -> worker_pb2.WorkerMessage:
        message = worker_pb2.WorkerMessage()
        outgoing.append(message)
        wake.set()
        return message

    async def slot() -> None:
        runner = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "run", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert runner.stdin is not None
        assert runner.stdout is not None
        await runner.stdout.readexactly(1)
        await started.wait()
        say().credit.attempts = AHEAD // SLOTS + 1
        while True:
            dispatch = await queue.get()
            say().started.lease.CopyFrom(dispatch.lease)
            data = dispatch.SerializeToString()
            runner.stdin.write(len(data).to_bytes(4, "big") + data)
            size = int.from_bytes(await runner.stdout.readexactly(4), "big")
            message = say()
            message.finished.ParseFromString(await runner.stdout.readexactly(size))
            say().credit.attempts = 1

    async def said() -> AsyncIterator[Any]:
        while True:
            await wake.wait()
            # Others join, unless a slot would wait for that.
            await asyncio.sleep(0 if queue.empty() else 0.006)
            wake.clear()
            request = worker_pb2.OpenSessionRequest(messages=outgoing)
            outgoing.clear()
            yield request

    slots = [asyncio.create_task(slot()) for _ in range(SLOTS)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream(
            SESSION,
            worker_pb2.OpenSessionRequest.SerializeToString,
            worker_pb2.OpenSessionResponse.FromString,
        )(said())
        async for response in call:
            for message in response.messages:
                if message.WhichOneof("kind") == "dispatch":
                    queue.put_nowait(message.dispatch)
    await asyncio.gather(*slots)


def run() -> None:
    """Be the process that runs user code, which does nothing."""
    read, write = sys.stdin.buffer, sys.stdout.buffer
    write.write(b"!")
    write.flush()
    while size := read.read(4):
        dispatch = worker_pb2.TaskDispatch.FromString(read.read(int.from_bytes(size, "big")))
        finished = worker_pb2.AttemptFinished(lease=dispatch.lease)
        made = finished.succeeded.materialization
        made.materialization_id = ID
        made.asset_key.CopyFrom(dispatch.asset.key)
        data = finished.SerializeToString()
        write.write(len(data).to_bytes(4, "big") + data)
        write.flush()


# -- who watches ----------------------------------------------------------------------------------


async def watch(port: str, tasks: int) -> float:
    done = 0
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_stream(WATCH, None, run_service_pb2.WatchRunResponse.FromString)(b"")
        began = 0.0
        async for response in call:
            began = began or time.perf_counter()
            for event in response.events:
                done += event.task_state_changed.state == run_pb2.TASK_STATE_SUCCEEDED
    if done != tasks:
        raise SystemExit(f"{done} of {tasks} tasks are done")
    return time.perf_counter() - began


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "serve":
        asyncio.run(serve(Path(rest[0]), int(rest[1]), int(rest[2])))
    elif what == "work":
        asyncio.run(work(rest[0]))
    elif what == "run":
        run()
    else:
        plane = start("serve", what, *rest)
        assert plane.stdout is not None
        port = plane.stdout.readline().strip()
        worker = start("work", port)
        try:
            seconds = asyncio.run(watch(port, int(rest[0]) * int(rest[1])))
        finally:
            for process in (worker, plane):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        print(json.dumps(seconds))


main()
