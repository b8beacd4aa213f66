"""gRPC calls whose message does not come: nothing is read before the gate, and nothing for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from plane_kit import plane, sync
from servo import errors
from servo._wire import METHODS, methods
from servo.controlplane.inbox import Inbox, OpenInbox


async def never() -> AsyncIterator[bytes]:
    await asyncio.sleep(60)
    yield b""


def code_of(exc: grpc.aio.AioRpcError) -> str:
    return exc.code().name


@sync
async def test_no_rpc_waits_for_the_message_of_a_stranger(path: Path) -> None:
    async with plane(path) as (_, caller):
        for method in METHODS.values():
            call = caller.channel.stream_stream(method.path)(never(), timeout=30)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert code_of(caught.value) == "UNAUTHENTICATED", method.path


@sync
async def test_a_call_without_a_message_is_an_invalid_argument(path: Path) -> None:
    async with plane(path) as (_, caller):

        async def nothing() -> AsyncIterator[bytes]:
            return
            yield b""

        call = caller.channel.stream_unary(methods.GET_SERVER_INFO.path)(
            nothing(), metadata=caller.metadata, timeout=30
        )
        with pytest.raises(grpc.aio.AioRpcError, match="no message") as caught:
            await call
        assert code_of(caught.value) == "INVALID_ARGUMENT"


@sync
async def test_a_request_larger_than_its_rpc_takes_is_refused_in_every_form(path: Path) -> None:
    async with plane(path) as (_, caller):
        for method in METHODS.values():
            if method.max_request_bytes > methods.REQUEST_BYTES:
                continue
            # An unknown field of many bytes: what is refused is the size alone.
            data = b"\xfa\x7f\x80\x80\x40" + bytes(methods.REQUEST_BYTES)
            call = caller.channel.unary_stream(method.path)(
                data, metadata=caller.metadata, timeout=30
            )
            with pytest.raises(grpc.aio.AioRpcError, match="more than 1,048,576 bytes") as caught:
                await call.read()
            assert code_of(caught.value) == "RESOURCE_EXHAUSTED", method.path


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, answer: Callable[[Any], Awaitable[bytes]]) -> None:
        self._answer = answer

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def handle(_: object, context: Any) -> bytes:
            return await self._answer(context)

        return grpc.stream_unary_rpc_method_handler(handle)


async def serving(answer: Callable[[Any], Awaitable[bytes]]) -> tuple[Any, grpc.aio.Channel]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Handlers(answer),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, grpc.aio.insecure_channel(f"127.0.0.1:{port}")


@sync
async def test_a_message_has_a_deadline_and_messages_after_it_are_read(_: Path) -> None:
    inbox = Inbox(seconds=0.3)

    async def answer(context: Any) -> bytes:
        try:
            return await inbox.read("acme", context)
        except errors.DeadlineError as exc:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, str(exc))
            raise

    server, channel = await serving(answer)
    async with channel:
        with pytest.raises(grpc.aio.AioRpcError, match=r"did not arrive within 0\.3 s"):
            await channel.stream_unary("/a/b")(never(), timeout=30)
        assert await channel.unary_unary("/a/b")(b"there", timeout=30) == b"there"
    await server.stop(0)


@sync
async def test_unfinished_messages_of_strangers_make_room_for_the_next_oldest_first(
    _: Path,
) -> None:
    inbox = OpenInbox(seconds=30, most=4)

    async def answer(context: Any) -> bytes:
        return await inbox.read(context) or b"given up"

    server, channel = await serving(answer)
    async with channel:
        waiting = []
        for _number in range(4):
            waiting.append(asyncio.create_task(_call(channel, never())))
            await asyncio.sleep(0.1)
        assert await channel.unary_unary("/a/b")(b"honest", timeout=30) == b"honest"
        assert await waiting[0] == b"given up"
        assert not any(task.done() for task in waiting[1:])
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    await server.stop(0)


async def _call(channel: grpc.aio.Channel, messages: AsyncIterator[bytes]) -> bytes:
    answer: bytes = await channel.stream_unary("/a/b")(messages, timeout=30)
    return answer


@sync
async def test_one_tenant_reads_so_many_messages_at_once_and_others_do_not_wait(_: Path) -> None:
    inbox = Inbox(seconds=30)

    async def answer(context: Any) -> bytes:
        tenant = dict(context.invocation_metadata())["tenant"]
        return await inbox.read(str(tenant), context)

    server, channel = await serving(answer)
    async with channel:
        evil = [
            asyncio.create_task(
                _drained(channel.stream_unary("/a/b")(never(), metadata=(("tenant", "evil"),)))
            )
            for _number in range(70)
        ]
        await asyncio.sleep(0.5)
        honest = channel.unary_unary("/a/b")(b"x", metadata=(("tenant", "acme"),), timeout=30)
        assert await honest == b"x"
        for task in evil:
            task.cancel()
        await asyncio.wait(evil)
    await server.stop(0)


async def _drained(call: Any) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError):
        await call
