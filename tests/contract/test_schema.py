"""servo-gen schema: what it prints accepts what Servo prints, and refuses what Servo refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import _regen
import strategies
from messages import FILES, MESSAGES
from servo._wire import from_json, schema, to_canonical_json
from servo.errors import InvalidArgumentError
from servo.types.manifests import GitContext, ManifestContents, Schedule

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/contract/corpus"
GOLDEN = json.loads((ROOT / "tests/golden/manifest.json").read_text(encoding="utf-8"))
MANIFESTS = [
    *sorted((ROOT / "tests/golden").glob("*.json")),
    *(
        CORPUS / f"{row['case']}.json"
        for row in json.loads((CORPUS / "index.json").read_text(encoding="utf-8"))
        if row["type"] == "arco.v1.AssetManifest"
    ),
]


@cache
def validator() -> Draft202012Validator:
    document = json.loads(schema.manifest_json_schema())
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def problems(manifest: object) -> list[str]:
    return [error.json_path for error in validator().iter_errors(manifest)]


def manifests() -> st.SearchStrategy[ManifestContents]:
    texts = strategies.texts()
    return st.builds(
        ManifestContents,
        tenant_id=texts,
        workspace_id=texts,
        code_version_id=texts,
        git=st.none()
        | st.builds(GitContext, repository=texts, commit_message=texts, dirty=st.booleans()),
        assets=st.lists(strategies.asset_definitions(), max_size=4).map(tuple),
        schedules=st.lists(st.builds(Schedule, name=texts, cron=texts), max_size=2).map(tuple),
        deployed_at=st.none() | st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)),
        deployed_by=texts,
        metadata=strategies.text_maps(),
    )


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_committed_manifest_is_valid(path: Path) -> None:
    assert problems(json.loads(path.read_text(encoding="utf-8"))) == []


@given(manifests())
@settings(max_examples=40)
def test_any_manifest_is_valid(manifest: ManifestContents) -> None:
    assert problems(json.loads(to_canonical_json(manifest))) == []


def changed(edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    manifest = deepcopy(GOLDEN)
    edit(manifest)
    return manifest


def check_of(manifest: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(check for asset in manifest["assets"] for check in asset["checks"] if kind in check)


def first_dimension(manifest: dict[str, Any]) -> dict[str, Any]:
    return next(
        dimension
        for asset in manifest["assets"]
        for dimension in asset["partitioning"]["dimensions"]
        if "time" in dimension
    )


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "a misspelt name": lambda found: found.update(tenantid="acme"),
    "a number for a string": lambda found: found.update(tenantId=7),
    "a string for a number": lambda found: found["assets"][0]["code"].update(lineNumber="one"),
    "a number beyond 32 bits": lambda found: found["assets"][0]["code"].update(lineNumber=2**31),
    "a word for a 64-bit number": lambda found: check_of(found, "rowCount")["rowCount"].update(
        minRows="many"
    ),
    "an unknown enum value": lambda found: check_of(found, "rowCount").update(
        severity="CHECK_SEVERITY_FATAL"
    ),
    "an enum value that is never sent": lambda found: check_of(found, "rowCount").update(
        severity="CHECK_SEVERITY_UNSPECIFIED"
    ),
    "two kinds of one dimension": lambda found: first_dimension(found).update(tenant={}),
    "a dimension of no kind": lambda found: first_dimension(found).pop("time"),
    "a key with a dot in its name": lambda found: found["assets"][0]["key"].update(name="a.b"),
    "a list for a map": lambda found: found.update(metadata=["a"]),
    "a number in a map of texts": lambda found: found["assets"][0].update(tags={"a": 1}),
    "an asset that is a text": lambda found: found["assets"].append("raw.events"),
    "a time without a zone": lambda found: found.update(deployedAt="2025-01-15T00:00:00"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_servo_refuses_is_not_valid_either(name: str) -> None:
    manifest = changed(WRONG[name])
    with pytest.raises(InvalidArgumentError):
        from_json(ManifestContents, json.dumps(manifest))
    assert problems(manifest) != []


def test_a_name_as_protos_spell_it_is_read_and_yet_not_canonical() -> None:
    manifest = changed(lambda found: found.update(tenant_id=found.pop("tenantId")))
    assert from_json(ManifestContents, json.dumps(manifest)).tenant_id == GOLDEN["tenantId"]
    assert problems(manifest) == ["$"]


def test_a_problem_is_found_where_it_is() -> None:
    manifest = changed(lambda found: found["assets"][0].update(owners=["ada", 7]))
    assert problems(manifest) == ["$.assets[0].owners[1]"]


def test_a_manifest_of_an_older_version_without_a_field_is_valid() -> None:
    manifest = changed(lambda found: found["assets"][0].pop("metadata"))
    assert problems(manifest) == []


def test_everything_in_the_schema_is_described_in_the_words_of_the_contract() -> None:
    document = json.loads(schema.manifest_json_schema())
    comments = json.loads((ROOT / _regen.GENERATED / _regen.COMMENTS).read_text("utf-8"))
    fields = {found.name: found.fields for found in MESSAGES}
    for name, part in document["$defs"].items():
        assert part["description"] == comments[f"arco.v1.{name}"]
        for field in fields.get(name, ()):
            described = part["properties"][field.json_name]["description"]
            assert described == comments[field.full_name]
        for value in part.get("oneOf", ()):
            assert value["description"] == comments[f"arco.v1.{name}.{value['const']}"]


@pytest.mark.parametrize("found", MESSAGES, ids=lambda found: found.name)
def test_every_message_of_the_contract_has_a_schema(found: Any) -> None:
    Draft202012Validator.check_schema(schema.json_schema(found))


def gen(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "servo.cli.gen", "schema", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, **options)


def test_the_command_prints_the_json_schema() -> None:
    done = gen()
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == schema.manifest_json_schema()


def test_the_command_writes_the_descriptor_set_without_buf(tmp_path: Path) -> None:
    target = tmp_path / "arco.binpb"
    done = gen(
        *("--format", "descriptor-set", "--output", target),
        env={"PATH": "", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert target.read_bytes() == schema.descriptor_set()


def test_a_schema_that_cannot_be_written_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    done = gen("--output", tmp_path / "none" / "schema.json")
    assert done.returncode == 74
    assert b"the schema cannot be written to" in done.stderr


def test_the_descriptor_set_loads_in_the_order_in_which_it_is() -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString(schema.descriptor_set()).file:
        pool.Add(file)  # refuses a file whose imports are not there yet
    for found in MESSAGES:
        assert pool.FindMessageTypeByName(found.full_name).fields_by_name.keys() == (
            found.fields_by_name.keys()
        )
    assert {file.name for file in FILES} <= {
        file.name for file in FileDescriptorSet.FromString(schema.descriptor_set()).file
    }


def test_the_descriptor_set_says_what_buf_says(tmp_path: Path) -> None:
    image = tmp_path / "image.binpb"
    _regen.buf(ROOT, "build", "--exclude-source-info", "--output", str(image))
    theirs = FileDescriptorSet.FromString(image.read_bytes())
    for file in theirs.file:
        file.DiscardUnknownFields()  # buf's own notes on a file
    ours = FileDescriptorSet.FromString(schema.descriptor_set())
    by_name = {file.name: file for file in ours.file}
    assert {file.name: file for file in theirs.file} == by_name


def test_buf_reads_the_descriptor_set(tmp_path: Path) -> None:
    image = tmp_path / "arco.binpb"
    image.write_bytes(schema.descriptor_set())
    shutil.copy(ROOT / _regen.BASELINE, tmp_path / "baseline.binpb")
    _regen.buf(tmp_path, "breaking", str(image), "--against", "baseline.binpb")
