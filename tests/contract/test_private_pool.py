"""Servo beside a program's own code for the contract, in one process.

The second copy is what ``protoc`` makes of the same protos, or of another version of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "proto/arco/v1"

THEIRS = """
from arco.v1 import common_pb2, run_pb2, server_pb2, server_pb2_grpc
"""
OURS = """
from servo import _wire
from servo.types import AssetKey
"""
BOTH = """
key = common_pb2.AssetKey(namespace="raw", name="events")
assert _wire.decode(AssetKey, key.SerializeToString()) == AssetKey("raw", "events")
assert common_pb2.AssetKey.FromString(_wire.encode(AssetKey("raw", "events"))) == key
from google.protobuf import descriptor_pool, json_format
found = descriptor_pool.Default().FindMessageTypeByName("arco.v1.Run")
assert found is run_pb2.Run.DESCRIPTOR
print(json_format.MessageToDict(key), _wire.to_canonical_json(AssetKey("raw", "events")))
"""
CALL = """
import grpc
from servo.testing import local_plane
with local_plane() as plane, plane.client() as client:
    ours = client.server.info()
    channel = grpc.insecure_channel(plane.grpc_url.partition("://")[2])
    stub = server_pb2_grpc.ServerServiceStub(channel)
    theirs = stub.GetServerInfo(
        server_pb2.GetServerInfoRequest(), metadata=[("authorization", f"Bearer {plane.api_key}")]
    )
    assert theirs.servo_version == ours.servo_version
    channel.close()
"""


def compiled(protos: Path, out: Path) -> Path:
    """Compile protos as another program would; return the folder to put on the path."""
    out.mkdir()
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}"),
            *(f"--python_out={out}", f"--grpc_python_out={out}"),
            *map(str, sorted(protos.rglob("*.proto"))),
        ],
        check=True,
        timeout=60,
    )
    return out


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Code for the contract of today, and for another version of it."""
    folder = tmp_path_factory.mktemp("stubs")
    other = folder / "proto"
    shutil.copytree(PROTOS, other / "arco/v1")
    common = other / "arco/v1/common.proto"
    text = common.read_text(encoding="utf-8")
    changed = text.replace("message AssetKey {", "message AssetKey {\n  string realm = 77;", 1)
    assert changed != text
    common.write_text(changed, encoding="utf-8")
    return {
        "same": compiled(ROOT / "proto", folder / "same"),
        "other": compiled(other, folder / "other"),
    }


def run(program: str, stubs: Path, implementation: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ
        | {
            "PYTHONPATH": str(stubs),
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("version", ["same", "other"])
@pytest.mark.parametrize("implementation", ["upb", "python"])
@pytest.mark.parametrize("order", ["theirs first", "ours first"])
def test_a_programs_own_code_for_the_contract_loads_beside_servo(
    stubs: dict[str, Path], version: str, implementation: str, order: str
) -> None:
    parts = (THEIRS, OURS) if order == "theirs first" else (OURS, THEIRS)
    printed = run("".join((*parts, BOTH)), stubs[version], implementation)
    assert printed.startswith("{'namespace': 'raw', 'name': 'events'}")


def test_both_call_one_control_plane_in_one_process(stubs: dict[str, Path]) -> None:
    run(f"{THEIRS}{OURS}{CALL}", stubs["same"], "upb")


@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_nothing_of_servo_lies_in_the_shared_pool(
    stubs: dict[str, Path], implementation: str
) -> None:
    program = """
import servo._wire.table, servo._wire.methods
from google.protobuf import descriptor_pool
for name in ("common", "run", "server", "worker"):
    try:
        descriptor_pool.Default().FindFileByName(f"arco/v1/{name}.proto")
    except KeyError:
        print(name)
"""
    absent = run(program, stubs["same"], implementation).split()
    assert absent == ["common", "run", "server", "worker"]
