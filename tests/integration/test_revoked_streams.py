"""A stream ends with the key that opened it, whatever it is in the middle of."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc.aio
import pytest

from plane_kit import Caller, plane, sync
from servo import _wire
from servo.types.access import Role
from servo.types.ids import WorkerId
from servo.types.sessions import OpenSessionRequest, WorkerHello


@sync
async def test_a_session_ends_with_its_key_also_in_the_middle_of_its_first_message(
    path: Path,
) -> None:
    method = _wire.methods.OPEN_SESSION
    hello = OpenSessionRequest(messages=(WorkerHello(worker_id=WorkerId.generate()),))
    async with plane(path) as (served, caller):
        workspace = await served._current.plane.workspace("default", "default")
        for turns in range(12):
            key, text = await served.keys.create(
                tenant_id="default", workspace_id="default", role=Role.WORKER
            )
            worker = Caller(caller.url, key=text)
            call = worker.channel.stream_stream(method.path)(metadata=worker.metadata)
            await call.write(method.encode_request(hello))
            while not workspace.sessions:
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            # As revoking does, without the time that it takes to write that down.
            for timeout in served.keys._open[key.key_id]:
                timeout.reschedule(asyncio.get_running_loop().time())
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                async with asyncio.timeout(10):
                    while await call.read() is not grpc.aio.EOF:
                        pass
            assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
            await worker.channel.close()
            while workspace.sessions:
                await asyncio.sleep(0)
