"""The corpus on disk is what its cases say, and the cases leave nothing of the contract out."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

import _corpus
from _corpus_cases import CASES, USUAL, Case
from messages import FILES, MESSAGES, is_map, message_class
from servo._wire import METHODS
from servo._wire.manifests import manifest_chunk_from_proto, manifest_chunk_to_proto
from servo._wire.table import TYPES, Row
from servo.types import CheckType
from servo.types.scalars import ScalarKind

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/contract/corpus"
INDEX: list[dict[str, Any]] = json.loads((CORPUS / "index.json").read_text(encoding="utf-8"))
MOST_BYTES = 1_500_000
READERS = {"google.protobuf", "betterproto2", "protobuf-es"}
ROWS = {row.message.DESCRIPTOR.name: row for row in TYPES.values()}
# What the chunks of a deploy hold is no type of its own in the façade.
ROWS["ManifestChunk"] = Row(
    message_class(next(found for found in MESSAGES if found.name == "ManifestChunk")),
    manifest_chunk_to_proto,
    manifest_chunk_from_proto,
)
CLASSES = {found.full_name: message_class(found) for found in MESSAGES}


def messages() -> Iterator[Message]:
    for row in INDEX:
        data = (CORPUS / f"{row['case']}.binpb").read_bytes()
        yield CLASSES[row["type"]].FromString(data)


def inside(message: Message) -> Iterator[Message]:
    """Walk a message and all that are in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or is_map(field):
            continue
        for item in value if field.is_repeated else [value]:
            yield from inside(item)


def enum_values(field: FieldDescriptor, value: Any) -> list[int]:
    return list(value) if field.is_repeated else [value]


def test_the_corpus_on_disk_is_what_its_cases_say() -> None:
    said = _corpus.differences(_corpus.files(), ROOT)
    assert said == [], "\n".join(["the corpus changed:", *said, _corpus.REMEDY])


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("committed")
    for folder in (_corpus.CORPUS, _corpus.WIRE):
        shutil.copytree(ROOT / folder, root / folder)
    return root


def test_the_corpus_as_it_is_committed_passes_the_check(committed: Path) -> None:
    assert _corpus.main(["--check", "--root", str(committed)]) == 0


@pytest.mark.parametrize(
    ("path", "content", "verdict"),
    [
        (_corpus.CORPUS / "asset-key.json", b'{"name":"Events"}', "has other bytes"),
        (_corpus.CORPUS / "asset-key.binpb", b"\n\x03raw", "has other bytes"),
        (_corpus.CORPUS / "index.json", None, "missing"),
        (_corpus.CORPUS / "asset-keys.json", b"{}", "belongs to no case"),
        (_corpus.WIRE / "worker-hello.txt", b"0a 00", "has other bytes"),
    ],
    ids=["json", "binary", "deleted", "added", "golden"],
)
def test_a_change_is_named_together_with_the_command_that_accepts_it(
    committed: Path,
    path: Path,
    content: bytes | None,
    verdict: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = committed / path
    before = file.read_bytes() if file.exists() else None
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert _corpus.main(["--check", "--root", str(committed)]) == 1
    said = capsys.readouterr().err
    assert f"{path.as_posix()}: {verdict}\n" in said
    assert "scripts/_corpus.py" in said
    if before is None:
        file.unlink()
    else:
        file.write_bytes(before)


def test_writing_puts_right_what_was_changed_deleted_and_added(tmp_path: Path) -> None:
    assert _corpus.main(["--root", str(tmp_path)]) == 0
    folder = tmp_path / _corpus.CORPUS
    (folder / "asset-key.json").write_bytes(b"{}")
    (folder / "index.json").unlink()
    (folder / "stray.json").write_bytes(b"{}")
    assert _corpus.main(["--root", str(tmp_path)]) == 0
    assert _corpus.main(["--check", "--root", str(tmp_path)]) == 0


def test_every_type_that_a_call_carries_has_a_case_of_its_own() -> None:
    carried = {method.request_type for method in METHODS.values()}
    carried |= {method.response_type for method in METHODS.values()}
    names = {TYPES[cls].message.DESCRIPTOR.full_name for cls in carried}
    assert names - {row["type"] for row in INDEX} == set()


def test_every_message_occurs_in_some_case() -> None:
    seen = {found.DESCRIPTOR.full_name for message in messages() for found in inside(message)}
    assert {found.full_name for found in MESSAGES} - seen == set()


def test_every_field_is_set_in_some_case() -> None:
    seen = {
        field.full_name
        for message in messages()
        for found in inside(message)
        for field, _ in found.ListFields()
    }
    declared = {field.full_name for found in MESSAGES for field in found.fields}
    assert declared - seen == set()


def test_every_enum_value_occurs_in_some_case() -> None:
    seen = {
        (field.enum_type.full_name, number)
        for message in messages()
        for found in inside(message)
        for field, value in found.ListFields()
        if field.enum_type is not None
        for number in enum_values(field, value)
    }
    declared = {
        (enum.full_name, value.number)
        for file in FILES
        for enum in file.enum_types_by_name.values()
        for value in enum.values
        if value.number != 0
    }
    assert declared - seen == set()


def test_every_kind_of_scalar_and_of_check_has_a_case_of_its_own() -> None:
    keys = [message for message in messages() if message.DESCRIPTOR.name == "PartitionKey"]
    tags = {
        text[:2] for key in keys for text in key.dimensions.values() if len(key.dimensions) == 1
    }
    assert {"s:", "i:", "b:", "d:", "t:", "n:"} <= tags
    assert len(ScalarKind) == 6
    checks = {message.type for message in messages() if message.DESCRIPTOR.name == "Check"}
    assert len(checks - {0}) == len(CheckType)


def test_every_row_says_what_it_is_for_and_has_the_digest_of_its_bytes() -> None:
    assert [row["case"] for row in INDEX] == sorted(case.name for case in CASES)
    for row in INDEX:
        assert row["note"], row["case"]
        data = (CORPUS / f"{row['case']}.binpb").read_bytes()
        assert row["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_reader_that_cannot_read_a_case_is_known_and_the_reason_names_its_tracker() -> None:
    for row in INDEX:
        assert set(row["cannot"]) <= READERS
        for reason in row["cannot"].values():
            assert "https://github.com/" in reason, row["case"]


def test_the_fingerprint_of_a_key_is_the_hash_of_its_dimensions() -> None:
    rows = [row for row in INDEX if row["type"].endswith(".PartitionKey") and "fingerprint" in row]
    assert len(rows) > len(ScalarKind)
    for row in rows:
        plain = json.loads((CORPUS / f"{row['case']}.json").read_bytes())["dimensions"]
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert row["fingerprint"] == hashlib.sha256(text.encode()).hexdigest()


def test_the_fingerprint_of_a_manifest_is_the_hash_of_its_json_without_provenance() -> None:
    rows = [row for row in INDEX if row["type"].endswith(".AssetManifest")]
    assert all("fingerprint" in row for row in rows)
    for row in rows:
        plain = json.loads((CORPUS / f"{row['case']}.json").read_bytes())
        plain |= {"codeVersionId": "", "deployedBy": ""}
        plain.pop("git", None)
        plain.pop("deployedAt", None)
        for asset in plain["assets"]:
            asset["code"]["lineNumber"] = 0
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert row["fingerprint"] == hashlib.sha256(text.encode()).hexdigest()


def test_the_corpus_is_large_enough_to_matter_and_small_enough_to_commit() -> None:
    assert len(INDEX) >= 60
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) < MOST_BYTES
    thousand = json.loads((CORPUS / "manifest-1000-assets.json").read_bytes())
    assert len(thousand["assets"]) == 1_000


def test_unknown_fields_are_kept_in_binary_and_absent_from_json() -> None:
    rows = [row for row in INDEX if "jsonGives" in row]
    assert len(rows) >= 3
    for row in rows:
        one, other = row["case"], row["jsonGives"]
        kept = (CORPUS / f"{one}.binpb").read_bytes()
        assert kept != (CORPUS / f"{other}.binpb").read_bytes()
        assert CLASSES[row["type"]].FromString(kept).SerializeToString(deterministic=True) == kept
        assert (CORPUS / f"{one}.json").read_bytes() == (CORPUS / f"{other}.json").read_bytes()


@pytest.mark.parametrize("case", USUAL, ids=lambda case: case.name)
def test_servo_writes_the_usual_cases_as_they_are(case: Case) -> None:
    binary = (CORPUS / f"{case.name}.binpb").read_bytes()
    row = ROWS[case.type]
    again = row.message()
    row.to_proto(row.from_proto(row.message.FromString(binary)), again)
    assert again.SerializeToString(deterministic=True) == binary
