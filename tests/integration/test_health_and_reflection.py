"""The standard gRPC services beside ours: health, and reflection in both of its versions."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from plane_kit import Caller, plane, sync
from servo._wire import METHODS
from servo.controlplane import health, reflection

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


def named(service: str) -> bytes:
    return b"\n" + bytes((len(service),)) + service.encode() if service else b""


async def check(caller: Caller, service: str) -> bytes:
    call: Any = caller.channel.unary_unary("/grpc.health.v1.Health/Check")
    answer: bytes = await call(named(service), timeout=20)
    return answer


@sync
async def test_health_is_told_to_anybody(path: Path) -> None:
    async with plane(path) as (_, caller):
        for service in ("", "arco.v1.RunService", "grpc.health.v1.Health"):
            assert await check(caller, service) == SERVING


@sync
async def test_every_service_of_the_contract_has_a_health(path: Path) -> None:
    async with plane(path) as (_, caller):
        for service in {method.service for method in METHODS.values()}:
            assert await check(caller, service) == SERVING


@sync
async def test_an_unknown_service_is_not_found(path: Path) -> None:
    async with plane(path) as (_, caller):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(caller, "no.such.Service")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@sync
async def test_nonsense_is_an_invalid_argument(path: Path) -> None:
    async with plane(path) as (_, caller):
        call: Any = caller.channel.unary_unary("/grpc.health.v1.Health/Check")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\xff\xff", timeout=20)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@sync
async def test_whoever_watches_hears_that_the_server_stops(path: Path) -> None:
    async with plane(path) as (served, caller):
        call: Any = caller.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert await asyncio.wait_for(call.read(), 20) == SERVING
        stopping = asyncio.create_task(served.stop())
        assert await asyncio.wait_for(call.read(), 20) == NOT_SERVING
        await stopping


class Reflected:
    """A client of one version of the service, with messages of its own."""

    def __init__(self, caller: Caller, package: str) -> None:
        pool = descriptor_pool.DescriptorPool()
        pool.AddSerializedFile(reflection._file(package).SerializeToString())
        self.request: Any = message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{package}.ServerReflectionRequest")
        )
        self.response: Any = message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{package}.ServerReflectionResponse")
        )
        self.call: Any = caller.channel.stream_stream(
            f"/{package}.ServerReflection/ServerReflectionInfo"
        )

    async def ask(self, **question: str) -> Any:
        call = self.call(iter([self.request(**question).SerializeToString()]), timeout=20)
        return self.response.FromString(await call.read())


@pytest.mark.parametrize("package", reflection.VERSIONS)
def test_a_tool_can_learn_every_message_of_every_service(tmp_path: Path, package: str) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (_, caller):
            tool = Reflected(caller, package)
            listed = (await tool.ask(list_services="")).list_services_response.service
            names = {service.name for service in listed}
            assert names >= {method.service for method in METHODS.values()} | {health.SERVICE}
            for name in names:
                found = await tool.ask(file_containing_symbol=name)
                pool = descriptor_pool.DescriptorPool()
                # With all that it imports, or the pool could not build it.
                files = [
                    descriptor_pb2.FileDescriptorProto.FromString(data)
                    for data in found.file_descriptor_response.file_descriptor_proto
                ]
                for file in reversed(files):
                    pool.AddSerializedFile(file.SerializeToString())
                assert pool.FindServiceByName(name).methods

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_a_file_is_found_by_its_name(path: Path) -> None:
    async with plane(path) as (_, caller):
        tool = Reflected(caller, reflection.VERSIONS[0])
        found = await tool.ask(file_by_filename="arco/v1/run_service.proto")
        first = found.file_descriptor_response.file_descriptor_proto[0]
        assert descriptor_pb2.FileDescriptorProto.FromString(first).package == "arco.v1"


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ({"file_containing_symbol": "no.such.Thing"}, 5),
        ({"file_by_filename": "no/such.proto"}, 5),
        ({}, 12),
    ],
)
def test_what_there_is_not_is_an_error_in_the_answer(
    tmp_path: Path, question: dict[str, str], code: int
) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (_, caller):
            found = await Reflected(caller, reflection.VERSIONS[0]).ask(**question)
            assert found.error_response.error_code == code

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_users_own_copy_of_these_services_does_not_clash() -> None:
    """As ``grpc_health`` and ``grpc_reflection`` define them, in protobuf's one shared pool."""
    program = """
from google.protobuf import descriptor_pool
from servo.controlplane import health, reflection, serve
reflection.Reflection(serve._contract_files)._pool
other = type(health.describe())()
other.CopyFrom(health.describe())
other.message_type[0].field[0].name = "renamed"
shared = descriptor_pool.Default()
for file in (other, *map(reflection._file, reflection.VERSIONS)):
    shared.AddSerializedFile(file.SerializeToString())
print(shared.FindServiceByName("grpc.health.v1.Health").full_name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "grpc.health.v1.Health\n", done.stderr
