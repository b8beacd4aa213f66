"""The bytes of the manifest, the partition key and the session, for people to check field by field.

JSON carries names, so a field that is renumbered goes unnoticed there. Here it does not.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message_factory import GetMessageClass

from _wire_dump import bytes_of, dump
from messages import FILES
from servo._wire import encode
from servo._wire.table import TYPES
from servo.types import PartitionKey
from servo.types.sessions import AttemptMetric, Heartbeat, Lease

WIRE = Path(__file__).resolve().parents[1] / "golden/wire"
GOLDEN = {path.stem: path.read_text(encoding="utf-8") for path in sorted(WIRE.iterdir())}
ROWS = {row.message.DESCRIPTOR.full_name: row for row in TYPES.values()}
SESSION = ("WorkerMessage", "ServerMessage")


def type_of(text: str) -> str:
    """Return the type that the first line of a golden file names."""
    return text.removeprefix("# ").partition(",")[0]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_facade_still_writes_the_golden_bytes(name: str) -> None:
    text = GOLDEN[name]
    row = ROWS[type_of(text)]
    sent = row.message()
    row.to_proto(row.from_proto(row.message.FromString(bytes_of(text))), sent)
    assert sent.SerializeToString(deterministic=True) == bytes_of(text)
    assert dump(sent) == text


@pytest.mark.parametrize("union", SESSION)
def test_every_message_of_the_session_has_a_golden_file(union: str) -> None:
    row = ROWS[f"arco.v1.{union}"]
    shown = {
        row.message.FromString(bytes_of(text)).WhichOneof("kind")
        for text in GOLDEN.values()
        if type_of(text) == f"arco.v1.{union}"
    }
    declared = {field.name for field in row.message.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert shown == declared


def test_the_manifest_and_the_key_of_a_partition_have_a_golden_file() -> None:
    types = {type_of(text) for text in GOLDEN.values()}
    assert {"arco.v1.AssetManifest", "arco.v1.PartitionKey"} <= types


# Written down from the protos by hand: a tag is the field's number times eight plus its wire type,
# 0 for an integer, 1 for eight bytes, 2 for what has a length.
BY_HAND = {
    "0a0174 1001 1807": Lease(task_id="t", attempt=1, token=7),
    "0a07 0a0174 1001 1807": Heartbeat(leases=(Lease(task_id="t", attempt=1, token=7),)),
    "0a08 0a0164 1203 693a34": PartitionKey({"d": 4}),
    "0a00 12016d 19000000000000f83f": AttemptMetric(
        lease=Lease(task_id="", attempt=0, token=0), name="m", value=1.5
    ),
}


@pytest.mark.parametrize("shown", BY_HAND)
def test_the_bytes_are_those_that_the_protos_give_by_hand(shown: str) -> None:
    assert encode(BY_HAND[shown]) == bytes.fromhex(shown)


def test_a_renumbered_field_is_seen_although_its_json_stays_the_same() -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in imports_first():
        if file.name == "arco/v1/worker.proto":
            lease = next(found for found in file.message_type if found.name == "Lease")
            next(field for field in lease.field if field.name == "token").number = 9
        pool.Add(file)
    text = GOLDEN["worker-received"]
    before = ROWS["arco.v1.WorkerMessage"].message.FromString(bytes_of(text))
    renumbered = GetMessageClass(pool.FindMessageTypeByName("arco.v1.WorkerMessage"))()
    json_format.Parse(json_format.MessageToJson(before), renumbered)
    assert json_format.MessageToJson(renumbered) == json_format.MessageToJson(before)
    assert dump(renumbered) != text
    assert "9 token" in dump(renumbered)


def imports_first() -> list[descriptor_pb2.FileDescriptorProto]:
    """Return the files of the contract and those that they import, each after its imports."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        for imported in file.dependencies:
            add(imported)
        if file.name not in found:
            found[file.name] = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(found[file.name])

    for file in FILES:
        add(file)
    return list(found.values())
