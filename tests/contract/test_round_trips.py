"""What goes out comes back: every type of the façade, through bytes and through JSON.

And the same value is the same text, whatever the order of its dictionaries and whichever process
prints it: other hash seeds, time zones and locales.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import facade_values
import servo
import strategies
from servo._wire import decode, encode, manifest_fingerprint, to_canonical_json
from servo._wire.canonical import print_message
from servo._wire.table import TYPES
from servo.types import PartitionKey
from servo.types.manifests import ManifestContents

PROBE = Path(__file__).with_name("canonical_probe.py")
# A locale that is not installed is the locale C to every program; then it tests no less.
ENVIRONMENTS = {
    "another process": {},
    "hash seed 0": {"PYTHONHASHSEED": "0"},
    "hash seed 1": {"PYTHONHASHSEED": "1"},
    "hash seed 4294967295": {"PYTHONHASHSEED": "4294967295"},
    "Kolkata": {"TZ": "Asia/Kolkata"},
    "New York": {"TZ": "America/New_York"},
    "no such zone": {"TZ": "Nowhere/Atall"},
    "locale C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "locale C.UTF-8": {"LC_ALL": "C.UTF-8"},
    "Turkish": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "German": {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"},
}


def name_of(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("servo.types.", "")[:60]


@pytest.mark.parametrize("kind", TYPES, ids=name_of)
@settings(
    max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(st.data())
def test_every_value_of_a_type_survives_bytes_and_json(kind: Any, data: st.DataObject) -> None:
    value = data.draw(facade_values.of(kind))
    row = TYPES[kind]
    sent = row.message()
    row.to_proto(value, sent)
    by_bytes = row.message.FromString(sent.SerializeToString(deterministic=True))
    by_json = json_format.Parse(print_message(sent), row.message())
    wanted = facade_values.comparable(value)
    assert facade_values.comparable(row.from_proto(by_bytes)) == wanted
    assert facade_values.comparable(row.from_proto(by_json)) == wanted


@given(st.dictionaries(strategies.names(), strategies.dimension_values(), min_size=2), st.randoms())
def test_the_order_of_a_keys_dimensions_is_carried_and_identifies_nothing(
    dimensions: dict[str, Any], random: Any
) -> None:
    items = list(dimensions.items())
    random.shuffle(items)
    one, other = PartitionKey(dimensions), PartitionKey(dict(items))
    assert list(decode(PartitionKey, encode(other)).dimensions) == [name for name, _ in items]
    assert one == other
    assert one.to_canonical() == other.to_canonical()
    assert one.fingerprint() == other.fingerprint()
    by_name = [encode(key.in_order(())) for key in (one, other)]
    assert by_name[0] == by_name[1] == encode(PartitionKey(dict(sorted(items))))
    assert "order" not in to_canonical_json(one.in_order(())).split('"dimensions"')[0]


@given(
    st.dictionaries(strategies.texts(), strategies.texts(), min_size=2, max_size=8), st.randoms()
)
def test_the_order_of_a_manifests_metadata_is_not_in_its_bytes(
    metadata: dict[str, str], random: Any
) -> None:
    items = list(metadata.items())
    random.shuffle(items)
    one, other = ManifestContents(metadata=metadata), ManifestContents(metadata=dict(items))
    assert encode(one) == encode(other)
    assert to_canonical_json(one) == to_canonical_json(other)
    assert manifest_fingerprint(one) == manifest_fingerprint(other)


def probe(environment: dict[str, str]) -> dict[str, str]:
    """Let a new process print the digests of what it encodes."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-P", str(PROBE)],
        env=kept | {"PYTHONPATH": str(Path(servo.__file__).parents[1])} | environment,
        capture_output=True,
        timeout=60,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def usual_digests() -> dict[str, str]:
    return probe({"PYTHONHASHSEED": "42", "TZ": "UTC", "LC_ALL": "C.UTF-8"})


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS.keys())
def test_another_environment_prints_the_same_bytes(
    usual_digests: dict[str, str], environment: dict[str, str]
) -> None:
    assert probe(environment) == usual_digests


def test_the_probe_says_something_about_every_kind_of_document(
    usual_digests: dict[str, str],
) -> None:
    assert len(usual_digests) > 100
    assert {"key", "key fingerprint", "manifest", "manifest fingerprint"} <= usual_digests.keys()
