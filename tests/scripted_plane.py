"""A control plane for tests of the worker: a real gRPC server that does what the test says.

It grants leases with growing tokens, confirms what it is told to confirm, and keeps everything
that the worker said.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
from msgspec.structs import replace

from servo import _wire
from servo.types.assets import AssetDefinition, CodeLocation, ExecutionPolicy
from servo.types.ids import RunId, TaskId
from servo.types.keys import AssetKey
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.partition_keys import PartitionKey
from servo.types.sessions import (
    AttemptFinished,
    CreditGrant,
    Lease,
    LogReceipt,
    OpenSessionResponse,
    ResultReceipt,
    ServerMessage,
    ServerWelcome,
    TaskDispatch,
    TaskInput,
    WorkerHello,
    WorkerMessage,
)

METHOD = _wire.METHODS["/arco.v1.WorkerService/OpenSession"]


class ScriptedPlane:
    """One worker's control plane.

    Attributes:
        heard: Every message of the worker, in order, over all connections.
        hellos: How every connection began.
        refuse: Ends a connection with an error, when it is set.
        confirm_results: Whether results get receipts.
        confirm_logs: Whether log batches are confirmed.
    """

    def __init__(self, *, heartbeat: float = 0.2, store_id: str = "store-1") -> None:
        self.heard: list[WorkerMessage] = []
        self.hellos: list[WorkerHello] = []
        self.refuse: BaseException | None = None
        self.confirm_results = True
        self.confirm_logs = True
        self.store_id = store_id
        self.metadata: dict[str, str] = {}
        self._heartbeat = heartbeat
        self._token = 0
        self._credit = 0
        self._waiting: list[TaskDispatch] = []
        self._outbox: asyncio.Queue[ServerMessage | None] = asyncio.Queue()
        self._changed = asyncio.Condition()
        self._batches = 0
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self) -> str:
        """Serve on a port of the machine's choice, the same after a `stop`; return the address."""
        self._server = grpc.aio.server()
        handler: Any = grpc.stream_stream_rpc_method_handler(self._open)
        service, name = METHOD.service, METHOD.name
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {name: handler}),)
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return f"grpc://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Stop serving; connections break."""
        if self._server is not None:
            await self._server.stop(None)

    # -- what a test does -----------------------------------------------------------------

    def dispatch(self, dispatch: TaskDispatch) -> Lease:
        """Give an attempt to the worker as soon as it has credit; return its lease."""
        self._token += 1
        lease = replace(dispatch.lease, token=self._token)
        self._waiting.append(replace(dispatch, lease=lease))
        self._push()
        return lease

    def say(self, message: ServerMessage) -> None:
        """Say something to the worker."""
        self._outbox.put_nowait(message)

    def confirm_all_logs(self) -> None:
        """Confirm the log batches that came, and from now on each that comes."""
        self.confirm_logs = True
        self.say(LogReceipt(batches=self._batches))

    async def wait_for(
        self, condition: Callable[[], Any], *, timeout: float = 60.0, what: str = "the condition"
    ) -> Any:
        """Wait until the condition holds after some message, and return it."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(lambda: bool(condition())), timeout)
            except TimeoutError:
                heard = repr(self.heard[-20:])[:4000]
                raise AssertionError(f"{what} did not come true; heard {heard}") from None
        return condition()

    async def result(self, lease: Lease, *, timeout: float = 60.0) -> AttemptFinished:
        """Wait for the result of an attempt."""
        found = await self.wait_for(
            lambda: [m for m in self.of(AttemptFinished) if m.lease == lease],
            timeout=timeout,
            what=f"the result of {lease!r}",
        )
        return found[0]  # type: ignore[no-any-return]  # a list of results

    def of(self, kind: type[Any]) -> list[Any]:
        """Return what was heard of one kind."""
        return [message for message in self.heard if isinstance(message, kind)]

    def lines(self, lease: Lease, stream: LogStream | None = None) -> list[LogLine]:
        """Return the lines of an attempt in the order in which they came."""
        return [
            line
            for batch in self.of(LogBatch)
            if (batch.task_id, batch.attempt) == (lease.task_id, lease.attempt)
            for line in batch.lines
            if stream in (None, line.stream)
        ]

    def text(self, lease: Lease, stream: LogStream = LogStream.LOG) -> str:
        """Return the text of an attempt's stream."""
        return "\n".join(line.text for line in self.lines(lease, stream))

    # -- the service ----------------------------------------------------------------------

    async def _open(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        self.metadata = dict(context.invocation_metadata())
        if self.refuse is not None:
            status = _wire.status_for(self.refuse)
            context.set_trailing_metadata(((_wire.DETAILS_KEY, status.details),))
            await context.abort(getattr(grpc.StatusCode, status.code), status.message)
        self._outbox = asyncio.Queue()
        self._credit = self._batches = 0
        reader = asyncio.create_task(self._read(requests))
        try:
            while (message := await self._outbox.get()) is not None:
                messages = [message]
                while not self._outbox.empty() and (more := self._outbox.get_nowait()) is not None:
                    messages.append(more)
                yield METHOD.encode_response(OpenSessionResponse(messages=tuple(messages)))
        finally:
            reader.cancel()

    async def _read(self, requests: Any) -> None:
        async for data in requests:
            for message in METHOD.decode_request(data).messages:
                self._take(message)
            async with self._changed:
                self._changed.notify_all()
        self._outbox.put_nowait(None)

    def _take(self, message: WorkerMessage) -> None:
        self.heard.append(message)
        if isinstance(message, WorkerHello):
            self.hellos.append(message)
            self.say(
                ServerWelcome(
                    protocol_version=1,
                    heartbeat_interval=timedelta(seconds=self._heartbeat),
                    lease_length=timedelta(seconds=self._heartbeat * 5),
                    store_id=self.store_id,
                    tenant_id="acme",
                    workspace_id="main",
                )
            )
        elif isinstance(message, CreditGrant):
            self._credit += message.attempts
            self._push()
        elif isinstance(message, AttemptFinished) and self.confirm_results:
            self.say(ResultReceipt(lease=message.lease, accepted=True))
        elif isinstance(message, LogBatch):
            self._batches += 1
            if self.confirm_logs:
                self.say(LogReceipt(batches=self._batches))

    def _push(self) -> None:
        while self._waiting and self._credit > 0:
            self._credit -= 1
            self.say(self._waiting.pop(0))


def dispatch_of(
    module: str,
    name: str,
    *,
    attempt: int = 1,
    task_id: str | None = None,
    partition: PartitionKey | None = None,
    inputs: tuple[TaskInput, ...] = (),
    timeout_seconds: int = 60,
    config: Mapping[str, str] | None = None,
    budget: Mapping[str, str] | None = None,
    **definition: Any,
) -> TaskDispatch:
    """Make the dispatch of an asset in the namespace ``default``; the token comes later."""
    return TaskDispatch(
        lease=Lease(task_id=task_id or TaskId.generate(), attempt=attempt, token=0),
        run_id=RunId.generate(),
        asset=AssetDefinition(
            AssetKey("default", name),
            code=CodeLocation(module, name),
            execution=ExecutionPolicy(timeout_seconds=timeout_seconds),
            **definition,
        ),
        partition_key=partition or PartitionKey(),
        inputs=inputs,
        config=config or {},
        budget=budget or {},
    )
